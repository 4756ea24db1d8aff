package cluster

import (
	"strings"
	"testing"
)

// The server is not asked to warn of fields that it does not know: it refuses
// them, and with them the release.
func TestUnknownFieldsAreRefusedUnasked(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, definition, menu := f.menus("v1")
	f.release(f.set(definition, menu))
	tests := map[string]string{
		"of a built-in kind": "{apiVersion: v1, kind: ConfigMap, metadata: {name: plain}, dta: {key: value}}",
		"deep in one":        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80, prt: 81}]}}",
		"of a resource":      menu + "\ndishes: 1",
	}
	for name, text := range tests {
		_, err := f.c.Plan(t.Context(), f.owner, f.set(definition, text, configMap("beside", "key", "value")))
		if err == nil || !strings.Contains(err.Error(), "field not declared in schema") {
			t.Errorf("%s: got %v, want the field refused", name, err)
		}
		f.exists("ConfigMap", "beside", false)
	}
}
