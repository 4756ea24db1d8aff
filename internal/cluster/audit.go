package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// Audited is what an audit came to.
type Audited struct {
	Tried    int              // objects that were sent in a dry run
	Differ   []manifest.ID    // are not what the release asks for, and could be
	Altered  []manifest.ID    // are, and would not stay so: admission changes what is written
	Rejected []plan.Rejection // would not be accepted any more
}

// Audit sends every object of a release that is applied in a dry run, one after
// the other with a pause between. Watches tell what was done to objects; only
// this tells that the server would treat them otherwise by now: a webhook, a
// default or a version of it is new, or gone. What differs is drift for the next
// Drift; the rest is for people. It needs a Watch that runs.
func (c *Cluster) Audit(ctx context.Context, w Owner, desired manifest.Set, pause time.Duration) (Audited, error) {
	m := c.mirrorOf(w)
	if m == nil {
		return Audited{}, fault.Retryable("audit", "", errors.New("the environment is not watched yet"))
	}
	r, err := c.resolve(ctx, w, desired)
	if err != nil {
		return Audited{}, err
	}
	a := audit{trial: &trial{c: c, w: w, release: r, mirror: m, scaled: plan.Scaled(r.set.Objects()),
		scalers: &scalers{c: c, w: w, release: r}}}
	for _, o := range r.set.Objects() {
		known := m.get(manifest.IDOf(o))
		if known == nil || !m.covers(r.kinds[known.id], place{known.id.GroupKind(), known.id.Namespace}) || known.deleting || plan.IsJob(o) || plan.IsHook(o) {
			continue // absent is drift already; and what runs once is not run again
		}
		if err := a.look(ctx, o, known); err != nil {
			return a.Audited, err
		}
		if err := sleep(ctx, pause); err != nil {
			return a.Audited, fault.Retryable("audit", "", err)
		}
	}
	return a.Audited, nil
}

type audit struct {
	*trial
	Audited
}

func (a *audit) look(ctx context.Context, o *manifest.Object, known *tracked) error {
	live, err := known.object()
	if err != nil {
		return fault.Retryable("audit", known.id.String(), err)
	}
	k, found := a.release.kinds[known.id]
	if !found {
		return nil // its kind is not served; the next plan says so
	}
	a.Tried++
	sent, err := a.sent(ctx, o, live)
	if err != nil {
		return err
	}
	manager, redact := a.c.options.FieldManager, *a.c.options.Redactor
	tried, err := a.c.dryRun(ctx, k, sent)
	switch {
	case err != nil && refusedForGood(err):
		a.Rejected = append(a.Rejected, plan.Rejection{ID: known.id, Err: answer(known.id, err)})
		return nil
	case err != nil:
		return failed("audit", known.id, err)
	}
	if fields, _ := plan.Drifted(live, sent, tried, manager, redact); len(fields) > 0 {
		a.Differ = append(a.Differ, known.id)
		a.mirror.doubt(known.id)
	} else if _, altered := plan.Compare(live, tried, manager, redact); altered {
		a.Altered = append(a.Altered, known.id)
	}
	return nil
}

// asks are the kinds whose objects change what becomes of others.
var asks = []schema.GroupVersionResource{
	{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"},
	{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"},
	{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingadmissionpolicies"},
	{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"},
}

// Fingerprint names the state of the server that decides what becomes of an
// object that is sent: its version, its definitions and its admission. Another
// one is a reason for an Audit. What may not be read is left out.
func (c *Cluster) Fingerprint(ctx context.Context) (string, error) {
	asked, cancel := context.WithTimeout(ctx, c.options.RequestTimeout)
	defer cancel()
	version, err := c.kinds.client.ServerVersionWithContext(asked)
	if err != nil {
		return "", fault.Retryable("read the server's version", "", err)
	}
	lines := []string{version.GitVersion}
	for _, resource := range asks {
		seen, err := c.generations(ctx, resource)
		if err != nil {
			return "", err
		}
		lines = append(lines, seen...)
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:digestLength]), nil
}

const digestLength = 16

// generations are the objects of a kind with what changes when their spec does.
func (c *Cluster) generations(ctx context.Context, resource schema.GroupVersionResource) ([]string, error) {
	var list *metav1.PartialObjectMetadataList
	err := c.retry(ctx, func(ctx context.Context) (err error) {
		list, err = c.metadata.Resource(resource).List(ctx, metav1.ListOptions{})
		return err
	})
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsUnauthorized(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Retryable("list", resource.Resource, err)
	}
	lines := make([]string, 0, len(list.Items))
	for _, o := range list.Items {
		lines = append(lines, fmt.Sprintf("%s %s %s %d", resource.Resource, o.Name, o.UID, o.Generation))
	}
	slices.Sort(lines)
	return lines, nil
}
