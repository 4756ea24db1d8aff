package crds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// module is where a project keeps its definitions: a pattern of file names, with group and plural.
type module struct{ path, version, files string }

// The modules are not linked, nor in go.mod: they would bring hundreds of others for a few files
// of YAML. The go command fetches them once, checked against the checksum database.
var modules = map[string]module{
	"gateway.networking.k8s.io": {"sigs.k8s.io/gateway-api", "v1.6.3", "config/crd/standard/%s_%s.yaml"},
	"external-secrets.io":       {"github.com/external-secrets/external-secrets", "v1.3.2", "config/crds/bases/%s_%s.yaml"},
	"velero.io":                 {"github.com/vmware-tanzu/velero", "v1.18.3", "config/crd/v1/bases/%s_%s.yaml"},
	"monitoring.coreos.com":     {"github.com/prometheus-operator/prometheus-operator", "v0.94.1", "example/prometheus-operator-crd/%s_%s.yaml"},
	"cert-manager.io":           {"github.com/cert-manager/cert-manager", "v1.19.1", "deploy/crds/%s_%s.yaml"},
}

const (
	fetchTimeout = 2 * time.Minute // only ever spent on the first run of a machine
	maxFile      = 2 << 20
)

// fetch finds the modules' directories in the module cache, filling it where needed. What cannot
// be had is missing from the result; the error says why.
func fetch(ctx context.Context) (dirs map[string]string, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	args := []string{"mod", "download", "-json"}
	for _, m := range modules {
		args = append(args, m.path+"@"+m.version)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = os.TempDir() // outside of any module
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	cmd.WaitDelay = time.Second
	out, runErr := cmd.StdoutPipe()
	if runErr != nil {
		return nil, fmt.Errorf("go mod download: %w", runErr)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("go mod download: %w", err)
	}
	dirs, err = readDownloads(out)
	if waitErr := cmd.Wait(); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("go mod download: %w", waitErr))
	}
	return dirs, err
}

func readDownloads(out io.Reader) (map[string]string, error) {
	dirs := map[string]string{}
	var errs []error
	for dec := json.NewDecoder(out); ; {
		var d struct{ Path, Version, Dir, Error string }
		if err := dec.Decode(&d); errors.Is(err, io.EOF) {
			return dirs, errors.Join(errs...)
		} else if err != nil {
			return dirs, errors.Join(append(errs, fmt.Errorf("go mod download: %w", err))...)
		}
		if d.Dir != "" {
			dirs[d.Path] = d.Dir
		} else {
			errs = append(errs, fmt.Errorf("module %s %s: %s", d.Path, d.Version, d.Error))
		}
	}
}

// read takes the definition from its module, or is the open one where that is what is wanted.
func (d Definition) read(dirs map[string]string) (*apiextensions.CustomResourceDefinition, error) {
	if d.Open {
		return d.open(), nil
	}
	m := modules[d.Group]
	dir, ok := dirs[m.path]
	if !ok {
		return nil, fmt.Errorf("module %s is not there", m.path)
	}
	file := filepath.Join(dir, filepath.FromSlash(fmt.Sprintf(m.files, d.Group, d.Plural)))
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("read definition: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("read definition: %s has %d bytes, at most %d are read", file, info.Size(), maxFile)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read definition: %w", err)
	}
	var crd apiextensions.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		return nil, fmt.Errorf("read definition %s: %w", file, err)
	}
	if err := d.check(&crd); err != nil {
		return nil, fmt.Errorf("read definition %s: %w", file, err)
	}
	for i := range crd.Spec.Versions {
		if schema := crd.Spec.Versions[i].Schema; schema != nil {
			withoutDescriptions(schema.OpenAPIV3Schema)
		}
	}
	return &crd, nil
}

// withoutDescriptions drops what only people read. The API server keeps every schema many times
// over: without the prose it starts faster and in less memory.
func withoutDescriptions(p *apiextensions.JSONSchemaProps) {
	if p == nil {
		return
	}
	p.Description, p.ExternalDocs = "", nil
	each := func(props map[string]apiextensions.JSONSchemaProps) {
		for name, prop := range props {
			withoutDescriptions(&prop)
			props[name] = prop
		}
	}
	each(p.Properties)
	each(p.PatternProperties)
	each(p.Definitions)
	for _, list := range [][]apiextensions.JSONSchemaProps{p.AllOf, p.AnyOf, p.OneOf} {
		for i := range list {
			withoutDescriptions(&list[i])
		}
	}
	withoutDescriptions(p.Not)
	if p.Items != nil {
		withoutDescriptions(p.Items.Schema)
	}
	if p.AdditionalProperties != nil {
		withoutDescriptions(p.AdditionalProperties.Schema)
	}
}

// check compares what was read with what is promised.
func (d Definition) check(crd *apiextensions.CustomResourceDefinition) error {
	cluster := crd.Spec.Scope == apiextensions.ClusterScoped
	if crd.Name != d.Name() || crd.Spec.Names.Kind != d.Kind || cluster != d.Cluster {
		return fmt.Errorf("it defines %s of %s, want %s of %s", crd.Spec.Names.Kind, crd.Name, d.Kind, d.Name())
	}
	for _, version := range d.Versions {
		served := false
		for _, v := range crd.Spec.Versions {
			served = served || v.Name == version && v.Served
		}
		if !served {
			return fmt.Errorf("it does not serve version %s", version)
		}
	}
	return nil
}
