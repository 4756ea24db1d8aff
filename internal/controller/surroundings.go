package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// neighbour is another environment of the pipeline, as rules may look at it.
type neighbour struct {
	file     promotion.Environment // as last valid
	lastGood reconcile.Release
}

// neighbours are called for by the loop.
func (c *Controller) neighbours(id promotion.ID) []neighbour {
	var found []neighbour
	for i := range c.world.Environments {
		other := &c.world.Environments[i]
		if other.ID.Pipeline != id.Pipeline || other.ID == id {
			continue
		}
		if file := c.environment(other.ID).file; file.ID == other.ID { // was valid at least once
			found = append(found, neighbour{file, other.Journal.LastGood})
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
func (v *evaluation) lookAround(ctx context.Context) (surroundings, error) {
	templates, looks := v.c.Policies.Around()
	var s surroundings
	files := make([]promotion.Environment, 0, len(v.around))
	prints := map[promotion.ID]policy.Footprint{}
	states := map[promotion.ID]policy.Knowledge{}
	read := func(file promotion.Environment, good reconcile.Release) (err error) {
		prints[file.ID], states[file.ID], err = v.footprint(ctx, file, good, templates, looks)
		return err
	}
	for _, n := range v.around {
		files = append(files, n.file)
		if err := read(n.file, n.lastGood); err != nil {
			return s, err
		}
		if looks {
			s.looked = append(s.looked, reconcile.Upstream{ID: n.file.ID, Digest: n.lastGood.Digest})
		}
	}
	if err := read(v.file, v.lastGood); err != nil {
		return s, err
	}
	s.lastGood = policy.LastGood{State: states[v.file.ID], Revision: v.lastGood.Revision,
		Digest: manifest.Digest(v.lastGood.Digest), Images: prints[v.file.ID].Images}
	for _, u := range v.upstream {
		s.upstream = append(s.upstream, policy.Upstream{
			Environment: u.id, State: states[u.id], Revision: u.verified.Revision, Digest: manifest.Digest(u.verified.Digest),
			Images: prints[u.id].Images, Workloads: prints[u.id].Workloads,
		})
	}
	s.pipeline = policy.Neighbours(v.file, files)
	for i := range s.pipeline {
		id := s.pipeline[i].Environment
		s.pipeline[i].State, s.pipeline[i].References = states[id], prints[id].References
	}
	return s, s.sum(looks)
}

// sum is only worth its while where somebody looks.
func (s *surroundings) sum(looks bool) error {
	if !looks {
		return nil
	}
	encoded, err := json.Marshal([]any{s.upstream, s.pipeline})
	if err != nil {
		return fmt.Errorf("encode what other environments run: %w", err)
	}
	s.digest = manifest.DigestBytes(encoded)
	return nil
}

// footprint reads what an environment runs, once for each last good.
func (v *evaluation) footprint(ctx context.Context, file promotion.Environment, good reconcile.Release,
	templates policy.PodTemplates, looks bool) (policy.Footprint, policy.Knowledge, error) {
	switch {
	case good.Digest == "":
		return policy.Footprint{}, policy.StateNone, nil
	case !looks:
		return policy.Footprint{}, policy.StateUnknown, nil
	}
	key := footprintKey{good.Digest, v.policy, file.Target.Kubeconfig, file.Target.Namespace}
	if found, known := v.c.footprints.get(file.ID, key); known {
		return found, policy.StateVerified, nil
	}
	set, err := v.verifiedSet(ctx, file, good)
	if errors.Is(err, state.ErrNoBundle) {
		return policy.Footprint{}, policy.StateUnknown, nil
	}
	if err != nil {
		return policy.Footprint{}, policy.StateUnknown, fmt.Errorf("read what %s runs: %w", file.ID, err)
	}
	made := policy.FootprintOf(file, set, templates, v.c.Redactor)
	v.c.footprints.put(file.ID, key, made)
	return made, policy.StateVerified, nil
}

// footprints keeps the one of each environment's last good.
type footprints struct {
	mu   sync.Mutex
	made map[promotion.ID]madeFootprint
}

// footprintKey is all that a footprint depends on: where pod specs are found is
// the policies' to say.
type footprintKey struct {
	digest, policy        reconcile.Digest
	kubeconfig, namespace string
}

type madeFootprint struct {
	footprintKey
	policy.Footprint
}

func (f *footprints) get(id promotion.ID, key footprintKey) (policy.Footprint, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	made, found := f.made[id]
	return made.Footprint, found && made.footprintKey == key
}

func (f *footprints) put(id promotion.ID, key footprintKey, made policy.Footprint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.made == nil {
		f.made = map[promotion.ID]madeFootprint{}
	}
	f.made[id] = madeFootprint{key, made}
}
