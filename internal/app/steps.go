package app

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/cluster"
	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/strategy"
)

// Replicas implements controller.Cluster.
func (c *clusters) Replicas(ctx context.Context, env promotion.Environment, names []string) (map[string]int, error) {
	on, err := c.For(ctx, env.Target)
	if err != nil {
		return nil, err
	}
	return replicasOf(ctx, on, env, names)
}

func replicasOf(ctx context.Context, on *cluster.Cluster, env promotion.Environment, names []string) (map[string]int, error) {
	counts, ids := map[string]int{}, make([]manifest.ID, 0, len(names))
	for _, name := range names {
		counts[name] = 0
		ids = append(ids, manifest.ID{Group: "apps", Kind: "Deployment", Namespace: env.Target.Namespace, Name: name})
	}
	there, err := on.Live(ctx, cluster.OwnerOf(env), ids, &cluster.Looks{})
	if err != nil {
		return nil, about(env.Target, err)
	}
	for id, o := range there {
		count, found, err := unstructured.NestedInt64(o.Object, "spec", "replicas")
		if err == nil && found && count > 0 {
			counts[id.Name] = int(count)
		}
	}
	return counts, nil
}

// How long requests may take to go where the selectors of a step send them.
const (
	trafficWithin = 30 * time.Second
	trafficLook   = 500 * time.Millisecond
)

// arrives waits until the requests go where a step sends them: checks that are
// made before would ask the other version. What may not be looked at is not waited
// for. The text says which Service does not.
func (c *clusters) arrives(ctx context.Context, env promotion.Environment, step *strategy.Step) (string, error) {
	if step == nil {
		return "", nil
	}
	waits, cancel := context.WithTimeout(ctx, trafficWithin)
	defer cancel()
	missing := ""
	for _, t := range step.Traffic {
		for {
			there, err := c.arrived(waits, env, step.Set, t)
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			if err == nil && there || fault.IsTerminal(err) {
				break
			}
			if !pause(waits, trafficLook) {
				missing = elsewhere(t)
				break
			}
		}
	}
	return missing, ctx.Err()
}

func elsewhere(t strategy.Traffic) string {
	if t.All {
		return fmt.Sprintf("Service/%s does not send its requests to the pods of Service/%s alone", t.Service, t.Copy)
	}
	return fmt.Sprintf("Service/%s goes on sending requests to the pods of Service/%s", t.Service, t.Copy)
}

// arrived compares the pods behind two Services.
func (c *clusters) arrived(ctx context.Context, env promotion.Environment, set manifest.Set, t strategy.Traffic) (bool, error) {
	port, found := firstPort(set, env.Target.Namespace, t.Service)
	if !found {
		return true, nil
	}
	have, err := c.endpoints(ctx, env.Target, t.Service, port)
	if err != nil {
		return false, err
	}
	copies, err := c.endpoints(ctx, env.Target, t.Copy, port)
	if fault.IsTerminal(err) && !t.All {
		return true, nil // it is gone
	}
	if err != nil {
		return false, err
	}
	shared := 0
	for _, one := range have {
		for _, other := range copies {
			if one.Pod == other.Pod {
				shared++
			}
		}
	}
	if t.All {
		return shared > 0 && shared == len(have), nil
	}
	return shared == 0 && len(have) > 0, nil
}

func firstPort(set manifest.Set, namespace, name string) (int, bool) {
	for _, o := range set.Objects() {
		id := manifest.IDOf(o)
		if id.Group != "" || id.Kind != "Service" || id.Name != name || id.Namespace != "" && id.Namespace != namespace {
			continue
		}
		ports, _, _ := unstructured.NestedSlice(o.Object, "spec", "ports")
		if len(ports) == 0 {
			return 0, false
		}
		first, _ := ports[0].(map[string]any)
		switch number := first["port"].(type) {
		case int64:
			return int(number), true
		case float64:
			return int(number), true
		}
	}
	return 0, false
}

// unlessElsewhere takes back a pass that the version before may have given.
func (c *clusters) unlessElsewhere(ctx context.Context, env promotion.Environment, step *strategy.Step, verdict controller.Verdict) (controller.Verdict, error) {
	if step == nil || verdict.Outcome != reconcile.OutcomeDone {
		return verdict, nil
	}
	text, err := c.arrives(ctx, env, step)
	if text != "" {
		verdict.Outcome, verdict.Evidence = reconcile.OutcomeError, "nobody can tell whom the checks have asked: "+text
	}
	return verdict, err
}
