package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// ErrMayNotLook is what Live.Pods answers where the account may not see pods.
var ErrMayNotLook = errors.New("the account may not list pods")

// leastLately is longer than Kubernetes waits before it starts a container again.
const leastLately = 10 * time.Minute

// restarts counts how often containers of the release's own pods ended since it
// was begun. A pod that comes back each time is ready whenever somebody looks. Of
// a release that is watched those count that ended lately: in a week many a
// container is started again, and is well since.
func (v *Verifier) restarts(ctx context.Context, limits promotion.Restarts, subject Subject, every time.Duration) (Result, bool, error) {
	result := Result{Check: "restarts", Started: v.clock.Now()}
	if subject.Live.Pods == nil {
		return result, false, nil
	}
	read, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	objects, err := v.withPods(read, subject.Live)
	if ctx.Err() != nil {
		return Result{}, false, cancelled(ctx.Err())
	}
	result.Ended = v.clock.Now()
	switch {
	case errors.Is(err, ErrMayNotLook) && !limits.Written:
		return result, false, nil // nobody has asked for it
	case err != nil:
		result.Verdict, result.Evidence = Error, "restarts could not be counted: "+brief(err)
		return result, true, nil
	}
	restarted, pods := health.Restarts(objects, subject.Applied)
	if pods == 0 {
		return result, false, nil // the release has brought no pod
	}
	if lately := result.Ended.Add(-max(2*every, leastLately)); subject.Watching {
		restarted = slices.DeleteFunc(restarted, func(r health.Restarted) bool { return !r.Ended.IsZero() && r.Ended.Before(lately) })
	}
	result.Verdict, result.Evidence = tooMany(restarted, pods, limits)
	return result, true, nil
}

func (v *Verifier) withPods(ctx context.Context, live Live) (map[manifest.ID]*manifest.Object, error) {
	workloads, _, err := live.Look(ctx, func(id manifest.ID) bool { return id.Group == "apps" })
	if err != nil || len(workloads) == 0 {
		return nil, err
	}
	objects, err := live.Pods(ctx, workloads)
	if err != nil {
		return nil, err
	}
	for id, o := range workloads {
		objects[id] = o
	}
	return objects, nil
}

// tooMany judges each container by itself, the worst first.
func tooMany(restarted []health.Restarted, pods int, limits promotion.Restarts) (Verdict, string) {
	kills := 0
	for _, r := range restarted {
		if r.OutOfMemory {
			kills++
		}
		if kills > limits.OOMKills {
			return Fail, fmt.Sprintf("%s (limit of such ends %d)", r, limits.OOMKills)
		}
	}
	if len(restarted) > 0 && restarted[0].Times > int64(limits.Max) {
		return Fail, fmt.Sprintf("%s (limit %d)", restarted[0], limits.Max)
	}
	most := int64(0)
	if len(restarted) > 0 {
		most = restarted[0].Times
	}
	return Pass, fmt.Sprintf("%d new pods, %d restarts at most of a container (limit %d)", pods, most, limits.Max)
}
