package state

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state/v1alpha1"
)

const (
	maxReleases  = 20 // kept for each environment
	fieldManager = "chaperone"
	// unwarned spares the server to read each write a second time, for warnings
	// that nobody reads.
	unwarned = metav1.FieldValidationIgnore
)

func creating() metav1.CreateOptions {
	return metav1.CreateOptions{FieldManager: fieldManager, FieldValidation: unwarned}
}

func updating() metav1.UpdateOptions {
	return metav1.UpdateOptions{FieldManager: fieldManager, FieldValidation: unwarned}
}

// Store is the daemon's namespace. It is safe for concurrent use; writes of one
// record are the caller's to put in order.
type Store struct {
	objects   dynamic.Interface
	core      kubernetes.Interface
	meta      metadata.Interface
	namespace string
	now       func() time.Time

	mu    sync.Mutex
	known map[promotion.ID]v1alpha1.Environment // as last read or written
	kept  map[promotion.ID]keptReleases

	watching  sync.Mutex                // held during WatchRequests
	requested map[promotion.ID]Requests // as last told by WatchRequests
}

// New uses the custom resources in a namespace. It makes no request.
func New(config *rest.Config, namespace string, now func() time.Time) (*Store, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // the server's priority and fairness decides
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	return &Store{objects: objects, core: core, meta: meta, namespace: namespace, now: now,
		known: map[promotion.ID]v1alpha1.Environment{}, kept: map[promotion.ID]keptReleases{}}, nil
}

func (s *Store) environments() dynamic.ResourceInterface {
	return s.objects.Resource(v1alpha1.GroupVersion.WithResource("environments")).Namespace(s.namespace)
}

func (s *Store) releases() dynamic.ResourceInterface {
	return s.objects.Resource(v1alpha1.GroupVersion.WithResource("releases")).Namespace(s.namespace)
}

// classify tells what a request's error means for the caller.
func classify(op, object string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return fault.Retryable(op, object, fmt.Errorf("%w: %w", ErrConflict, err))
	case apierrors.IsNotFound(err):
		return fault.Retryable(op, object, fmt.Errorf("%w: %w", ErrNotFound, err))
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err), apierrors.IsBadRequest(err):
		return fault.Terminal(op, object, err)
	}
	return fault.Retryable(op, object, err)
}

// Load reads every record. One that cannot be understood is Unreadable, and
// keeps no other from being read.
func (s *Store) Load(ctx context.Context) ([]Record, error) {
	list, err := s.environments().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, classify("list", "environments in namespace "+s.namespace, err)
	}
	var records []Record
	for i := range list.Items {
		records = append(records, s.read(&list.Items[i]))
	}
	slices.SortFunc(records, func(a, b Record) int { return a.ID.Compare(b.ID) })
	return records, nil
}

// Get reads one record. It may be Unreadable, as with Load.
func (s *Store) Get(ctx context.Context, id promotion.ID) (Record, error) {
	object, err := s.environments().Get(ctx, ObjectName(id), metav1.GetOptions{})
	if err != nil {
		return Record{ID: id}, classify("read", "Environment/"+ObjectName(id), err)
	}
	return s.read(object), nil
}

// Current reports whether nobody has written a record, or asked for anything,
// since it was read or saved.
func (s *Store) Current(ctx context.Context, r Record) (bool, error) {
	object, err := s.metadata().Get(ctx, ObjectName(r.ID), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, classify("read", "Environment/"+ObjectName(r.ID), err)
	}
	return r.Version != "" && object.ResourceVersion == r.Version, nil
}

func (s *Store) read(object *unstructured.Unstructured) Record {
	var e v1alpha1.Environment
	if err := fromObject(object, &e); err != nil {
		id, _ := idFrom(object.GetName())
		return Record{
			ID: id, Version: object.GetResourceVersion(), Requests: requestsOf(object.GetName(), object.GetAnnotations()),
			Unreadable: unreadable(object.GetName(), err),
		}
	}
	record := recordOf(e)
	s.remember(record.ID, e)
	return record
}

func (s *Store) remember(id promotion.ID, e v1alpha1.Environment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[id] = e
}

// Save writes a record on top of the version it was read at, or creates it.
// The status is written last and in one request: it holds the journal. Labels
// and annotations are other people's and not written at all.
func (s *Store) Save(ctx context.Context, r Record) (Record, error) {
	if r.Unreadable != nil {
		return r, fault.Terminal("write", "", fmt.Errorf("would overwrite what could not be read: %w", r.Unreadable))
	}
	s.mu.Lock()
	e := s.known[r.ID]
	s.mu.Unlock()
	spec, err := specOf(r.ID, r.Environment)
	if err != nil {
		return r, err
	}
	if e, err = s.saveSpec(ctx, r, e, spec); err != nil {
		return r, err
	}
	if e.Status, err = statusOf(r, e.Status, e.Generation, s.now()); err != nil {
		return r, err
	}
	if e, err = s.saveStatus(ctx, e); err != nil {
		return r, err
	}
	s.remember(r.ID, e)
	r.Version, r.Requests = e.ResourceVersion, requestsOf(e.Name, e.Annotations)
	return r, nil
}

func (s *Store) saveSpec(ctx context.Context, r Record, e v1alpha1.Environment, spec v1alpha1.EnvironmentSpec) (v1alpha1.Environment, error) {
	if r.Version == "" {
		return s.create(ctx, r.ID, spec)
	}
	if e.ResourceVersion == r.Version && sameJSON(e.Spec, spec) {
		return e, nil
	}
	// The version that is set makes the server refuse the patch when the object
	// has another by then.
	patch, err := json.Marshal([]map[string]any{
		{"op": "add", "path": "/metadata/resourceVersion", "value": r.Version},
		{"op": "add", "path": "/spec", "value": spec},
	})
	if err != nil {
		return e, fmt.Errorf("encode environment %s: %w", r.ID, err)
	}
	name := ObjectName(r.ID)
	saved, err := s.environments().Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager, FieldValidation: unwarned})
	return written(name, saved, err)
}

func (s *Store) create(ctx context.Context, id promotion.ID, spec v1alpha1.EnvironmentSpec) (v1alpha1.Environment, error) {
	e := v1alpha1.Environment{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Environment"},
		ObjectMeta: metav1.ObjectMeta{Name: ObjectName(id), Namespace: s.namespace, Labels: labelsOf(id)},
		Spec:       spec,
	}
	object, err := toObject(e)
	if err != nil {
		return e, err
	}
	created, err := s.environments().Create(ctx, object, creating())
	if err != nil {
		return e, classify("create", "Environment/"+ObjectName(id), err)
	}
	s.keep(id, func(kept *keptReleases) { *kept = keptReleases{counted: true} }) // those of one before it go with that
	return written(e.Name, created, nil)
}

// saveStatus writes the status alone: the server takes nothing else through
// this subresource, so nothing else is sent.
func (s *Store) saveStatus(ctx context.Context, e v1alpha1.Environment) (v1alpha1.Environment, error) {
	object, err := statusOnly(v1alpha1.Environment{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Environment"},
		ObjectMeta: metav1.ObjectMeta{Name: e.Name, Namespace: e.Namespace, ResourceVersion: e.ResourceVersion},
		Status:     e.Status,
	})
	if err != nil {
		return e, err
	}
	saved, err := s.environments().UpdateStatus(ctx, object, updating())
	return written(e.Name, saved, err)
}

func statusOnly(v any) (*unstructured.Unstructured, error) {
	object, err := toObject(v)
	if err == nil {
		delete(object.Object, "spec")
	}
	return object, err
}

func written(name string, saved *unstructured.Unstructured, err error) (v1alpha1.Environment, error) {
	var e v1alpha1.Environment
	if apierrors.IsNotFound(err) {
		// Deleted by somebody in between: the same as written by somebody.
		return e, fault.Retryable("write", "Environment/"+name, fmt.Errorf("%w: %w", ErrConflict, err))
	}
	if err != nil {
		return e, classify("write", "Environment/"+name, err)
	}
	return e, fromObject(saved, &e)
}

// Releases are an environment's, newest first.
func (s *Store) Releases(ctx context.Context, id promotion.ID) ([]Release, error) {
	list, err := s.releases().List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(labelsOf(id)).String()})
	if err != nil {
		return nil, classify("list", "releases of "+id.String(), err)
	}
	var all []Release
	for i := range list.Items {
		var object v1alpha1.Release
		if err := fromObject(&list.Items[i], &object); err != nil {
			return nil, err
		}
		release, err := releaseFrom(object)
		if err != nil {
			return nil, err
		}
		all = append(all, release)
	}
	slices.SortFunc(all, func(a, b Release) int { return b.Started.Compare(a.Started) })
	return all, nil
}

// Event tells of a change on the environment's own object.
func (s *Store) Event(ctx context.Context, id promotion.ID, warning bool, reason promotion.Reason, message string) error {
	s.mu.Lock()
	uid := s.known[id].UID
	s.mu.Unlock()
	kind := corev1.EventTypeNormal
	if warning {
		kind = corev1.EventTypeWarning
	}
	now := metav1.NewTime(s.now().UTC())
	const longest = 1000 // the API refuses messages of more than 1,024 bytes
	if len(message) > longest {
		message = strings.ToValidUTF8(message[:longest], "")
	}
	_, err := s.core.CoreV1().Events(s.namespace).Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: ObjectName(id) + "-", Namespace: s.namespace},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "Environment",
			Name: ObjectName(id), Namespace: s.namespace, UID: uid,
		},
		Reason: string(reason), Message: message, Type: kind, Count: 1,
		FirstTimestamp: now, LastTimestamp: now, Source: corev1.EventSource{Component: "chaperone"},
	}, metav1.CreateOptions{FieldValidation: unwarned})
	return classify("write event of", id.String(), err)
}

func toObject(v any) (*unstructured.Unstructured, error) {
	encoded, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	object := &unstructured.Unstructured{}
	return object, object.UnmarshalJSON(encoded)
}

func fromObject(object *unstructured.Unstructured, into any) error {
	encoded, err := object.MarshalJSON()
	if err == nil {
		err = json.Unmarshal(encoded, into)
	}
	if err != nil {
		return fmt.Errorf("%s/%s: read: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}

func sameJSON(a, b any) bool {
	canonical := func(v any) string {
		encoded, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		var plain any
		if json.Unmarshal(encoded, &plain) != nil {
			return ""
		}
		encoded, _ = json.Marshal(plain)
		return string(encoded)
	}
	return canonical(a) != "" && canonical(a) == canonical(b)
}
