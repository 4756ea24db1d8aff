package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state/v1alpha1"
)

const (
	listPage   = 500
	watchTime  = 5 * time.Minute // then the server ends the watch, and it goes on from there
	watchPause = time.Second     // between two watches, should a server end each at once
)

// metadata reads the objects without spec and status: each status that the
// daemon itself writes is an event of the watch.
func (s *Store) metadata() metadata.ResourceInterface {
	return s.meta.Resource(v1alpha1.GroupVersion.WithResource("environments")).Namespace(s.namespace)
}

// WatchRequests tells of what people ask: for each environment at the start,
// then when the requests of one change; those of a deleted object are none, also
// when it was deleted between two calls. It calls changed from one goroutine,
// and returns when ctx ends or the watch breaks, never nil: the caller calls
// again, which begins with a new list. There is one call at a time for a Store.
func (s *Store) WatchRequests(ctx context.Context, changed func(promotion.ID, Requests)) error {
	if !s.watching.TryLock() {
		return fault.Terminal("watch", s.watched(), errors.New("is watched already; want one call at a time"))
	}
	defer s.watching.Unlock()
	version, err := s.listRequests(ctx, changed)
	for err == nil {
		if version, err = s.followRequests(ctx, version, changed); err != nil {
			break
		}
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(watchPause):
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: watch: %w", s.watched(), ctx.Err())
	}
	return err
}

func (s *Store) watched() string { return "environments in namespace " + s.namespace }

// listRequests reads all pages before it tells of any, so that a list that
// breaks off does not look like deletions.
func (s *Store) listRequests(ctx context.Context, changed func(promotion.ID, Requests)) (version string, err error) {
	var all []metav1.PartialObjectMetadata
	for page := (metav1.ListOptions{Limit: listPage}); ; {
		list, err := s.metadata().List(ctx, page)
		if err != nil {
			return "", classify("list", s.watched(), err)
		}
		all, version, page.Continue = append(all, list.Items...), list.ResourceVersion, list.Continue
		if page.Continue == "" {
			break
		}
	}
	before := s.requested
	s.requested = make(map[promotion.ID]Requests, len(all))
	for i := range all {
		s.requestEvent(&all[i], changed)
	}
	for id, requests := range before {
		if _, listed := s.requested[id]; !listed && !requests.Equal(Requests{}) {
			changed(id, Requests{})
		}
	}
	return version, nil
}

// followRequests is one watch. It ends without an error when the server ends it
// in its time; version is where to go on.
func (s *Store) followRequests(ctx context.Context, version string, changed func(promotion.ID, Requests)) (string, error) {
	seconds := int64(watchTime.Seconds())
	events, err := s.metadata().Watch(ctx, metav1.ListOptions{
		ResourceVersion: version, AllowWatchBookmarks: true, TimeoutSeconds: &seconds})
	if err != nil {
		return version, classify("watch", s.watched(), err)
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		object, ok := event.Object.(*metav1.PartialObjectMetadata)
		switch {
		case event.Type == watch.Error: // 410 among others: events were missed
			return version, classify("watch", s.watched(), apierrors.FromObject(event.Object))
		case !ok:
			return version, fault.Retryable("watch", s.watched(), fmt.Errorf("event %s of %T; want metadata", event.Type, event.Object))
		case event.Type == watch.Deleted:
			s.forgetRequests(object, changed)
		case event.Type != watch.Bookmark:
			s.requestEvent(object, changed)
		}
		version = object.ResourceVersion
	}
	return version, nil
}

func (s *Store) requestEvent(object *metav1.PartialObjectMetadata, changed func(promotion.ID, Requests)) {
	id, ok := idFrom(object.Name)
	if !ok {
		return // no environment is called so; Load tells of it
	}
	requests := requestsOf(object.Name, object.Annotations)
	before, known := s.requested[id]
	s.requested[id] = requests
	if !known || !requests.Equal(before) {
		changed(id, requests)
	}
}

func (s *Store) forgetRequests(object *metav1.PartialObjectMetadata, changed func(promotion.ID, Requests)) {
	id, _ := idFrom(object.Name)
	before := s.requested[id]
	delete(s.requested, id)
	if !before.Equal(Requests{}) {
		changed(id, Requests{})
	}
}
