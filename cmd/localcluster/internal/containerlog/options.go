package containerlog

import (
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// options are those of the API server's request, as far as they choose what is answered.
type options struct {
	previous, follow, timestamps bool
	tail                         int   // lines; below 0 all
	limit                        int64 // bytes; below 0 all
	since                        time.Time
}

func parseOptions(query url.Values, now time.Time) (options, error) {
	o := options{
		previous: query.Get("previous") == "true", follow: query.Get("follow") == "true",
		timestamps: query.Get("timestamps") == "true", tail: -1, limit: -1,
	}
	for name, into := range map[string]func(int64){
		"tailLines":    func(n int64) { o.tail = int(min(n, MaxRepeat)) },
		"limitBytes":   func(n int64) { o.limit = n },
		"sinceSeconds": func(n int64) { o.since = now.Add(-time.Duration(min(n, 1<<31)) * time.Second) },
	} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return o, fmt.Errorf("%s: want a number, not %q", name, text)
		}
		into(n)
	}
	if text := query.Get("sinceTime"); text != "" {
		since, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return o, fmt.Errorf("sinceTime: want a time, not %q", text)
		}
		o.since = since
	}
	return o, nil
}

// render is the part of a log that was asked for: the last lines first, and of those the first
// bytes, as a kubelet has it.
func (o options) render(lines []line) []byte {
	for len(lines) > 0 && lines[0].at.Before(o.since) {
		lines = lines[1:]
	}
	if o.tail >= 0 && len(lines) > o.tail {
		lines = lines[len(lines)-o.tail:]
	}
	var text []byte
	for _, one := range lines {
		if o.timestamps {
			text = append(one.at.UTC().AppendFormat(text, time.RFC3339Nano), ' ')
		}
		text = append(append(text, one.text...), '\n')
		if o.limit >= 0 && int64(len(text)) >= o.limit {
			return text[:o.limit]
		}
	}
	return text
}
