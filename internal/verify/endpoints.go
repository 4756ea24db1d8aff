package verify

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"chaperone.dev/chaperone/internal/promotion"
)

// Endpoint is one ready pod behind a Service.
type Endpoint struct {
	Pod     string
	Address string // and port, as they are connected to
}

// Bounds of asking each endpoint.
const (
	maxEndpoints      = 100
	parallelEndpoints = 16
)

// each asks every endpoint of a Service by itself: a Service hides one bad pod
// among many, and a request of each kind that only one of them answers wrongly.
// The check's count and limits are each endpoint's own.
func (v *Verifier) each(ctx context.Context, check promotion.HTTPCheck, subject Subject) (Result, error) {
	result := Result{Check: check.Name, Started: v.clock.Now()}
	end := func(verdict Verdict, evidence string) (Result, error) {
		if err := ctx.Err(); err != nil {
			return Result{}, cancelled(err)
		}
		result.Verdict, result.Ended = verdict, v.clock.Now()
		result.Evidence = fmt.Sprintf("http %q %s", check.Name, evidence)
		return result, nil
	}
	if subject.Endpoints == nil {
		return end(Error, "could not be asked: nobody knows the endpoints of "+check.Service)
	}
	found, err := subject.Endpoints(ctx, check.Service, check.Port)
	switch {
	case err != nil:
		return end(Error, "could not be asked: "+brief(err))
	case len(found) == 0:
		return end(NoData, fmt.Sprintf("asked nothing: service %s has no ready endpoint at port %d", check.Service, check.Port))
	}
	asked := found[:min(len(found), maxEndpoints)]
	if v.viaProxy(asked[0].Address) {
		// A proxy goes by the name that it is told, and would ask the Service.
		if hostOf(check) != "" {
			return end(Error, "could not be asked: through a proxy an endpoint is asked by its address, and not under the Host that its headers name")
		}
		subject.Namespace = ""
	}
	results, err := v.endpoints(ctx, check, subject.Namespace, asked)
	if err != nil {
		return Result{}, err
	}
	verdict, evidence := overEndpoints(results, asked)
	if len(asked) < len(found) {
		evidence += fmt.Sprintf("; %d of %d endpoints were asked", len(asked), len(found))
	}
	return end(verdict, evidence)
}

// endpoints asks them at the same time, and cuts the others short once one
// fails. The result of what was cut short is empty.
func (v *Verifier) endpoints(ctx context.Context, check promotion.HTTPCheck, namespace string, those []Endpoint) ([]Result, error) {
	short, stop := context.WithCancel(ctx)
	defer stop()
	var (
		running sync.WaitGroup
		slots   = make(chan struct{}, parallelEndpoints)
		results = make([]Result, len(those))
	)
	for i, endpoint := range those {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			got, err := v.HTTP(short, toEndpoint(check, namespace, endpoint), namespace)
			if err != nil {
				return
			}
			results[i] = got
			if got.Verdict == Fail {
				stop()
			}
		})
	}
	running.Wait()
	if err := ctx.Err(); err != nil {
		return nil, cancelled(err)
	}
	return results, nil
}

// viaProxy reports whether requests to an address go through a proxy.
func (v *Verifier) viaProxy(address string) bool {
	request, err := http.NewRequest(http.MethodGet, "http://"+address+"/", nil)
	return err == nil && proxied(v.client, request)
}

func hostOf(check promotion.HTTPCheck) string {
	for name, value := range check.Headers {
		if http.CanonicalHeaderKey(name) == "Host" {
			return value
		}
	}
	return ""
}

// toEndpoint asks a pod as its callers do, who know it by its Service's name;
// without a namespace, by its address alone.
func toEndpoint(check promotion.HTTPCheck, namespace string, endpoint Endpoint) promotion.HTTPCheck {
	host := check.Service + "." + namespace + ".svc"
	if check.Port > 0 && check.Port != 80 {
		host = net.JoinHostPort(host, strconv.Itoa(check.Port))
	}
	headers := maps.Clone(check.Headers)
	if headers == nil {
		headers = map[string]string{}
	}
	if namespace != "" && hostOf(check) == "" {
		headers["Host"] = host
	}
	check.URL = "http://" + endpoint.Address + "/" + strings.TrimPrefix(check.Path, "/")
	check.Service, check.Port, check.Path, check.Headers = "", 0, "", headers
	return check
}

// overEndpoints is the worst of them, with the evidence of the first that is.
func overEndpoints(results []Result, those []Endpoint) (Verdict, string) {
	var verdicts []Verdict
	for _, r := range results {
		if r.Verdict != "" {
			verdicts = append(verdicts, r.Verdict)
		}
	}
	worst, first, alike := Worst(verdicts...), "", 0
	for i, r := range results {
		if r.Verdict != worst {
			continue
		}
		if alike++; first == "" {
			_, evidence, _ := strings.Cut(r.Evidence, `" `)
			first = fmt.Sprintf("of pod %s %s", those[i].Pod, evidence)
		}
	}
	if worst == Pass {
		return worst, fmt.Sprintf("%s; %d of %d endpoints like it", first, alike, len(those))
	}
	if alike > 1 {
		first += fmt.Sprintf("; %d more like it", alike-1)
	}
	return worst, first
}
