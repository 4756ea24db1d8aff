// Package attest signs statements about images for tests, with keys that are
// made for one test and kept nowhere. The envelopes are made by the library of
// those who wrote DSSE down, and not by the code under test.
package attest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// Types of predicates.
const (
	Provenance = "https://slsa.dev/provenance/v1"
	Scan       = "https://cosign.sigstore.dev/attestation/vuln/v1"
	Test       = "https://in-toto.io/attestation/test-result/v0.1"
)

// Signer is a key pair. It implements dsse.Signer.
type Signer struct {
	t       testing.TB
	private crypto.Signer
	options crypto.SignerOpts
	Public  string // PEM
}

// ECDSA is a new key on P-256, as cosign makes them.
func ECDSA(t testing.TB) *Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return newSigner(t, key, crypto.SHA256, err)
}

// Ed25519 is a new key.
func Ed25519(t testing.TB) *Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return newSigner(t, key, crypto.Hash(0), err)
}

// RSA is a new key of 2048 bits; pss is the other padding.
func RSA(t testing.TB, pss bool) *Signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if pss {
		return newSigner(t, key, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}, err)
	}
	return newSigner(t, key, crypto.SHA256, err)
}

func newSigner(t testing.TB, key crypto.Signer, options crypto.SignerOpts, err error) *Signer {
	t.Helper()
	s := &Signer{t: t, private: key, options: options}
	s.check(err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	s.check(err)
	s.Public = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return s
}

func (s *Signer) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// Sign implements dsse.Signer.
func (s *Signer) Sign(_ context.Context, message []byte) ([]byte, error) {
	if s.options.HashFunc() == crypto.SHA256 {
		sum := sha256.Sum256(message)
		message = sum[:]
	}
	return s.private.Sign(rand.Reader, message, s.options)
}

// KeyID implements dsse.Signer. It is a hint, and here a wrong one.
func (s *Signer) KeyID() (string, error) { return "of-another-key", nil }

// Key is an entry of params.evidence.keys.
func (s *Signer) Key(may ...any) map[string]any {
	return map[string]any{"public_key": s.Public, "may": may}
}

// Statement is an envelope with an in-toto statement about digests.
func (s *Signer) Statement(predicateType string, predicate any, digests ...string) []byte {
	s.t.Helper()
	subjects := []any{}
	for _, digest := range digests {
		subjects = append(subjects, map[string]any{"name": "image", "digest": map[string]any{"sha256": strings.TrimPrefix(digest, "sha256:")}})
	}
	payload, err := json.Marshal(map[string]any{
		"_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicateType": predicateType, "predicate": predicate,
	})
	s.check(err)
	return s.Envelope(payload)
}

// Envelope signs any payload as a statement.
func (s *Signer) Envelope(payload []byte) []byte {
	s.t.Helper()
	signer, err := dsse.NewEnvelopeSigner(s)
	s.check(err)
	envelope, err := signer.SignPayload(s.t.Context(), "application/vnd.in-toto+json", payload)
	s.check(err)
	encoded, err := json.Marshal(envelope)
	s.check(err)
	return encoded
}

// Image is a plain signature of an image, as `cosign download signature` prints it.
func (s *Signer) Image(digest string) []byte {
	s.t.Helper()
	payload, err := json.Marshal(map[string]any{"optional": nil, "critical": map[string]any{
		"identity": map[string]any{"docker-reference": "registry.example.org/image"},
		"image":    map[string]any{"docker-manifest-digest": digest}, "type": "cosign container image signature",
	}})
	s.check(err)
	signature, err := s.Sign(s.t.Context(), payload)
	s.check(err)
	encoded, err := json.Marshal(map[string]any{"Base64Signature": base64.StdEncoding.EncodeToString(signature),
		"Payload": base64.StdEncoding.EncodeToString(payload), "Cert": nil, "Chain": nil, "Bundle": nil})
	s.check(err)
	return encoded
}

// Scanned is the predicate of a scan in Trivy's words that ended at a time.
// Vulnerabilities are pairs of name and severity.
func Scanned(finished time.Time, vulnerabilities ...string) any {
	found := []any{}
	for i := 0; i+1 < len(vulnerabilities); i += 2 {
		found = append(found, map[string]any{"VulnerabilityID": vulnerabilities[i], "PkgName": "openssl", "Severity": vulnerabilities[i+1]})
	}
	return map[string]any{
		"scanner": map[string]any{"uri": "pkg:github/aquasecurity/trivy@0.60.0", "version": "0.60.0", "result": map[string]any{
			"SchemaVersion": 2, "Results": []any{map[string]any{"Target": "os", "Vulnerabilities": found}},
		}},
		"metadata": map[string]any{"scanFinishedOn": finished.UTC().Format(time.RFC3339)},
	}
}

// Built is the predicate of a build.
func Built(builder string) any {
	return map[string]any{
		"buildDefinition": map[string]any{"resolvedDependencies": []any{
			map[string]any{"uri": "git+https://git.example.org/app@refs/heads/main", "digest": map[string]any{"gitCommit": strings.Repeat("a", 40)}},
		}},
		"runDetails": map[string]any{"builder": map[string]any{"id": builder}, "metadata": map[string]any{"finishedOn": "2026-04-05T06:07:08Z"}},
	}
}

// Tested is the predicate of a run of tests.
func Tested(result string, failed ...string) any {
	return map[string]any{"result": result, "configuration": []any{}, "url": "https://ci.example.org/runs/7", "failedTests": failed}
}
