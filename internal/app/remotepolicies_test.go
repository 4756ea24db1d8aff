package app

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"chaperone.dev/chaperone/internal/config"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

const forbidsAWord = `# METADATA
# title: No word
# description: A word is what this test forbids.
# scope: package
# custom:
#   id: config/no-word
#   severity: critical
#   data: [synthetic]
#   kinds: [ConfigMap]
#   controls: {pss: [restricted]}
#   remediation: Leave it out.
package config.no_word

deny contains {"msg": "there is a word", "path": "data.word"} if input.object.data.word
`

// onePolicy is a bundle of one rule with this text.
func onePolicy(dir, rule string) map[string]string {
	const object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {"
	return map[string]string{
		dir + "config/no-word/rule.rego":              rule,
		dir + "config/no-word/testdata/fail/one.yaml": object + "word: text}\n",
		dir + "config/no-word/testdata/pass/one.yaml": object + "other: text}\n",
	}
}

var (
	brokenRule  = strings.Replace(forbidsAWord, "deny contains", "deny contians", 1)
	anotherRule = strings.Replace(forbidsAWord, "there is", "here is", 1)
)

// following is a source of policies that a test looks at by hand.
type following struct {
	testing.TB
	*remotePolicies
}

func followPolicies(t *testing.T, p config.Policies) following {
	t.Helper()
	c := config.Config{Policies: p}
	c.Source.CacheDir, c.Source.Timeout = t.TempDir(), 10*time.Second
	a := New(c, Build{}, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = a.takeDown() })
	remote, err := a.openPolicies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return following{t, remote}
}

// expect looks once. fault is part of why what is there is not in force.
func (f following) expect(what string, fault string, inForce bool) *rego.Bundle {
	f.Helper()
	_, _ = f.look(f.Context())
	status := f.store.Status()
	if (status.Err == nil) != (fault == "") || status.Err != nil && !strings.Contains(status.Err.Error(), fault) {
		f.Errorf("%s: %v; want %q", what, status.Err, fault)
	}
	if (f.store.Current() != nil) != inForce {
		f.Errorf("%s: policies in force: %v, want %v", what, f.store.Current() != nil, inForce)
	}
	return f.store.Current()
}

// Policies of a repository of their own are taken with its token; those that are
// refused, and a server that is away, leave the ones before in force.
func TestPoliciesOfAnotherRepository(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.Commit(t, gitserver.Commit{Branch: "live", Files: onePolicy("rules/", forbidsAWord)})
	server := gitserver.ServeHTTP(t, repo, "canary-77aa")
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, []byte("another\n"))
	f := followPolicies(t, config.Policies{URL: server.URL, Branch: "live", Path: "rules", TokenFile: token, Username: "git", PollInterval: time.Second})
	f.expect("another token", "read policies from "+server.URL, false)
	write(t, token, []byte("canary-77aa\n"))
	first := f.expect("the first", "", true)
	repo.Commit(t, gitserver.Commit{Branch: "live", Files: onePolicy("rules/", brokenRule)})
	if f.expect("broken ones", "rules/config/no-word/rule.rego"[len("rules/"):]+":", true) != first {
		t.Error("broken policies took the place of the ones before")
	}
	server.Down()
	if f.expect("nobody there", "read policies from ", true) != first {
		t.Error("a server that is away took the policies with it")
	}
	server.Up(t)
	repo.Commit(t, gitserver.Commit{Branch: "live", Files: onePolicy("rules/", anotherRule)})
	if second := f.expect("mended ones", "", true); second == first {
		t.Error("mended policies are not taken")
	}
	repo.Commit(t, gitserver.Commit{Branch: "live", Files: map[string]string{"README.md": "hello"}})
	f.expect("a commit beside them", "", true)
	repo.Commit(t, gitserver.Commit{Branch: "live", Files: map[string]string{"a": "b"}, Fresh: true})
	f.expect("no policies any more", "read policies from", true)
}

func write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// signing makes archives as `opa sign` and tar do.
type signing struct{ private, public []byte }

func newSigning(t testing.TB) signing {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return signing{pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})}
}

func (s signing) archive(t testing.TB, files map[string]string) []byte {
	t.Helper()
	hasher, err := bundle.NewSignatureHasher(bundle.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var infos []bundle.FileInfo
	for name, content := range files {
		hash, err := hasher.HashFile([]byte(content))
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, bundle.NewFile(name, hex.EncodeToString(hash), "SHA-256"))
	}
	token, err := bundle.GenerateSignedToken(infos, bundle.NewSigningConfig(string(s.private), "ES256", ""), "")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := json.Marshal(bundle.SignaturesConfig{Signatures: []string{token}})
	if err != nil {
		t.Fatal(err)
	}
	files[".signatures.json"] = string(signed)
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	writer := tar.NewWriter(zipped)
	for name, content := range files {
		header := &tar.Header{Name: "./" + name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if err := writer.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(writer, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func TestPoliciesOfAnArchive(t *testing.T) {
	t.Parallel()
	ours, others := newSigning(t), newSigning(t)
	dir := t.TempDir()
	archive, key := filepath.Join(dir, "policies.tar.gz"), filepath.Join(dir, "key.pem")
	f := followPolicies(t, config.Policies{Archive: archive, KeyFile: key, PollInterval: time.Second})
	f.expect("no key", "read key", false)
	write(t, key, ours.public)
	f.expect("no archive", "policies.tar.gz", false)
	write(t, archive, others.archive(t, onePolicy("", forbidsAWord)))
	f.expect("signed by another", "verify signature", false)
	write(t, archive, ours.archive(t, onePolicy("", forbidsAWord)))
	first := f.expect("signed", "", true)
	write(t, archive, ours.archive(t, onePolicy("", brokenRule)))
	if f.expect("signed and broken", "config/no-word/rule.rego:", true) != first {
		t.Error("broken policies took the place of the ones before")
	}
	write(t, key, others.public)
	write(t, archive, ours.archive(t, onePolicy("", anotherRule)))
	if f.expect("the key was exchanged", "verify signature", true) != first {
		t.Error("an archive is taken though its key is none any more")
	}
}

// The same from a registry, over its real protocol.
func TestPoliciesOfARegistry(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	ours := newSigning(t)
	key := filepath.Join(t.TempDir(), "key.pem")
	write(t, key, ours.public)
	f := followPolicies(t, config.Policies{Archive: "oci://" + host + "/security/policies:live", KeyFile: key, PollInterval: time.Second})
	f.expect("nothing there", "not found", false)
	push(t, host, ours.archive(t, onePolicy("", forbidsAWord)))
	first := f.expect("signed", "", true)
	if f.expect("nothing new", "", true) != first {
		t.Error("the same archive is taken again")
	}
	push(t, host, newSigning(t).archive(t, onePolicy("", anotherRule)))
	if f.expect("signed by another", "verify signature", true) != first {
		t.Error("an archive that another signed is taken")
	}
	push(t, host, ours.archive(t, onePolicy("", anotherRule)))
	if f.expect("signed again", "", true) == first {
		t.Error("the new archive is not taken")
	}
}

// push puts an archive where `oras push` would.
func push(t *testing.T, host string, archive []byte) {
	t.Helper()
	repository, err := remote.NewRepository(host + "/security/policies")
	if err != nil {
		t.Fatal(err)
	}
	repository.PlainHTTP = true
	put := func(mediaType string, content []byte, tag string) ocispec.Descriptor {
		described := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
		if tag == "" {
			err = repository.Push(context.Background(), described, bytes.NewReader(content))
		} else {
			err = repository.PushReference(context.Background(), described, bytes.NewReader(content), tag)
		}
		if err != nil {
			t.Fatal(err)
		}
		return described
	}
	manifest := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: put(ocispec.MediaTypeImageConfig, []byte("{}"), ""),
		Layers: []ocispec.Descriptor{put(ocispec.MediaTypeImageLayerGzip, archive, "")}}
	manifest.SchemaVersion = 2
	encoded, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	put(ocispec.MediaTypeImageManifest, encoded, "live")
}

// Looking that fails is done less and less often, and never given up.
func TestLooksThatFail(t *testing.T) {
	t.Parallel()
	for failures, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, maxPolicyPoll, maxPolicyPoll} {
		if got := nextLook(time.Minute, failures); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
	if got := nextLook(time.Hour, 0); got != time.Hour {
		t.Errorf("an interval of an hour is %s", got)
	}
}
