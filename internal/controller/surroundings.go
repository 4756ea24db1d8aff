package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// neighbour is another environment of the pipeline, as rules may look at it.
type neighbour struct {
	file     promotion.Environment // as last valid
	lastGood reconcile.Release
	unread   bool // it never was, and only its name is known
}

// unreadable is why nothing may be known of an environment that there is.
var unreadable = []promotion.Reason{promotion.InvalidEnvironment, promotion.DependencyCycle, promotion.UnknownEnvironment, promotion.UnreadableRecord}

// neighbours are called for by the loop.
func (c *Controller) neighbours(id promotion.ID) []neighbour {
	var found []neighbour
	for i := range c.world.Environments {
		other := &c.world.Environments[i]
		if other.ID.Pipeline != id.Pipeline || other.ID == id {
			continue
		}
		if file := c.environment(other.ID).file; file.ID == other.ID { // was valid at least once
			found = append(found, neighbour{file: file, lastGood: other.Journal.LastGood})
		} else if slices.Contains(unreadable, other.Fault) {
			found = append(found, neighbour{file: promotion.Environment{ID: other.ID}, unread: true})
		}
	}
	return found
}

// surroundings is what rules see of other environments.
type surroundings struct {
	upstream []policy.Upstream
	pipeline []policy.Neighbour
	lastGood policy.LastGood
	looked   []reconcile.Upstream // what verdicts depend on; nil where no rule looks
	digest   manifest.Digest      // of upstream and pipeline
}

// lookAround finds out what other environments run. Where no rule looks at
// that, it reads nothing. What cannot be had for good is said to be unknown;
// what may be had later is an error.
func (v *evaluation) lookAround(ctx context.Context, snapshot source.Snapshot) (surroundings, error) {
	var s surroundings
	templates, looks := v.c.Policies.Around(v.file.Data)
	look := looker{v, templates}
	var files []promotion.Environment
	var unread []promotion.ID
	known := map[promotion.ID]neighbour{}
	for _, n := range v.around {
		if n.unread {
			unread = append(unread, n.file.ID)
			continue
		}
		files, known[n.file.ID] = append(files, n.file), n
	}
	s.pipeline = policy.Neighbours(v.file, files, unread...)
	for i := range s.pipeline {
		n := known[s.pipeline[i].Environment]
		if !looks.Pipeline || !s.pipeline[i].Compared(v.file) {
			continue
		}
		print, state, err := look.at(ctx, n.file, n.lastGood)
		if err != nil {
			return s, err
		}
		s.pipeline[i].State, s.pipeline[i].References = state, print.References
		s.looked = append(s.looked, reconcile.Upstream{ID: n.file.ID, Digest: n.lastGood.Digest})
	}
	for _, u := range v.upstream {
		facts := policy.Upstream{Environment: u.id, Revision: u.verified.Revision, Digest: manifest.Digest(u.verified.Digest)}
		if looks.Upstream {
			var err error
			if facts, err = look.upstream(ctx, snapshot, u, known[u.id].file); err != nil {
				return s, err
			}
			s.looked = append(s.looked, reconcile.Upstream{ID: u.id, Digest: u.verified.Digest})
		}
		s.upstream = append(s.upstream, facts)
	}
	s.lastGood = policy.LastGood{Revision: v.lastGood.Revision, Digest: manifest.Digest(v.lastGood.Digest)}
	if looks.LastGood {
		print, state, err := look.at(ctx, v.file, v.lastGood)
		if err != nil {
			return s, err
		}
		s.lastGood.State, s.lastGood.Images = state, print.Images
	}
	return s, s.sum(looks.Upstream || looks.Pipeline)
}

// sum is only worth its while where somebody looks. It leaves out revisions,
// which every commit advances where it changes nothing.
func (s *surroundings) sum(looks bool) error {
	if !looks {
		return nil
	}
	upstream := slices.Clone(s.upstream)
	for i := range upstream {
		upstream[i].Revision = ""
	}
	encoded, err := json.Marshal([]any{upstream, s.pipeline})
	if err != nil {
		return fmt.Errorf("encode what other environments run: %w", err)
	}
	s.digest = manifest.DigestBytes(encoded)
	return nil
}

// looker reads what environments run.
type looker struct {
	*evaluation
	templates policy.PodTemplates
}

// upstream is what an environment before verified: of the very revision that
// is judged, if it has been that far, for it may have gone on since; or last.
func (l looker) upstream(ctx context.Context, snapshot source.Snapshot, u upstream, file promotion.Environment) (policy.Upstream, error) {
	good := u.verified
	if u.path != "" {
		at, err := l.upstreamAt(ctx, snapshot, u)
		if err != nil {
			return policy.Upstream{}, err
		}
		if at.Digest != "" && slices.Contains(u.before, at.Digest) {
			good = reconcile.Release{Revision: l.action.Release.Revision, Digest: at.Digest}
		}
	}
	facts := policy.Upstream{Environment: u.id, State: policy.StateUnknown, Revision: good.Revision, Digest: manifest.Digest(good.Digest)}
	if file.ID != u.id {
		return facts, nil // its file was never valid
	}
	print, state, err := l.at(ctx, file, good)
	facts.State, facts.Images, facts.Workloads = state, print.Images, print.Workloads
	return facts, err
}

// at reads a release that an environment verified, once.
func (l looker) at(ctx context.Context, file promotion.Environment, good reconcile.Release) (policy.Footprint, policy.Knowledge, error) {
	if good.Digest == "" {
		return policy.Footprint{}, policy.StateNone, nil
	}
	key := footprintKey{file.ID, good.Digest, l.policy, file.Target.Kubeconfig, file.Target.Namespace}
	if found, known := l.c.footprints.get(key); known {
		return found, policy.StateVerified, nil
	}
	set, err := l.verifiedSet(ctx, file, good)
	if errors.Is(err, state.ErrNoBundle) {
		return policy.Footprint{}, policy.StateUnknown, nil
	}
	if err != nil {
		return policy.Footprint{}, policy.StateUnknown, fmt.Errorf("read what %s runs: %w", file.ID, err)
	}
	made := policy.FootprintOf(file, set, l.templates, l.c.Redactor)
	l.c.footprints.put(key, made)
	return made, policy.StateVerified, nil
}

// maxFootprints bounds how many are remembered.
const maxFootprints = 2000

// footprints are remembered, as every environment of a pipeline is asked for
// those of the others. Their lists are shared, and never changed.
type footprints struct {
	mu   sync.Mutex
	made map[footprintKey]policy.Footprint
}

// footprintKey is all that a footprint depends on: where pod specs are found is
// the policies' to say.
type footprintKey struct {
	id                    promotion.ID
	digest, policy        reconcile.Digest
	kubeconfig, namespace string
}

func (f *footprints) get(key footprintKey) (policy.Footprint, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	made, found := f.made[key]
	return made, found
}

func (f *footprints) put(key footprintKey, made policy.Footprint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.made == nil || len(f.made) >= maxFootprints {
		f.made = map[footprintKey]policy.Footprint{}
	}
	f.made[key] = made
}
