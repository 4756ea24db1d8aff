package rego

import (
	"context"
	"fmt"
	"sync"

	"chaperone.dev/chaperone/internal/evidence"
	"chaperone.dev/chaperone/internal/policy"
)

// recorded is what files say of images, by the keys of the bundle. A file is
// read once: what it says depends on its content and on the keys, and neither
// changes while the bundle is in force.
type recorded struct {
	keys  evidence.Keys
	mu    sync.Mutex
	known map[string]evidence.Statements // by the hash of a file
}

// maxRecorded bounds how many files are remembered: of all pipelines.
const maxRecorded = 8192

// evidenceKeys takes data.params.evidence.keys; without them no statement counts.
func evidenceKeys(data map[string]any) (*recorded, error) {
	value, _ := lookup(data, []string{"params", "evidence", "keys"})
	keys, err := evidence.ParseKeys(value)
	if err != nil {
		return nil, fmt.Errorf("data.params.evidence.keys: %w", err)
	}
	return &recorded{keys: keys, known: map[string]evidence.Statements{}}, nil
}

// withEvidence fills in what is recorded of the images of a release, unless the
// caller has. Nothing is read where no rule looks, or no key could have signed.
// A file that cannot be read is an error, and no verdict: it may hold what
// denies.
func (b *Bundle) withEvidence(ctx context.Context, in policy.Input) (policy.Input, error) {
	if in.Evidence != nil || !b.sees.has("evidence") {
		return in, nil
	}
	if in.Images == nil {
		in.Images = policy.Images(in.Objects, b.templates)
	}
	var digests []string
	for _, image := range in.Images {
		if image.Digest != "" {
			digests = append(digests, image.Digest)
		}
	}
	folder := in.Recorded
	if len(b.recorded.keys) == 0 || len(digests) == 0 {
		folder = evidence.Folder{}
	}
	statements := make([]evidence.Statements, 0, len(folder.Files))
	for _, file := range folder.Files {
		if err := ctx.Err(); err != nil {
			return in, fmt.Errorf("read evidence: %w", err)
		}
		said, err := b.recorded.read(folder, file)
		if err != nil {
			return in, err
		}
		statements = append(statements, said)
	}
	facts := evidence.Of(digests, folder, statements)
	in.Evidence = &facts
	return in, nil
}

func (r *recorded) read(folder evidence.Folder, file evidence.File) (evidence.Statements, error) {
	r.mu.Lock()
	said, known := r.known[file.Hash]
	r.mu.Unlock()
	if known {
		return said, nil
	}
	content, err := folder.Read(file)
	if err != nil {
		return said, err
	}
	said = evidence.Verify(content, r.keys)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= maxRecorded {
		clear(r.known)
	}
	r.known[file.Hash] = said
	return said, nil
}
