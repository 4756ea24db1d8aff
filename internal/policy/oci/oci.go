// Package oci fetches an archive of policies from an OCI registry, as
// `oras push` and OPA's tools put it there. It guarantees that what it hands out
// is, byte for byte, what the tag's digest names, that nothing larger than its
// limit is read, that credentials go to that registry alone and over TLS
// (loopback apart), and that a look without change costs one request.
package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// Scheme is what addresses in a registry begin with.
const Scheme = "oci://"

// Options say what to follow and how.
type Options struct {
	Address   string // oci://host/name:tag or oci://host/name@sha256:…
	Username  string // beside the token
	TokenFile string // read anew each time; "" is nobody
	MaxBytes  int64
	Timeout   time.Duration // for one look
}

// maxManifest bounds a manifest; it lists one layer.
const maxManifest = 1 << 20

// Artifact follows one tag. It is not safe for concurrent use.
type Artifact struct {
	options   Options
	reference registry.Reference
	digest    string // of the manifest that Poll handed out last
}

// New reads the address and talks to nobody.
func New(o Options) (*Artifact, error) {
	rest, found := strings.CutPrefix(o.Address, Scheme)
	reference, err := registry.ParseReference(rest)
	if !found || err != nil || reference.Reference == "" {
		return nil, fmt.Errorf("%.120q is no artifact; want %shost/name:tag", o.Address, Scheme)
	}
	return &Artifact{options: o, reference: reference}, nil
}

// Poll hands out the archive, or nil when it is the one that it handed out last.
func (a *Artifact) Poll(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, a.options.Timeout)
	defer cancel()
	repository, err := a.connect()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.options.Address, err)
	}
	archive, err := a.pull(ctx, repository)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", a.options.Address, err)
	}
	return archive, nil
}

func (a *Artifact) connect() (*remote.Repository, error) {
	repository := &remote.Repository{Reference: a.reference, PlainHTTP: loopback(a.reference.Registry), MaxMetadataBytes: maxManifest}
	client := &auth.Client{Client: http.DefaultClient, Cache: auth.NewCache()}
	if a.options.TokenFile != "" {
		token, err := os.ReadFile(a.options.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("read token: %w", err)
		}
		client.Credential = auth.StaticCredential(a.reference.Registry,
			auth.Credential{Username: a.options.Username, Password: strings.TrimSpace(string(token))})
	}
	repository.Client = client
	return repository, nil
}

// loopback is where TLS protects nothing.
func loopback(registry string) bool {
	host, _, err := net.SplitHostPort(registry)
	if err != nil {
		host = registry
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (a *Artifact) pull(ctx context.Context, repository *remote.Repository) ([]byte, error) {
	found, err := repository.Resolve(ctx, a.reference.Reference)
	if err != nil {
		return nil, err
	}
	if found.Digest.String() == a.digest {
		return nil, nil
	}
	if found.Size > maxManifest {
		return nil, fmt.Errorf("a manifest of %d bytes; want at most %d", found.Size, maxManifest)
	}
	encoded, err := content.FetchAll(ctx, repository, found)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	layer, err := layerOf(encoded)
	if err != nil {
		return nil, err
	}
	if layer.Size > a.options.MaxBytes {
		return nil, fmt.Errorf("an archive of %d bytes; want at most %d", layer.Size, a.options.MaxBytes)
	}
	archive, err := content.FetchAll(ctx, repository, layer)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	a.digest = found.Digest.String()
	return archive, nil
}

// layerOf finds the one layer that is an archive.
func layerOf(encoded []byte) (ocispec.Descriptor, error) {
	var manifest ocispec.Manifest
	if err := json.Unmarshal(encoded, &manifest); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("manifest: %w", err)
	}
	var archives []ocispec.Descriptor
	for _, layer := range manifest.Layers {
		if strings.HasSuffix(layer.MediaType, "tar+gzip") {
			archives = append(archives, layer)
		}
	}
	if len(archives) != 1 {
		return ocispec.Descriptor{}, fmt.Errorf("%d layers of type %s; want one, the archive of policies", len(archives), ocispec.MediaTypeImageLayerGzip)
	}
	if archives[0].Size < 0 {
		return ocispec.Descriptor{}, errors.New("manifest: a layer of negative size")
	}
	return archives[0], nil
}
