package evidence

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Key is a public key that the policies trust, and for what.
type Key struct {
	Name     string
	May      []Kind
	Builders []string // of which provenance may tell; empty: of any
	public   crypto.PublicKey
}

// Keys are ordered by name.
type Keys []Key

// maxKeys bounds how many signatures are tried for one statement.
const maxKeys = 32

// ParseKeys reads params.evidence.keys of the policies: by name, a PEM public
// key and of what it may speak.
func ParseKeys(value any) (Keys, error) {
	table, ok := value.(map[string]any)
	if !ok && value != nil {
		return nil, fmt.Errorf("want a mapping of names to keys, not %T", value)
	}
	if len(table) > maxKeys {
		return nil, fmt.Errorf("%d keys; want at most %d", len(table), maxKeys)
	}
	var keys Keys
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(table)) {
		key, err := parseKey(name, table[name])
		if err != nil {
			problems = append(problems, fmt.Errorf("%.60s: %w", name, err))
		}
		keys = append(keys, key)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return keys, nil
}

var kinds = []Kind{KindSignature, KindProvenance, KindScan, KindTest}

func parseKey(name string, value any) (Key, error) {
	key := Key{Name: name}
	fields, ok := value.(map[string]any)
	if !ok {
		return key, errors.New("want {public_key: …, may: […]}")
	}
	for field := range fields {
		if !slices.Contains([]string{"public_key", "may", "builders"}, field) {
			return key, fmt.Errorf("%.40s: no such field; want public_key, may and builders", field)
		}
	}
	var r reader
	of := node{value: value}
	for _, kind := range r.texts(r.field(of, "may")) {
		if !slices.Contains(kinds, Kind(kind)) {
			return key, fmt.Errorf("may: want some of %v, not %.40q", kinds, kind)
		}
		key.May = append(key.May, Kind(kind))
	}
	key.Builders = r.texts(r.field(of, "builders"))
	text, _ := fields["public_key"].(string)
	switch {
	case r.err != nil:
		return key, r.err
	case len(key.May) == 0:
		return key, fmt.Errorf("may: want some of %v; a key that may speak of nothing is none", kinds)
	}
	var err error
	key.public, err = parsePublic(text)
	return key, err
}

var errKeyForm = errors.New("public_key: want a PEM block PUBLIC KEY: ECDSA on P-256, Ed25519, or RSA of 2048 bits or more")

func parsePublic(text string) (crypto.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || strings.TrimSpace(string(rest)) != "" {
		return nil, errKeyForm
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKeyForm, err)
	}
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return key, nil
		}
	case ed25519.PublicKey:
		return key, nil
	case *rsa.PublicKey:
		if key.N.BitLen() >= 2048 {
			return key, nil
		}
	}
	return nil, errKeyForm
}

// verifies reports whether the key has signed a message. RSA has two paddings,
// and cosign and others take one each.
func (k Key) verifies(message, signature []byte) bool {
	sum := sha256.Sum256(message)
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, sum[:], signature)
	case ed25519.PublicKey:
		return ed25519.Verify(public, message, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) == nil ||
			rsa.VerifyPSS(public, crypto.SHA256, sum[:], signature, nil) == nil
	}
	return false
}

// mayTell reports whether the key may speak of such things; the text says why not.
func (k Key) mayTell(s statement) string {
	if !slices.Contains(k.May, s.kind) {
		return fmt.Sprintf("%s has signed it, and may speak of %v only, not of a %s", k.Name, k.May, s.kind)
	}
	if p := s.provenance; s.kind == KindProvenance && len(k.Builders) > 0 && !slices.Contains(k.Builders, p.Builder) {
		return fmt.Sprintf("%s has signed it, and may not speak for the builder %.200q", k.Name, p.Builder)
	}
	return ""
}
