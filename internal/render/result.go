package render

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/source"
)

// Result is one render. It is shared with later callers and not to be changed.
// An empty Set is no error here: whoever applies or prunes refuses it.
type Result struct {
	Set     manifest.Set
	Digest  manifest.Digest
	Closure source.Closure

	packed *packed
	pieces bool // built in batches
}

// YAML is exactly what `kustomize build` prints.
func (r Result) YAML() ([]byte, error) {
	var out []byte
	err := r.packed.each(func(line []byte) error {
		text, err := yaml.JSONToYAML(line)
		if out != nil {
			out = append(out, separatorLine...)
		}
		out = append(out, text...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("print render %s: %w", r.Digest.Short(), err)
	}
	return out, nil
}

const separatorLine = "---\n"

// packed are rendered objects in kustomize's order: a line of JSON each,
// deflated. Decoded they take some thirty times the memory.
type packed struct {
	deflated []byte
	size     int // inflated
}

// pack keeps lines of JSON, which hold no line feed.
func pack(lines [][]byte) (*packed, error) {
	p := &packed{}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		if _, err := w.Write(line); err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte{'\n'}); err != nil {
			return nil, err
		}
		p.size += len(line) + 1
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	p.deflated = bytes.Clone(out.Bytes())
	return p, nil
}

// each visits the lines in order.
func (p *packed) each(visit func(line []byte) error) error {
	if p == nil {
		return nil
	}
	text := make([]byte, p.size)
	if _, err := io.ReadFull(flate.NewReader(bytes.NewReader(p.deflated)), text); err != nil {
		return fmt.Errorf("inflate: %w", err)
	}
	for line := range bytes.Lines(text) {
		if err := visit(line[:len(line)-1]); err != nil {
			return err
		}
	}
	return nil
}

func (p *packed) set() (manifest.Set, error) {
	var objects []*manifest.Object
	err := p.each(func(line []byte) error {
		object := &manifest.Object{}
		objects = append(objects, object)
		return object.UnmarshalJSON(line)
	})
	if err != nil {
		return manifest.Set{}, fmt.Errorf("decode cached render: %w", err)
	}
	return manifest.NewSet(objects)
}
