package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
)

// store notes what a SecretStore of the release stands for: two names of one
// vault are one vault, and the same name in two namespaces may be two.
func (r *references) store(o *manifest.Object) {
	kind, group, _ := strings.Cut(kindKey(o), ".")
	if group != "external-secrets.io" || kind != "SecretStore" && kind != "ClusterSecretStore" {
		return
	}
	provider, _ := fieldAt(o.Object, "spec.provider")
	for _, name := range slices.Sorted(maps.Keys(provider)) {
		settings, _ := provider[name].(map[string]any)
		if identity := storeIdentity(name, settings); identity != "" {
			r.stores[r.storeKey(kind, r.namespace(o), o.GetName())] = identity
		}
	}
}

func (r *references) storeKey(kind, namespace, name string) string {
	if kind == "ClusterSecretStore" {
		namespace = ""
	}
	return r.here(kind, namespace, name)
}

// storeIdentity leaves out how one gets in.
func storeIdentity(provider string, settings map[string]any) string {
	fields := map[string][]string{
		"aws":     {"service", "region"},
		"vault":   {"server", "namespace", "path"},
		"gcpsm":   {"projectID"},
		"azurekv": {"vaultUrl"},
	}[provider]
	if fields == nil {
		return ""
	}
	parts := []string{provider}
	for _, field := range fields {
		parts = append(parts, strings.TrimSuffix(textAt(settings, field), "/"))
	}
	if account := strings.Split(textAt(settings, "role"), ":"); provider == "aws" && len(account) > 4 {
		parts = append(parts, account[4]) // arn:partition:iam::ACCOUNT:role/…
	}
	return strings.Join(parts, " ")
}

func (r *references) externalSecret(o *manifest.Object, at string) {
	spec, _ := fieldAt(o.Object, at)
	common, _ := spec["secretStoreRef"].(map[string]any)
	entries, _ := spec["data"].([]any)
	for i, e := range entries {
		entry, _ := e.(map[string]any)
		if key := textAt(entry, "remoteRef", "key"); key != "" {
			r.external(o, common, entry, key, fmt.Sprintf("%s.data[%d].remoteRef.key", at, i))
		}
	}
	entries, _ = spec["dataFrom"].([]any)
	for i, e := range entries {
		entry, _ := e.(map[string]any)
		if key := textAt(entry, "extract", "key"); key != "" {
			r.external(o, common, entry, key, fmt.Sprintf("%s.dataFrom[%d].extract.key", at, i))
		}
		if key := textAt(entry, "find", "path"); key != "" {
			r.external(o, common, entry, key, fmt.Sprintf("%s.dataFrom[%d].find.path", at, i))
		}
	}
}

func (r *references) external(o *manifest.Object, ref, entry map[string]any, key, path string) {
	if own, has := fieldAt(entry, "sourceRef.storeRef"); has {
		ref = own
	}
	kind := textAt(ref, "kind")
	if kind == "" {
		kind = "SecretStore"
	}
	store := r.storeKey(kind, r.namespace(o), textAt(ref, "name"))
	if identity, known := r.stores[store]; known {
		store = identity
	}
	r.add(ReferenceExternal, store+" "+strings.Trim(key, "/"), "", path)
}

// pushSecret writes entries, which is no less than to read them: whoever takes
// them gets what was written.
func (r *references) pushSecret(o *manifest.Object, at string) {
	spec, _ := fieldAt(o.Object, at)
	stores, _ := spec["secretStoreRefs"].([]any)
	entries, _ := spec["data"].([]any)
	for i, e := range entries {
		entry, _ := e.(map[string]any)
		key := textAt(entry, "match", "remoteRef", "remoteKey")
		if key == "" {
			continue
		}
		for _, s := range stores {
			store, _ := s.(map[string]any)
			r.external(o, store, nil, key, fmt.Sprintf("%s.data[%d].match.remoteRef.remoteKey", at, i))
		}
	}
}

// vaultSecret takes from the Vault that the operator of the cluster is for.
func (r *references) vaultSecret(o *manifest.Object) {
	spec, _ := o.Object["spec"].(map[string]any)
	path := strings.Trim(textAt(spec, "mount"), "/") + "/" + strings.Trim(textAt(spec, "path"), "/")
	if path != "/" {
		r.add(ReferenceExternal, r.here("vault", textAt(spec, "namespace"), path), "", "spec.path")
	}
}
