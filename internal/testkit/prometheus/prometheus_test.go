package prometheus

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// value asks for one number; "" is none.
func value(t *testing.T, s *Server, query string, at time.Time) string {
	t.Helper()
	response, err := http.Get(s.URL + "/api/v1/query?" + url.Values{"query": {query}, "time": {at.Format(time.RFC3339)}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Data.Result) != 1 {
		return ""
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1])
}

func TestItScrapesAndTakesAPast(t *testing.T) {
	t.Parallel()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "answers 42")
	}))
	t.Cleanup(target.Close)
	s := Start(t, "global: {scrape_interval: 100ms, scrape_timeout: 100ms}\nscrape_configs: [{job_name: one, static_configs: [{targets: [\""+strings.TrimPrefix(target.URL, "http://")+"\"]}]}]\n")
	for end := time.Now().Add(20 * time.Second); value(t, s, "answers", time.Now()) != "42"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing was scraped")
		}
	}
	now := time.Now().Truncate(time.Second)
	then := now.Add(-24 * time.Hour)
	past := Named("errors_total", "job", "api").Every(15*time.Second, then, then.Add(time.Hour), func(at time.Time) float64 { return at.Sub(then).Seconds() * 2 })
	s.Write(t, past)
	if got := value(t, s, "rate("+past.String()+"[10m])", then.Add(30*time.Minute)); !strings.HasPrefix(got, "1.99999") && got != "2" {
		t.Errorf("the rate yesterday was %q", got)
	}
	ended := Named("gone").Every(15*time.Second, now.Add(-time.Minute), now, func(time.Time) float64 { return 1 })
	ended.Samples = append(ended.Samples, Sample{now, Stale})
	s.Write(t, ended)
	if got := value(t, s, "gone", now.Add(time.Second)); got != "" {
		t.Errorf("a series that ended is still %q", got)
	}
}
