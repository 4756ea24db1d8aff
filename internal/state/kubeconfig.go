package state

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"chaperone.dev/chaperone/internal/fault"
)

// Kubeconfig reads the Secret that an environment's target names.
func (s *Store) Kubeconfig(ctx context.Context, name string) ([]byte, error) {
	secret, err := s.core.CoreV1().Secrets(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, classify("read", "Secret/"+s.namespace+"/"+name, err)
	}
	for _, key := range []string{"kubeconfig", "value"} {
		if content := secret.Data[key]; len(content) > 0 {
			return content, nil
		}
	}
	return nil, fault.Terminal("read kubeconfig", "Secret/"+s.namespace+"/"+name, errors.New(`want its content under the key "kubeconfig"`))
}

// FollowKubeconfig calls changed once it follows a Secret that is there, and
// after each time that it was written or deleted, until ctx ends. It may call for
// nothing. It is told of the change and not of the content, which it does not
// ask for.
func (s *Store) FollowKubeconfig(ctx context.Context, name string, changed func()) error {
	const longest = 30 * time.Second
	version := "" // begins with what is there
	for pause := watchPause; ; {
		var err error
		version, err = s.followSecret(ctx, name, version, changed)
		if pause = min(2*pause, longest); err == nil {
			pause = watchPause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// followSecret watches from a version until the server ends the watch, and
// returns the one to go on from; "" after an error.
func (s *Store) followSecret(ctx context.Context, name, version string, changed func()) (string, error) {
	seconds := int64(watchTime.Seconds())
	watch, err := s.meta.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(s.namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector("metadata.name", name).String(),
		ResourceVersion: version, AllowWatchBookmarks: true, TimeoutSeconds: &seconds,
	})
	if err != nil {
		return "", classify("watch", "Secret/"+s.namespace+"/"+name, err)
	}
	defer watch.Stop()
	for event := range watch.ResultChan() {
		o, isMeta := event.Object.(*metav1.PartialObjectMetadata)
		if !isMeta {
			return "", apierrors.FromObject(event.Object)
		}
		version = o.ResourceVersion
		if event.Type != apiwatch.Bookmark {
			changed()
		}
	}
	return version, nil
}
