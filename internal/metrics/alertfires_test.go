package metrics

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/testkit/prometheus"
)

// An alarm on what nobody has looked at for long has to come where there is no
// series to compare with, too: a real Prometheus is asked.
func TestAlertOfARestoreThatNobodyTried(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs a Prometheus")
	}
	at := slices.IndexFunc(alerts(t), func(a alert) bool { return a.Alert == "ChaperoneRestoreNotTried" })
	if at < 0 {
		t.Fatal("there is no such alert")
	}
	server := prometheus.Start(t, "")
	now := time.Now().Truncate(time.Second)
	days := func(n float64) float64 { return n * 24 * 3600 }
	for environment, is := range map[string]struct{ age, drilled float64 }{
		"tried today": {days(9), days(0.5)}, "tried long ago": {days(9), days(2.5)}, "never tried": {days(4), -1}, "new": {days(1), -1},
	} {
		series := func(name string, value float64) prometheus.Series {
			s := prometheus.Named(name, "environment", environment, "namespace", "chaperone-system", "pod", "one")
			s.Samples = []prometheus.Sample{{At: now, Value: value}}
			return s
		}
		server.Write(t, series("chaperone_last_good_age_seconds", is.age))
		if is.drilled >= 0 {
			server.Write(t, series("chaperone_drill_timestamp_seconds", float64(now.Unix())-is.drilled))
		}
	}
	response, err := http.Get(server.URL + "/api/v1/query?" + url.Values{"query": {alerts(t)[at].Expr}, "time": {strconv.FormatInt(now.Unix(), 10)}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Status string
		Data   struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s, %v", answer.Status, err)
	}
	var fires []string
	for _, one := range answer.Data.Result {
		fires = append(fires, one.Metric["environment"])
	}
	slices.Sort(fires)
	if want := []string{"never tried", "tried long ago"}; !slices.Equal(fires, want) {
		t.Errorf("it fires for %q, want %q", fires, want)
	}
}
