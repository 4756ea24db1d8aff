package state

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

const (
	bundleType       = corev1.SecretType("chaperone.dev/bundle")
	bundleLabel      = "chaperone.dev/bundle" // the digest, as far as a label can hold it
	bundleDigest     = "chaperone.dev/digest"
	bundleChunks     = "chaperone.dev/chunks"
	maxChunk         = 900 << 10 // a Secret may hold 1 MiB
	maxChunkCount    = 64
	maxBundleContent = 256 << 20
)

// ErrBrokenBundle: chunks are missing, or their content is not what was stored.
var ErrBrokenBundle = errors.New("stored bundle is broken")

// PutBundle keeps a release's objects, so that they can be restored without
// Git. The first chunk is written last: a bundle without it does not exist, so
// one that was half written when the daemon died is never read as whole.
func (s *Store) PutBundle(ctx context.Context, id promotion.ID, digest reconcile.Digest, set manifest.Set) error {
	content, err := pack(set)
	if err != nil {
		return fmt.Errorf("bundle of %s: %w", id, err)
	}
	chunks := slices.Collect(slices.Chunk(content, maxChunk))
	if len(chunks) > maxChunkCount {
		return fmt.Errorf("bundle of %s: %d bytes compressed; want at most %d", id, len(content), maxChunk*maxChunkCount)
	}
	if len(chunks) == 1 { // as most are, and new: with one request, and none to look whether it is there
		_, err := s.core.CoreV1().Secrets(s.namespace).Create(ctx, s.chunk(id, digest, 0, 1, chunks[0]), creating())
		if err == nil {
			return nil
		}
	}
	if _, err := s.Bundle(ctx, id, digest); err == nil {
		return nil
	}
	for i := len(chunks) - 1; i >= 0; i-- {
		if err := s.putChunk(ctx, id, digest, i, len(chunks), chunks[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) chunk(id promotion.ID, digest reconcile.Digest, i, count int, chunk []byte) *corev1.Secret {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: chunkName(id, digest, i), Namespace: s.namespace, Labels: labelsOf(id),
			Annotations: map[string]string{bundleDigest: string(digest), bundleChunks: strconv.Itoa(count)},
		},
		Type: bundleType, Data: map[string][]byte{"bundle": chunk},
	}
	secret.Labels[bundleLabel] = labelOf(digest)
	return secret
}

func (s *Store) putChunk(ctx context.Context, id promotion.ID, digest reconcile.Digest, i, count int, content []byte) error {
	secret := s.chunk(id, digest, i, count, content)
	secrets := s.core.CoreV1().Secrets(s.namespace)
	_, err := secrets.Create(ctx, secret, creating())
	if apierrors.IsAlreadyExists(err) {
		_, err = secrets.Update(ctx, secret, updating())
	}
	return redacted("write", secret.Name, err)
}

// redacted keeps a Secret's content out of an error: the server may quote it.
func redacted(op, name string, err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		short := &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: status.Status().Code, Reason: status.Status().Reason,
			Message: fmt.Sprintf("the server answered %d %s", status.Status().Code, status.Status().Reason),
		}}
		return classify(op, "Secret/"+name, short)
	}
	return classify(op, "Secret/"+name, err)
}

func labelOf(digest reconcile.Digest) string {
	hexadecimal := strings.TrimPrefix(string(digest), "sha256:")
	return hexadecimal[:min(32, len(hexadecimal))]
}

func chunkName(id promotion.ID, digest reconcile.Digest, i int) string {
	return fmt.Sprintf("chaperone-bundle.%s.%s.%d", ObjectName(id), labelOf(digest)[:min(16, len(labelOf(digest)))], i)
}

// Bundle reads a stored release back, and makes sure that it is that release.
func (s *Store) Bundle(ctx context.Context, id promotion.ID, digest reconcile.Digest) (manifest.Set, error) {
	var content []byte
	count := 1
	for i := 0; i < count; i++ {
		secret, err := s.core.CoreV1().Secrets(s.namespace).Get(ctx, chunkName(id, digest, i), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return manifest.Set{}, fmt.Errorf("bundle of %s, digest %s: %w", id, manifest.Digest(digest).Short(), ErrNoBundle)
		}
		if err != nil {
			return manifest.Set{}, redacted("read", chunkName(id, digest, i), err)
		}
		if i == 0 {
			count, err = strconv.Atoi(secret.Annotations[bundleChunks])
			if err != nil || count < 1 || count > maxChunkCount {
				return manifest.Set{}, fmt.Errorf("bundle of %s: %w: chunk count %q", id, ErrBrokenBundle, secret.Annotations[bundleChunks])
			}
		}
		content = append(content, secret.Data["bundle"]...)
	}
	set, err := unpack(content)
	if err != nil {
		return manifest.Set{}, fmt.Errorf("bundle of %s: %w: %w", id, ErrBrokenBundle, err)
	}
	if got, err := set.Digest(); err != nil || reconcile.Digest(got) != digest {
		return manifest.Set{}, fmt.Errorf("bundle of %s: %w: its digest is not the one it is stored under", id, ErrBrokenBundle)
	}
	return set, nil
}

// KeepBundles deletes an environment's bundles but those named.
func (s *Store) KeepBundles(ctx context.Context, id promotion.ID, keep ...reconcile.Digest) error {
	secrets := s.meta.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(s.namespace)
	list, err := secrets.List(ctx, metav1.ListOptions{ // their content is not asked for: it is large
		LabelSelector: labels.SelectorFromSet(labelsOf(id)).String() + "," + bundleLabel,
		FieldSelector: "type=" + string(bundleType),
	})
	if err != nil {
		return redacted("list", "bundles of "+id.String(), err)
	}
	for i := range list.Items {
		secret := &list.Items[i]
		if slices.Contains(keep, reconcile.Digest(secret.Annotations[bundleDigest])) {
			continue
		}
		err := secrets.Delete(ctx, secret.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(secret.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			return redacted("delete", secret.Name, err)
		}
	}
	return nil
}

func pack(set manifest.Set) ([]byte, error) {
	canonical, err := set.Canonical()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(canonical); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpack(content []byte) (manifest.Set, error) {
	r, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return manifest.Set{}, err
	}
	canonical, err := io.ReadAll(io.LimitReader(r, maxBundleContent+1))
	if err != nil {
		return manifest.Set{}, err
	}
	if len(canonical) > maxBundleContent {
		return manifest.Set{}, fmt.Errorf("more than %d bytes", maxBundleContent)
	}
	var objects []*manifest.Object
	for line := range bytes.Lines(canonical) {
		o := &manifest.Object{}
		if err := o.UnmarshalJSON(line); err != nil {
			return manifest.Set{}, err
		}
		objects = append(objects, o)
	}
	return manifest.NewSet(objects)
}
