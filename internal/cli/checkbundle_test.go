package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/open-policy-agent/opa/v1/bundle"
)

// What is signed for the daemon can be tried with its archive as it is.
func TestCheckByASignedArchive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	archive, public := signedPolicies(t, "testdata/repo/policies")
	packed, key := in("policies.tar.gz", archive), in("key.pem", public)
	_, other := signedPolicies(t, "testdata/repo/policies")
	manifest := in("latest.yaml", []byte("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {containers: [{name: a, image: \"x:latest\"}]}}}\n"))
	check := []string{"check", "--policies", packed, "-f", manifest, "--data", "phi", "--policies-key-file"}
	if code, out, complaints := run(t, Streams{}, append(check, key)...); code != exitNo || !bytes.Contains([]byte(out), []byte("image/no-latest")) {
		t.Errorf("exit code %d: %s%s", code, out, complaints)
	}
	if code, out, complaints := run(t, Streams{}, append(check, in("other.pem", other))...); code != exitUsage || !bytes.Contains([]byte(complaints), []byte("verify signature")) {
		t.Errorf("by another key: exit code %d: %s%s", code, out, complaints)
	}
}

// signedPolicies are a directory of policies as `opa sign` and tar pack it, and
// the key to verify it by.
func signedPolicies(t *testing.T, dir string) (archive, public []byte) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	private, err := x509.MarshalECPrivateKey(pair)
	must(err)
	encoded, err := x509.MarshalPKIXPublicKey(&pair.PublicKey)
	must(err)
	hasher, err := bundle.NewSignatureHasher(bundle.SHA256)
	must(err)
	files := map[string][]byte{}
	var infos []bundle.FileInfo
	must(filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		files[name], err = os.ReadFile(path)
		must(err)
		var value any = files[name]
		if bundle.IsStructuredDoc(name) {
			must(json.Unmarshal(files[name], &value))
		}
		hash, err := hasher.HashFile(value)
		infos = append(infos, bundle.NewFile(name, hex.EncodeToString(hash), "SHA-256"))
		return err
	}))
	key := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))
	token, err := bundle.GenerateSignedToken(infos, bundle.NewSigningConfig(key, "ES256", ""), "")
	must(err)
	files[".signatures.json"], err = json.Marshal(bundle.SignaturesConfig{Signatures: []string{token}})
	must(err)
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	writer := tar.NewWriter(zipped)
	for name, content := range files {
		must(writer.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}))
		_, err := writer.Write(content)
		must(err)
	}
	must(writer.Close())
	must(zipped.Close())
	return packed.Bytes(), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: encoded})
}
