package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"
)

// request is what the API server counts: a verb, what it was about, and
// whether only for trial.
type request struct{ verb, resource string }

// counts are requests by kind of request, as of one moment or between two.
type counts map[request]int

var label = regexp.MustCompile(`(\w+)="([^"]*)"`)

// requestsSoFar reads the API server's own metric.
func requestsSoFar(tb testing.TB, client kubernetes.Interface) counts {
	tb.Helper()
	text, err := client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(tb.Context())
	if err != nil {
		tb.Fatalf("API server's metrics: %v", err)
	}
	all := counts{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		rest, is := strings.CutPrefix(lines.Text(), "apiserver_request_total{")
		if !is {
			continue
		}
		labels, value, _ := strings.Cut(rest, "} ")
		of := map[string]string{}
		for _, found := range label.FindAllStringSubmatch(labels, -1) {
			of[found[1]] = found[2]
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			tb.Fatalf("%s: %v", lines.Text(), err)
		}
		r := request{verb: of["verb"], resource: of["resource"]}
		if of["subresource"] != "" {
			r.resource += "/" + of["subresource"]
		}
		if of["dry_run"] != "" {
			r.verb += " dry"
		}
		all[r] += int(n)
	}
	return all
}

// since are the requests between two moments.
func (c counts) since(before counts) counts {
	diff := counts{}
	for r, n := range c {
		if n > before[r] {
			diff[r] = n - before[r]
		}
	}
	return diff
}

// released are the kinds that the benchmark's releases consist of; nobody else
// touches them but through /status.
var released = []string{"configmaps", "services", "deployments"}

// own are the kinds that the daemon writes for itself.
var own = []string{"environments", "environments/status", "releases", "releases/status", "secrets", "events", "leases"}

// of are those about certain resources, watches left out: one is open until
// it ends, and counted then.
func (c counts) of(resources []string) counts {
	part := counts{}
	for r, n := range c {
		if slices.Contains(resources, r.resource) && !strings.HasPrefix(r.verb, "WATCH") {
			part[r] = n
		}
	}
	return part
}

// others are what is about neither, watches among them.
func (c counts) others() counts {
	rest := maps.Clone(c)
	for _, known := range []counts{c.of(released), c.of(own)} {
		for r := range known {
			delete(rest, r)
		}
	}
	return rest
}

func (c counts) total() (sum int) {
	for _, n := range c {
		sum += n
	}
	return sum
}

func (c counts) verb(verb string) (sum int) {
	for r, n := range c {
		if r.verb == verb {
			sum += n
		}
	}
	return sum
}

func (c counts) String() string {
	sorted := slices.SortedFunc(maps.Keys(c), func(a, b request) int {
		return strings.Compare(a.resource+" "+a.verb, b.resource+" "+b.verb)
	})
	var parts []string
	for _, r := range sorted {
		parts = append(parts, fmt.Sprintf("%s %s %d", r.verb, r.resource, c[r]))
	}
	return strings.Join(parts, ", ")
}
