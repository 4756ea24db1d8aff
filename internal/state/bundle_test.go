package state

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// setOf makes a set of ConfigMaps with these values.
func setOf(t testing.TB, values ...string) (manifest.Set, reconcile.Digest) {
	t.Helper()
	var objects []*manifest.Object
	for i, value := range values {
		objects = append(objects, &manifest.Object{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": fmt.Sprint("config-", i), "namespace": "shop"},
			"data":     map[string]any{"value": value},
		}})
	}
	return digested(t, objects)
}

func digested(t testing.TB, objects []*manifest.Object) (manifest.Set, reconcile.Digest) {
	t.Helper()
	set, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := set.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return set, reconcile.Digest(digest)
}

// noise does not compress.
func noise(seed uint64, size int) string {
	bytes := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = source.Read(bytes)
	return base64.StdEncoding.EncodeToString(bytes)
}

func (f *fixture) put(id promotion.ID, digest reconcile.Digest, set manifest.Set) {
	f.Helper()
	if err := f.store.PutBundle(f.Context(), id, digest, set); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) chunks() []corev1.Secret {
	f.Helper()
	list, err := f.cluster.Client().CoreV1().Secrets(f.namespace).List(f.Context(), metav1.ListOptions{LabelSelector: bundleLabel})
	if err != nil {
		f.Fatal(err)
	}
	return list.Items
}

func TestBundleComesBackAsItWasStored(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set, digest := setOf(t, "a", "b", "c")
	f.put(staging, digest, set)
	f.put(staging, digest, set) // again is nothing new
	if chunks := f.chunks(); len(chunks) != 1 {
		t.Errorf("%d chunks, want 1", len(chunks))
	}
	got, err := f.another().Bundle(t.Context(), staging, digest)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, set)
	if _, err := f.store.Bundle(t.Context(), promotion.ID{Pipeline: "shop", Name: "testing"}, digest); !errors.Is(err, ErrNoBundle) {
		t.Errorf("another environment's: %v, want ErrNoBundle", err)
	}
}

func same(t *testing.T, got, want manifest.Set) {
	t.Helper()
	a, errA := got.Canonical()
	b, errB := want.Canonical()
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("came back with %d bytes, was %d (%v, %v)", len(a), len(b), errA, errB)
	}
}

// A Secret holds 1 MiB, an environment can be larger.
func TestLargeBundleIsStoredInChunks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	values := make([]string, 5)
	for i := range values {
		values[i] = noise(uint64(i), 600<<10)
	}
	set, digest := setOf(t, values...)
	f.put(staging, digest, set)
	chunks := f.chunks()
	size := 0
	for _, chunk := range chunks {
		size += len(chunk.Data["bundle"])
		if len(chunk.Data["bundle"]) > corev1.MaxSecretSize {
			t.Errorf("%s has %d bytes", chunk.Name, len(chunk.Data["bundle"]))
		}
	}
	if size < 2<<20 || len(chunks) < 3 {
		t.Fatalf("%d bytes in %d chunks; want more than 2 MiB in several", size, len(chunks))
	}
	got, err := f.another().Bundle(t.Context(), staging, digest)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, set)
}

// A daemon that dies while it stores a bundle leaves the later chunks only.
func TestHalfWrittenBundleIsNone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set, digest := setOf(t, noise(1, 1000<<10))
	content, err := pack(set)
	if err != nil {
		t.Fatal(err)
	}
	count := (len(content) + maxChunk - 1) / maxChunk
	if count < 2 {
		t.Fatalf("%d chunks; want several", count)
	}
	for last := count - 1; last > 0; last-- {
		chunk := content[last*maxChunk : min(len(content), (last+1)*maxChunk)]
		if err := f.store.putChunk(t.Context(), staging, digest, last, count, chunk); err != nil {
			t.Fatal(err)
		}
		if _, err := f.store.Bundle(t.Context(), staging, digest); !errors.Is(err, ErrNoBundle) {
			t.Fatalf("with %d of %d chunks: %v, want ErrNoBundle", count-last, count, err)
		}
	}
	f.put(staging, digest, set) // the next start goes on
	if _, err := f.store.Bundle(t.Context(), staging, digest); err != nil {
		t.Error(err)
	}
}

func TestBundleThatIsNotWhatItSaysIsRefused(t *testing.T) {
	t.Parallel()
	small, smallDigest := setOf(t, noise(3, 10<<10))
	large, largeDigest := setOf(t, noise(4, 1000<<10))
	other, _ := setOf(t, "something else")
	packed, err := pack(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, break_ := range map[string]func(*corev1.Secret){
		"another release":   func(s *corev1.Secret) { s.Data["bundle"], s.Annotations[bundleChunks] = packed, "1" },
		"flipped bit":       func(s *corev1.Secret) { s.Data["bundle"][5<<10] ^= 1 },
		"cut off":           func(s *corev1.Secret) { s.Data["bundle"] = s.Data["bundle"][:100] },
		"fewer chunks":      func(s *corev1.Secret) { s.Annotations[bundleChunks] = "1" },
		"no count":          func(s *corev1.Secret) { delete(s.Annotations, bundleChunks) },
		"count of a bomb":   func(s *corev1.Secret) { s.Annotations[bundleChunks] = "1000000" },
		"nothing in it":     func(s *corev1.Secret) { s.Data = nil },
		"more than written": func(s *corev1.Secret) { s.Annotations[bundleChunks] = "9" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			set, digest := small, smallDigest
			if name == "fewer chunks" {
				set, digest = large, largeDigest
			}
			f.put(staging, digest, set)
			f.edit(chunkName(staging, digest, 0), break_)
			_, err := f.another().Bundle(t.Context(), staging, digest)
			if !errors.Is(err, ErrBrokenBundle) && !errors.Is(err, ErrNoBundle) {
				t.Fatalf("got %v, want it refused", err)
			}
			f.put(staging, digest, set)
			got, err := f.another().Bundle(t.Context(), staging, digest)
			if err != nil {
				t.Fatalf("after it was stored again: %v", err)
			}
			same(t, got, set)
		})
	}
}

func (f *fixture) edit(secret string, change func(*corev1.Secret)) {
	f.Helper()
	secrets := f.cluster.Client().CoreV1().Secrets(f.namespace)
	s, err := secrets.Get(f.Context(), secret, metav1.GetOptions{})
	if err != nil {
		f.Fatal(err)
	}
	change(s)
	if _, err := secrets.Update(f.Context(), s, metav1.UpdateOptions{}); err != nil {
		f.Fatal(err)
	}
}

func TestOnlyNamedBundlesAreKept(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	testing_ := promotion.ID{Pipeline: "shop", Name: "testing"}
	old, oldDigest := setOf(t, noise(5, 1000<<10))
	good, goodDigest := setOf(t, "good")
	f.put(staging, oldDigest, old)
	f.put(staging, goodDigest, good)
	f.put(testing_, oldDigest, old)
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "foreign", Labels: labelsOf(staging)}}
	if _, err := f.cluster.Client().CoreV1().Secrets(f.namespace).Create(t.Context(), foreign, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := f.store.KeepBundles(t.Context(), staging, goodDigest); err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.Bundle(t.Context(), staging, oldDigest); !errors.Is(err, ErrNoBundle) {
		t.Errorf("the old one: %v, want ErrNoBundle", err)
	}
	for id, digest := range map[promotion.ID]reconcile.Digest{staging: goodDigest, testing_: oldDigest} {
		if _, err := f.store.Bundle(t.Context(), id, digest); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := f.cluster.Client().CoreV1().Secrets(f.namespace).Get(t.Context(), "foreign", metav1.GetOptions{}); err != nil {
		t.Errorf("a Secret that is no bundle: %v", err)
	}
	left := 0
	for _, chunk := range f.chunks() {
		if chunk.Labels["chaperone.dev/environment"] == staging.Name {
			left++
		}
	}
	if left != 1 {
		t.Errorf("%d chunks are left, want 1", left)
	}
}

const canary = "canary-value-5a1e"

// A rendered Secret is in its bundle and in nothing else that is stored, nor
// in any error on the way (pitfall 40).
func TestPitfall40_SecretIsInItsBundleAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	encoded := base64.StdEncoding.EncodeToString([]byte(canary))
	set, digest := digested(t, []*manifest.Object{{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "token", "namespace": "shop"},
		"data": map[string]any{"token": encoded},
	}}})
	record := full()
	record.Journal.Running.Digest = digest
	f.save(f.store, record)
	f.put(staging, digest, set)
	if err := f.store.PutRelease(t.Context(), Release{Environment: staging, Release: releaseAt(first), Started: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := f.store.Event(t.Context(), staging, false, promotion.UpToDate, "runs"); err != nil {
		t.Fatal(err)
	}
	got, err := f.store.Bundle(t.Context(), staging, digest)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, set) // it is there at all
	for what, text := range f.everything() {
		if strings.Contains(text, canary) || strings.Contains(text, encoded) {
			t.Errorf("%s shows the secret", what)
		}
	}
	for _, err := range f.errors(set, digest) {
		if err == nil {
			t.Error("no error from a store that cannot be used")
		} else if text := err.Error(); strings.Contains(text, canary) || strings.Contains(text, encoded) {
			t.Errorf("error shows the secret: %s", text)
		}
	}
}

// everything is all that is stored in the daemon's namespace, Secrets' values
// left out and their metadata included.
func (f *fixture) everything() map[string]string {
	f.Helper()
	all := map[string]string{}
	keep := func(what string, v any, err error) {
		f.Helper()
		if err != nil {
			f.Fatal(err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		all[what] = string(text)
	}
	environments, err := f.store.environments().List(f.Context(), metav1.ListOptions{})
	keep("environments", environments, err)
	releases, err := f.store.releases().List(f.Context(), metav1.ListOptions{})
	keep("releases", releases, err)
	events, err := f.cluster.Client().CoreV1().Events(f.namespace).List(f.Context(), metav1.ListOptions{})
	keep("events", events, err)
	configs, err := f.cluster.Client().CoreV1().ConfigMaps(f.namespace).List(f.Context(), metav1.ListOptions{})
	keep("config maps", configs, err)
	for _, chunk := range f.chunks() {
		keep("metadata of "+chunk.Name, chunk.ObjectMeta, nil)
	}
	return all
}

// errors are those of a store whose requests are refused in several ways.
func (f *fixture) errors(set manifest.Set, digest reconcile.Digest) []error {
	f.Helper()
	cancelled, cancel := context.WithCancel(f.Context())
	cancel()
	nobody := f.cluster.Config()
	nobody.Impersonate.UserName = "nobody"
	refused, err := New(nobody, f.namespace, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	invalid, err := New(f.config, "no-such-namespace", time.Now)
	if err != nil {
		f.Fatal(err)
	}
	_, read := refused.Bundle(f.Context(), staging, digest)
	return []error{
		read, refused.PutBundle(f.Context(), staging, digest, set), refused.KeepBundles(f.Context(), staging),
		f.store.PutBundle(cancelled, promotion.ID{Pipeline: "shop", Name: "other"}, digest, set),
		invalid.PutBundle(f.Context(), staging, digest, set),
	}
}

// A server's own words about a Secret may quote it.
func TestRedactedErrorKeepsItsKind(t *testing.T) {
	t.Parallel()
	quoting := apierrors.NewConflict(corev1.Resource("secrets"), "bundle", errors.New("the value is "+canary))
	err := redacted("write", "bundle", fmt.Errorf("around it, %s: %w", canary, quoting))
	if strings.Contains(err.Error(), canary) {
		t.Errorf("shows the secret: %v", err)
	}
	if !errors.Is(err, ErrConflict) || !apierrors.IsConflict(err) {
		t.Errorf("lost its kind: %v", err)
	}
}
