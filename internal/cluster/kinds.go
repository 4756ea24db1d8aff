package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"chaperone.dev/chaperone/internal/fault"
)

// kind is how a kind is reached.
type kind struct {
	resource   schema.GroupVersionResource
	namespaced bool
	listed     bool // and can be applied
}

// kinds knows which kinds the cluster serves. A group whose API service is
// down does not hide the others; it is remembered as unknown, which is not the
// same as absent.
type kinds struct {
	client    *discovery.DiscoveryClient
	within    time.Duration // bounds one look
	sureAfter time.Duration
	looks     gather[struct{}, struct{}]

	mu     sync.Mutex
	served map[schema.GroupKind]served
	broken map[string]error // by group
	loaded bool
	// Looks go on beside one that hangs: asked counts those that began, and told is
	// which of them that is known is from.
	asked, told int
	// missed are kinds of owned objects that discovery did not have, since when. An
	// API server that has just begun lists definitions late, without an error.
	missed map[schema.GroupKind]time.Time
}

// served is one kind in its versions, the preferred one first.
type served struct {
	versions []string
	byName   map[string]kind
}

func newKinds(client *discovery.DiscoveryClient, within time.Duration) *kinds {
	k := &kinds{client: client, within: within, sureAfter: surelyGone, missed: map[schema.GroupKind]time.Time{}}
	k.looks = gather[struct{}, struct{}]{most: math.MaxInt, run: func(ctx context.Context, asked []struct{}) ([]struct{}, error) {
		return asked, k.look(ctx)
	}}
	return k
}

// errUnknownKind says that the cluster does not serve a kind, for certain.
var errUnknownKind = errors.New("the cluster has no such kind")

// find resolves a kind, in the given version or, for "", the preferred one,
// from what was seen last. The error is errUnknownKind where the cluster, all
// of it in sight, has no such kind.
func (k *kinds) find(ctx context.Context, gk schema.GroupKind, version string) (kind, error) {
	if !k.known() {
		if err := k.refresh(ctx); err != nil {
			return kind{}, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if found, ok := k.lookup(gk, version); ok {
		delete(k.missed, gk)
		return found, nil
	}
	if err := k.broken[gk.Group]; err != nil {
		return kind{}, fault.Retryable("discover", gk.String(), fmt.Errorf("the API service of group %s does not answer: %w", gk.Group, err))
	}
	return kind{}, fmt.Errorf("%s: %w", describeKind(gk, version), errUnknownKind)
}

func describeKind(gk schema.GroupKind, version string) string {
	if version == "" {
		return gk.String()
	}
	return gk.Kind + " in " + schema.GroupVersion{Group: gk.Group, Version: version}.String()
}

func (k *kinds) lookup(gk schema.GroupKind, version string) (kind, bool) {
	s, found := k.served[gk]
	if !found {
		return kind{}, false
	}
	if version == "" {
		version = s.versions[0]
	}
	reached, ok := s.byName[version]
	return reached, ok
}

// listable are the namespaced kinds that can be listed and applied, each in its preferred
// version.
func (k *kinds) listable(ctx context.Context) (map[schema.GroupKind]kind, error) {
	if !k.known() {
		if err := k.refresh(ctx); err != nil {
			return nil, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	all := map[schema.GroupKind]kind{}
	for gk, s := range k.served {
		if preferred := s.byName[s.versions[0]]; preferred.namespaced && preferred.listed {
			all[gk] = preferred
		}
	}
	return all, nil
}

// refresh looks at the cluster again. Every plan begins with it, so that a
// broken or vanished API is known before anything is judged missing. Plans that
// begin together share a look, which began after they did.
func (k *kinds) refresh(ctx context.Context) error {
	_, err := k.looks.ask(ctx, struct{}{})
	if err != nil && ctx.Err() != nil {
		return fault.Retryable("discover", "", fmt.Errorf("ask the cluster for its kinds: %w", err))
	}
	return err
}

// look asks outside the lock: an environment that waits for an answer must not
// hold up another.
func (k *kinds) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.within)
	defer cancel()
	turn := k.begin()
	groups, lists, err := k.client.ServerGroupsAndResourcesWithContext(ctx)
	broken := map[string]error{}
	var failed *discovery.ErrGroupDiscoveryFailed
	switch {
	case errors.As(err, &failed):
		for gv, cause := range failed.Groups {
			broken[gv.Group] = cause
		}
	case err != nil:
		return fault.Retryable("discover", "", fmt.Errorf("ask the cluster for its kinds: %w", err))
	}
	all := index(groups, lists)
	if _, core := all[schema.GroupKind{Kind: "ConfigMap"}]; !core {
		// A 404 of the core API, which client-go takes for an empty list, is a
		// proxy's. Nothing owned may be taken for gone on it.
		return fault.Retryable("discover", "", errors.New("the answer lacks the core API; something between here and the server gave it"))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if turn > k.told { // else a look that began later is known already
		k.told, k.served, k.broken, k.loaded = turn, all, broken, true
	}
	return nil
}

func (k *kinds) begin() (turn int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	return k.asked
}

func (k *kinds) known() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.loaded
}

// surelyGone is how long a kind must be out of sight before its objects are
// taken for gone.
const surelyGone = time.Minute

// miss notes that a kind of owned objects is out of sight.
func (k *kinds) miss(gk schema.GroupKind) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.missed[gk]; !known {
		k.missed[gk] = time.Now()
	}
}

// doubtful reports whether a kind may only be late.
func (k *kinds) doubtful(gk schema.GroupKind) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	since, missed := k.missed[gk]
	return missed && time.Since(since) < k.sureAfter
}

// partial reports whether a part of the API was out of sight when last looked.
func (k *kinds) partial() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.broken) > 0
}

// OutOfSight are the groups of the API that did not answer when last asked,
// sorted: what serves them is down.
func (c *Cluster) OutOfSight() []string {
	c.kinds.mu.Lock()
	defer c.kinds.mu.Unlock()
	return slices.Sorted(maps.Keys(c.kinds.broken))
}

func index(groups []*metav1.APIGroup, lists []*metav1.APIResourceList) map[schema.GroupKind]served {
	byVersion := map[string]*metav1.APIResourceList{}
	for _, list := range lists {
		byVersion[list.GroupVersion] = list
	}
	all := map[schema.GroupKind]served{}
	for _, group := range groups {
		for _, gv := range inPreference(group) {
			list := byVersion[gv.String()]
			if list == nil {
				continue
			}
			for _, resource := range list.APIResources {
				add(all, gv, resource)
			}
		}
	}
	return all
}

func add(all map[schema.GroupKind]served, gv schema.GroupVersion, resource metav1.APIResource) {
	isMain := !strings.Contains(resource.Name, "/") && slices.Contains(resource.Verbs, "get")
	if !isMain {
		return // subresources, and kinds that are only ever posted
	}
	gk := schema.GroupKind{Group: gv.Group, Kind: resource.Kind}
	s := all[gk]
	if s.byName == nil {
		s.byName = map[string]kind{}
	}
	if _, known := s.byName[gv.Version]; known {
		return
	}
	s.versions = append(s.versions, gv.Version)
	s.byName[gv.Version] = kind{resource: gv.WithResource(resource.Name), namespaced: resource.Namespaced,
		listed: slices.Contains(resource.Verbs, "list") && slices.Contains(resource.Verbs, "patch")}
	all[gk] = s
}

func inPreference(group *metav1.APIGroup) []schema.GroupVersion {
	versions := []schema.GroupVersion{{Group: group.Name, Version: group.PreferredVersion.Version}}
	for _, v := range group.Versions {
		if v.Version != group.PreferredVersion.Version {
			versions = append(versions, schema.GroupVersion{Group: group.Name, Version: v.Version})
		}
	}
	return versions
}
