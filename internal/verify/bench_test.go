package verify

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// cpu is what this process has used so far.
func cpu(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

const (
	benchWorkloads = 200
	benchRequests  = 10 // of each
)

// BenchmarkChecksOf200Workloads asks 200 Services at once, in four environments,
// beside a bare loop that sends the same requests in the same way.
func BenchmarkChecksOf200Workloads(b *testing.B) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, `{"status": "UP"}`)
	}))
	defer server.Close()
	proxy, err := url.Parse(server.URL)
	if err != nil {
		b.Fatal(err)
	}
	client := NewClient(proxy)
	var floor, spent time.Duration
	for range b.N {
		before := cpu(b)
		bare(b, client)
		floor += cpu(b) - before
		asked.Store(0)
		before = cpu(b)
		checked(b, client)
		spent += cpu(b) - before
		if got := asked.Load(); got != benchWorkloads*benchRequests {
			b.Fatalf("%d requests, want %d", got, benchWorkloads*benchRequests)
		}
	}
	b.ReportMetric(float64(asked.Load()), "requests")
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N*benchWorkloads*benchRequests), "µs-cpu/request")
	b.ReportMetric(float64(spent)/float64(floor), "×bare")
}

func checked(b *testing.B, client *http.Client) {
	var running sync.WaitGroup
	for environment := range 4 {
		running.Go(func() {
			v := New(client, SystemClock(), 0)
			var checks []Check
			for i := range benchWorkloads / 4 {
				checks = append(checks, v.httpCheck(promotion.HTTPCheck{Name: fmt.Sprint(i), Service: fmt.Sprintf("s%d", i), Port: 80, Path: "/", Count: benchRequests,
					Timeout: 10 * time.Second, JSON: []promotion.JSONValue{{Path: ".status", Equals: "UP"}}}, Subject{Namespace: fmt.Sprintf("n%d", environment)}))
			}
			for _, r := range v.all(context.Background(), checks, false) {
				if r.Verdict != Pass {
					b.Error(r.Evidence)
				}
			}
		})
	}
	running.Wait()
}

func bare(b *testing.B, client *http.Client) {
	var running sync.WaitGroup
	slots := make(chan struct{}, 4*parallelChecks)
	for i := range benchWorkloads {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			for range benchRequests {
				request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://s%d.n.svc/", i), nil)
				if err != nil {
					b.Error(err)
					return
				}
				request.Close = true
				response, err := client.Do(request)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
		})
	}
	running.Wait()
}
