package rego

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"
)

// signer signs as `opa sign` does.
type signer struct {
	private, public []byte
	algorithm       string
}

func newSigner(t testing.TB) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer{
		private: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
		public:  publicPEM(t, &key.PublicKey), algorithm: "ES256",
	}
}

func publicPEM(t testing.TB, key any) []byte {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
}

func (s signer) key(t testing.TB) Key {
	t.Helper()
	key, err := ParseKey(s.public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign adds the file with the signature over all others.
func (s signer) sign(t testing.TB, files textFiles) textFiles {
	t.Helper()
	hasher, err := bundle.NewSignatureHasher(bundle.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var infos []bundle.FileInfo
	for name, content := range files {
		var value any = []byte(content)
		if bundle.IsStructuredDoc(name) {
			if err := util.Unmarshal([]byte(content), &value); err != nil {
				t.Fatal(err)
			}
		}
		hash, err := hasher.HashFile(value)
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, bundle.NewFile(name, hex.EncodeToString(hash), "SHA-256"))
	}
	token, err := bundle.GenerateSignedToken(infos, bundle.NewSigningConfig(string(s.private), s.algorithm, ""), "")
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(bundle.SignaturesConfig{Signatures: []string{token}})
	if err != nil {
		t.Fatal(err)
	}
	out := maps.Clone(files)
	out[".signatures.json"] = string(config)
	return out
}

// Only an archive of which every file is signed by our key is taken. OPA's own
// library, asked to load the same tampered archive as it does by default, does.
func TestSignedArchives(t *testing.T) {
	t.Parallel()
	ours, other := newSigner(t), newSigner(t)
	files := oneRule("")
	files["params/data.yaml"] = "a: 1\n"
	signed := ours.sign(t, files)
	with := func(files textFiles, name, content string) textFiles {
		out := maps.Clone(files)
		if out[name] = content; content == "" {
			delete(out, name)
		}
		return out
	}
	plugin := strings.Replace(other.sign(t, files)[".signatures.json"], "{", `{"plugin": "none",`, 1)
	for _, test := range []struct {
		name  string
		files textFiles
		want  string // "" is taken
	}{
		{"as it was signed", signed, ""},
		{"with a text that is no policy", with(signed, "notes.txt", "hello"), ""},
		{"unsigned", files, "not signed: .signatures.json is missing"},
		{"signed by another", other.sign(t, files), "verify signature"},
		{"signed by another, with another verifier", with(files, ".signatures.json", plugin), "verify signature"},
		{"a rule changed", with(signed, "test/one/rule.rego", files["test/one/rule.rego"]+"\n"), "digest mismatch"},
		{"data changed", with(signed, "params/data.yaml", "a: 2\n"), "digest mismatch"},
		{"a rule missing", with(signed, "test/one/rule.rego", ""), "test/one/rule.rego is signed and not there"},
		{"an exception more", with(signed, "exceptions/a.yaml", testException), "exceptions/a.yaml not included in bundle signature"},
		{"an empty signature", with(files, ".signatures.json", "{}"), "missing JWT"},
		{"a broken signature", with(files, ".signatures.json", "{"), ".signatures.json: "},
	} {
		store := NewStore(t.TempDir(), Limits{})
		archive := archiveOf(t, test.files, "")
		_, err := store.OfferSigned(t.Context(), archive, ours.key(t), "the archive")
		if loaded, once := LoadSigned(t.Context(), archive, ours.key(t), "the archive", Limits{}); (once == nil) != (err == nil) || (loaded == nil) != (err != nil) {
			t.Errorf("%s: taken once %v, followed %v", test.name, once, err)
		}
		switch {
		case test.want == "" && (err != nil || store.Current() == nil):
			t.Errorf("%s: %v; want it taken", test.name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || store.Current() != nil):
			t.Errorf("%s: %v; want it refused with %q", test.name, err, test.want)
		}
	}
	tampered := archiveOf(t, with(files, "params/data.yaml", "a: 2\n"), "")
	if _, err := bundle.NewReader(strings.NewReader(string(tampered))).Read(); err != nil {
		t.Errorf("OPA's default refuses an unsigned archive: %v; then this guard is for nothing", err)
	}
}

var errFetch = errors.New("the server is away")

// What is refused leaves the one before in force.
func TestBadlySignedArchiveLeavesTheOldOneInForce(t *testing.T) {
	t.Parallel()
	ours := newSigner(t)
	store := NewStore(t.TempDir(), Limits{})
	changed, err := store.OfferSigned(t.Context(), archiveOf(t, ours.sign(t, oneRule("")), ""), ours.key(t), "the archive")
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	before := store.Current()
	next := oneRule(`deny contains "odd" if input.object.metadata.name == "odd"`)
	for range 2 {
		if _, err := store.OfferSigned(t.Context(), archiveOf(t, next, ""), ours.key(t), "the archive"); err == nil || store.Current() != before {
			t.Errorf("%v; want it refused and the old one in force", err)
		}
	}
	if store.Status().Err == nil || !store.Unavailable("there", errFetch) {
		t.Error("the status does not tell")
	}
	if changed, err := store.OfferSigned(t.Context(), archiveOf(t, ours.sign(t, next), ""), ours.key(t), "the archive"); err != nil || !changed || store.Current() == before {
		t.Errorf("%v %v; want the next one in force", changed, err)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ours := newSigner(t)
	for name, test := range map[string]struct {
		content []byte
		fine    bool
	}{
		"ECDSA": {ours.public, true}, "RSA": {publicPEM(t, &rsaKey.PublicKey), true},
		"a private key": {ours.private, false}, "two keys": {append(ours.public, ours.public...), false},
		"nothing": {nil, false}, "no PEM": {[]byte("secret"), false},
	} {
		if _, err := ParseKey(test.content); (err == nil) != test.fine {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := readSigned(archiveOf(t, ours.sign(t, oneRule("")), ""), Key{}, DefaultLimits()); err == nil {
		t.Error("an archive is taken without a key")
	}
}

// Whatever an archive holds, reading it ends with files or an error, and it is
// never taken without the signature.
func FuzzArchive(f *testing.F) {
	ours := newSigner(f)
	f.Add(archiveOf(f, ours.sign(f, oneRule("")), ""))
	f.Add(archiveOf(f, oneRule(""), "/"))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		limits := Limits{Bytes: 1 << 20, FileBytes: 1 << 16, Files: 100}.withDefaults()
		if files, err := readFiles(fstest.MapFS{"p.tar.gz": {Data: archive}}, limits); err != nil && files != nil {
			t.Errorf("files and an error: %v", err)
		}
		_, _ = readSigned(archive, ours.key(t), limits)
	})
}
