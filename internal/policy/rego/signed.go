package rego

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/bundle"
)

// signatures is the file in which OPA keeps a bundle's signature.
const signatures = ".signatures.json"

// Key verifies who signed an archive of policies.
type Key struct{ config *bundle.VerificationConfig }

// keyID is what OPA calls the only key there is, whatever a signature says of its
// own: which key counts is not for the archive to tell.
const keyID = "policies"

// ParseKey reads a public key, RSA or ECDSA, in PEM.
func ParseKey(content []byte) (Key, error) {
	block, rest := pem.Decode(content)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return Key{}, errors.New("want one public key in PEM")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("want a public key: %w", err)
	}
	algorithm := ""
	switch public := public.(type) {
	case *rsa.PublicKey:
		algorithm = "RS256"
	case *ecdsa.PublicKey:
		algorithm = map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[public.Curve.Params().BitSize]
	}
	if algorithm == "" {
		return Key{}, fmt.Errorf("want a key of RSA or ECDSA, not %T", public)
	}
	config := &bundle.KeyConfig{Key: string(pem.EncodeToMemory(block)), Algorithm: algorithm}
	return Key{bundle.NewVerificationConfig(map[string]*bundle.KeyConfig{keyID: config}, keyID, "", nil)}, nil
}

// LoadSigned reads a bundle from an archive that the key has signed.
func LoadSigned(ctx context.Context, archive []byte, key Key, from string, limits Limits) (*Bundle, error) {
	limits = limits.withDefaults()
	files, err := readSigned(archive, key, limits)
	if err != nil {
		return nil, fmt.Errorf("read policies from %s: %w", from, err)
	}
	b, err := load(ctx, files, limits)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return b, nil
}

// readSigned reads an archive of which every file is signed, and every signed
// file of a policy is there: one that is missing would allow what it denies.
func readSigned(archive []byte, key Key, limits Limits) (fileSet, error) {
	if key.config == nil {
		return nil, errors.New("no key to verify the archive by; an archive is only taken with a signature")
	}
	if int64(len(archive)) > limits.Bytes {
		return nil, fmt.Errorf("more than %d bytes", limits.Bytes)
	}
	c := &collector{limits: limits}
	var signed []byte
	err := unpack(archive, limits, func(header *tar.Header, stream io.Reader) error {
		if strings.Trim(header.Name, "./") != strings.Trim(signatures, ".") {
			header.Name = strings.TrimPrefix(header.Name, "/") // as `opa build` writes them
			return c.addPacked(header, stream)
		}
		if signed != nil {
			return fmt.Errorf("%s: there twice", signatures)
		}
		content, err := readBounded(func() (io.ReadCloser, error) { return io.NopCloser(stream), nil }, limits.FileBytes)
		signed = content
		return err
	})
	if err != nil {
		return nil, err
	}
	files, err := c.finish()
	if err != nil {
		return nil, err
	}
	return files, verifySignature(files, signed, key)
}

func verifySignature(files fileSet, signed []byte, key Key) error {
	if signed == nil {
		return fmt.Errorf("not signed: %s is missing; `opa sign` makes it", signatures)
	}
	var config bundle.SignaturesConfig
	if err := json.Unmarshal(signed, &config); err != nil {
		return fmt.Errorf("%s: %w", signatures, err)
	}
	config.Plugin = "" // which verifier is asked is not for the archive to tell
	named, err := bundle.VerifyBundleSignature(config, key.config)
	if err != nil {
		return fmt.Errorf("verify signature: %w", err)
	}
	left := map[string]bundle.FileInfo{}
	for name, info := range named {
		info.Name = strings.TrimPrefix(strings.TrimPrefix(name, "."), "/")
		left[info.Name] = info
	}
	for _, f := range files {
		if err := bundle.VerifyBundleFile(f.name, *bytes.NewBuffer(f.content), left); err != nil {
			return fmt.Errorf("verify signature: %w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		if kind, err := kindOf(name); (err != nil || kind != notPolicy) && !hidden(name) {
			return fmt.Errorf("verify signature: %s is signed and not there", name)
		}
	}
	return nil
}
