package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

const (
	secretToken = "canary-4f1d"
	username    = "robot"
)

// server is a real registry on 127.0.0.1 that wants a password.
type server struct {
	host     string
	requests atomic.Int64
	token    atomic.Value
	mangle   atomic.Bool // answers blobs with other bytes
}

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{}
	s.token.Store(secretToken)
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if _, password, _ := r.BasicAuth(); password != s.token.Load() {
			w.Header().Set("WWW-Authenticate", `Basic realm="policies"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if s.mangle.Load() && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			fmt.Fprint(w, "something else") // the client notices
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	s.host = strings.TrimPrefix(web.URL, "http://")
	return s
}

func (s *server) artifact(t *testing.T, address, token string) *Artifact {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	artifact, err := New(Options{Address: "oci://" + s.host + "/" + address, Username: username, TokenFile: file, MaxBytes: 1000, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return artifact
}

// push puts layers under a tag.
func (s *server) push(t *testing.T, tag string, mediaType string, layers ...string) {
	t.Helper()
	repository, err := s.artifact(t, "security/policies:"+tag, secretToken).connect()
	if err != nil {
		t.Fatal(err)
	}
	manifest := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: put(t, repository, ocispec.MediaTypeImageConfig, "{}")}
	manifest.SchemaVersion = 2
	for _, layer := range layers {
		manifest.Layers = append(manifest.Layers, put(t, repository, mediaType, layer))
	}
	encoded, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	described := describe(ocispec.MediaTypeImageManifest, string(encoded))
	if err := repository.PushReference(context.Background(), described, bytes.NewReader(encoded), tag); err != nil {
		t.Fatal(err)
	}
}

func describe(mediaType, content string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
}

func put(t *testing.T, repository *remote.Repository, mediaType, content string) ocispec.Descriptor {
	t.Helper()
	described := describe(mediaType, content)
	if err := repository.Push(context.Background(), described, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	return described
}

func TestPull(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.push(t, "live", ocispec.MediaTypeImageLayerGzip, "first archive")
	artifact := s.artifact(t, "security/policies:live", secretToken)
	if archive, err := artifact.Poll(t.Context()); err != nil || string(archive) != "first archive" {
		t.Fatalf("%q, %v; want the archive", archive, err)
	}
	before := s.requests.Load()
	if archive, err := artifact.Poll(t.Context()); err != nil || archive != nil {
		t.Errorf("%q, %v; want nothing new", archive, err)
	}
	if n := s.requests.Load() - before; n > 2 { // one is turned away and comes back with the password
		t.Errorf("%d requests though nothing changed", n)
	}
	s.push(t, "live", ocispec.MediaTypeImageLayerGzip, "second archive")
	if archive, err := artifact.Poll(t.Context()); err != nil || string(archive) != "second archive" {
		t.Errorf("%q, %v; want the new archive", archive, err)
	}
}

func TestWhatIsNotTaken(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.push(t, "two", ocispec.MediaTypeImageLayerGzip, "one archive", "another")
	s.push(t, "none", "text/plain", "hello")
	s.push(t, "large", ocispec.MediaTypeImageLayerGzip, strings.Repeat("x", 1001))
	s.push(t, "fine", ocispec.MediaTypeImageLayerGzip, "an archive")
	for _, test := range []struct{ tag, token, want string }{
		{"two", secretToken, "2 layers"},
		{"none", secretToken, "0 layers"},
		{"large", secretToken, "an archive of 1001 bytes; want at most 1000"},
		{"absent", secretToken, "not found"},
		{"fine", "another-" + secretToken, "401"},
	} {
		archive, err := s.artifact(t, "security/policies:"+test.tag, test.token).Poll(t.Context())
		if err == nil || !strings.Contains(err.Error(), test.want) || archive != nil {
			t.Errorf("%s: %q, %v; want %q", test.tag, archive, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), secretToken) {
			t.Errorf("%s: the error tells the token: %v", test.tag, err)
		}
	}
	s.mangle.Store(true)
	if archive, err := s.artifact(t, "security/policies:fine", secretToken).Poll(t.Context()); err == nil {
		t.Errorf("%q is taken though it is not what the digest names", archive)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "oci://", "oci://host", "https://host/a:b", "oci://host/UPPER:tag", "oci://host/name", "oci://host/a:b:c"} {
		if _, err := New(Options{Address: address}); err == nil {
			t.Errorf("%q is taken for an artifact", address)
		}
	}
	for _, address := range []string{"oci://registry.example.org/a/b:live", "oci://127.0.0.1:5000/a@sha256:" + strings.Repeat("0", 64)} {
		if _, err := New(Options{Address: address}); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
	if loopback("registry.example.org:80") || !loopback("127.0.0.1:5000") || !loopback("[::1]:5000") || !loopback("localhost") {
		t.Error("loopback is not told from elsewhere")
	}
}
