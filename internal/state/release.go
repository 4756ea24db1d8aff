package state

import (
	"context"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state/v1alpha1"
)

// keptReleases is what this store knows of an environment's without asking.
type keptReleases struct {
	name, version string // the one that was written last, and its resourceVersion
	log           string // where its log is kept
	counted       bool
	count         int // how many there are
}

// firstPhase is that of a release without a status, as its CRD says, too: most
// are written first when they are applied.
const firstPhase = ReleaseVerifying

// PutRelease writes how far a release came, and lets go of the oldest.
func (s *Store) PutRelease(ctx context.Context, r Release) error {
	if err := s.putRelease(ctx, r); err != nil || r.Log == "" {
		return err
	}
	return s.putLog(ctx, r)
}

func (s *Store) putRelease(ctx context.Context, r Release) error {
	wanted := releaseObject(r)
	wanted.Namespace = s.namespace
	object, err := toObject(wanted)
	if err != nil {
		return err
	}
	kept := s.keptOf(r.Environment)
	if kept.name == wanted.Name {
		object.SetResourceVersion(kept.version)
		keepsLog(object, kept.log)
		err := s.putStatus(ctx, r.Environment, object)
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return classify("write", "Release/"+wanted.Name, err)
		}
		object.SetResourceVersion("") // somebody else wrote it, or it is gone
	}
	current, err := s.createRelease(ctx, r.Environment, object)
	if err == nil && reflect.DeepEqual(wanted.Status, v1alpha1.ReleaseStatus{Phase: string(firstPhase)}) {
		s.keep(r.Environment, func(kept *keptReleases) {
			kept.name, kept.version, kept.log = current.GetName(), current.GetResourceVersion(), ""
		})
		return nil // that is what one without a status says
	}
	if apierrors.IsAlreadyExists(err) {
		current, err = s.releases().Get(ctx, wanted.Name, metav1.GetOptions{})
	}
	if err == nil {
		object.SetResourceVersion(current.GetResourceVersion())
		known, _, _ := unstructured.NestedString(current.Object, "status", "log")
		keepsLog(object, known)
		err = s.putStatus(ctx, r.Environment, object)
	}
	return classify("write", "Release/"+wanted.Name, err)
}

// keepsLog: what is written of a release later does not forget where its log is.
func keepsLog(object *unstructured.Unstructured, name string) {
	if status, has := object.Object["status"].(map[string]any); has && name != "" && status["log"] == nil {
		status["log"] = name
	}
}

func (s *Store) keptOf(id promotion.ID) keptReleases {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[id]
}

func (s *Store) keep(id promotion.ID, change func(*keptReleases)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.kept[id]
	change(&kept)
	s.kept[id] = kept
}

func (s *Store) putStatus(ctx context.Context, id promotion.ID, object *unstructured.Unstructured) error {
	object = object.DeepCopy()
	delete(object.Object, "spec") // is not taken through this subresource
	saved, err := s.releases().UpdateStatus(ctx, object, updating())
	s.keep(id, func(kept *keptReleases) {
		kept.name, kept.version, kept.log = "", "", ""
		if err == nil {
			kept.name, kept.version = saved.GetName(), saved.GetResourceVersion()
			kept.log, _, _ = unstructured.NestedString(saved.Object, "status", "log")
		}
	})
	return err
}

// createRelease writes a new release, and deletes the oldest where there are too
// many by then.
func (s *Store) createRelease(ctx context.Context, id promotion.ID, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	owner := s.known[id]
	s.mu.Unlock()
	if owner.UID != "" {
		object.SetOwnerReferences([]metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "Environment", Name: owner.Name, UID: owner.UID}})
	}
	created, err := s.releases().Create(ctx, object, creating())
	if err != nil {
		return nil, err
	}
	if kept := s.keptOf(id); kept.counted && kept.count < maxReleases {
		s.keep(id, func(kept *keptReleases) { kept.count++ })
		return created, nil
	}
	return created, s.trim(ctx, id)
}

// trim deletes the oldest releases. What another store has written is known with
// the next look: there may be a few more meanwhile.
func (s *Store) trim(ctx context.Context, id promotion.ID) error {
	all, err := s.Releases(ctx, id)
	if err != nil {
		return err
	}
	for _, old := range all[min(maxReleases, len(all)):] {
		err := s.releases().Delete(ctx, releaseObject(old).Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	s.keep(id, func(kept *keptReleases) { kept.counted, kept.count = true, min(maxReleases, len(all)) })
	return nil
}
