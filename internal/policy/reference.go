package policy

import (
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// Reference is something outside of the environment that its objects take or
// keep data in. Two environments have the same What and Identity exactly where
// they share it.
type Reference struct {
	What     string    `json:"what"`
	Identity string    `json:"identity"` // of a secret's value only a salted mark
	Key      string    `json:"key"`      // of the Secret or ConfigMap, "" elsewhere
	Object   ObjectRef `json:"object"`
	Path     string    `json:"path"`
}

// What a reference may be to.
const (
	ReferenceSecret   = "secret"   // a value of a Secret
	ReferenceExternal = "external" // an entry of a secret store outside the cluster
	ReferenceDatabase = "database" // a server by its URL
	ReferenceBucket   = "bucket"   // an object store's bucket, with the directory in it
	ReferenceVolume   = "volume"   // storage that was there before
	ReferenceUnread   = "unread"   // there is more, beyond what is read
)

// maxReferences bounds what one release may be said to take. What comes after is
// told by one reference that is ReferenceUnread: rules deny it.
const maxReferences = 5000

// References lists what the objects take from outside, in object order.
func References(env promotion.Environment, set manifest.Set, redactor manifest.Redactor) []Reference {
	r := references{env: env, redactor: redactor, stores: map[string]string{}, known: map[Reference]bool{}}
	for _, o := range set.Objects() {
		r.store(o)
	}
	for _, o := range set.Objects() {
		r.object = o
		r.read(o)
		if r.full() {
			return r.found
		}
	}
	return r.found
}

type references struct {
	env      promotion.Environment
	redactor manifest.Redactor
	stores   map[string]string // of secrets, by kind, namespace and name: what they stand for
	object   *manifest.Object
	found    []Reference
	known    map[Reference]bool
}

// full reports whether nothing more is read.
func (r *references) full() bool { return len(r.found) > maxReferences }

func (r *references) add(what, identity, key, path string) {
	found := Reference{What: what, Identity: identity, Key: key, Object: RefOf(r.object), Path: path}
	if r.full() || r.known[found] {
		return
	}
	if len(r.found) == maxReferences {
		found.What, found.Identity, found.Key = ReferenceUnread, "", ""
	}
	r.known[found] = true
	r.found = append(r.found, found)
}

func (r *references) read(o *manifest.Object) {
	switch kindKey(o) {
	case "Secret":
		r.secret(o)
	case "ConfigMap":
		data, _ := o.Object["data"].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(data)) {
			text, _ := data[key].(string)
			r.urls(text, key, "data"+step(key))
			r.server(key, text, key, "data"+step(key))
		}
	case "ExternalSecret.external-secrets.io":
		r.externalSecret(o, "spec")
	case "ClusterExternalSecret.external-secrets.io":
		r.externalSecret(o, "spec.externalSecretSpec")
	case "PushSecret.external-secrets.io":
		r.pushSecret(o, "spec")
	case "ClusterPushSecret.external-secrets.io":
		r.pushSecret(o, "spec.pushSecretSpec")
	case "VaultStaticSecret.secrets.hashicorp.com", "VaultDynamicSecret.secrets.hashicorp.com":
		r.vaultSecret(o)
	case "BackupStorageLocation.velero.io":
		if bucket := textAt(o.Object, "spec", "objectStorage", "bucket"); bucket != "" {
			prefix := strings.Trim(textAt(o.Object, "spec", "objectStorage", "prefix"), "/")
			r.add(ReferenceBucket, strings.TrimSuffix(bucket+"/"+prefix, "/"), "", "spec.objectStorage.bucket")
		}
	case "PersistentVolume":
		r.volume(o)
	case "PersistentVolumeClaim":
		if name := textAt(o.Object, "spec", "volumeName"); name != "" {
			r.add(ReferenceVolume, r.here("PersistentVolume", name), "", "spec.volumeName")
		}
	case "VolumeSnapshotContent.snapshot.storage.k8s.io":
		if handle := textAt(o.Object, "spec", "source", "snapshotHandle"); handle != "" {
			r.add(ReferenceVolume, "snapshot "+handle, "", "spec.source.snapshotHandle")
		}
	}
	for _, pod := range StandardPodTemplates().PodSpecs(o) {
		r.pod(pod)
	}
}

// here is something that only the cluster of the environment knows.
func (r *references) here(parts ...string) string {
	cluster := r.env.Target.Kubeconfig
	if cluster == "" {
		cluster = "the daemon's cluster"
	}
	return cluster + ": " + strings.Join(parts, "/")
}

func (r *references) namespace(o *manifest.Object) string {
	if namespace := o.GetNamespace(); namespace != "" {
		return namespace
	}
	return r.env.Target.Namespace
}

// secret marks each value as it is when decoded, so that it is the same
// however it is written. An empty one is no secret.
func (r *references) secret(o *manifest.Object) {
	for _, field := range []string{"data", "stringData"} {
		values, _ := o.Object[field].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(values)) {
			text, _ := values[key].(string)
			if decoded, err := base64.StdEncoding.DecodeString(text); err == nil && field == "data" {
				text = string(decoded)
			}
			if text != "" {
				r.add(ReferenceSecret, r.redactor.Mark(text), key, field+step(key))
			}
		}
	}
}

func (r *references) volume(o *manifest.Object) {
	spec, _ := o.Object["spec"].(map[string]any)
	if handle := textAt(spec, "csi", "volumeHandle"); handle != "" {
		r.add(ReferenceVolume, textAt(spec, "csi", "driver")+" "+handle, "", "spec.csi.volumeHandle")
	}
	if server := textAt(spec, "nfs", "server"); server != "" {
		r.add(ReferenceVolume, "nfs "+server+":"+textAt(spec, "nfs", "path"), "", "spec.nfs")
	}
}

func (r *references) pod(pod PodSpec) {
	volumes, _ := pod.Spec["volumes"].([]any)
	for i, v := range volumes {
		volume, _ := v.(map[string]any)
		if server := textAt(volume, "nfs", "server"); server != "" {
			r.add(ReferenceVolume, "nfs "+server+":"+textAt(volume, "nfs", "path"), "", fmt.Sprintf("%s.volumes[%d].nfs", pod.Path, i))
		}
	}
	for _, field := range containerFields {
		containers, _ := pod.Spec[field].([]any)
		for i, c := range containers {
			container, _ := c.(map[string]any)
			variables, _ := container["env"].([]any)
			for n, v := range variables {
				variable, _ := v.(map[string]any)
				path := fmt.Sprintf("%s.%s[%d].env[%d].value", pod.Path, field, i, n)
				r.urls(textAt(variable, "value"), "", path)
				r.server(textAt(variable, "name"), textAt(variable, "value"), "", path)
			}
			for _, said := range []string{"command", "args"} {
				words, _ := container[said].([]any)
				for n, word := range words {
					text, _ := word.(string)
					r.urls(text, "", fmt.Sprintf("%s.%s[%d].%s[%d]", pod.Path, field, i, said, n))
				}
			}
		}
	}
}

// host is a name as the whole world knows it: inside a cluster the same short
// name is another server in each namespace.
func (r *references) host(name string) string {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	cluster, inside := strings.CutSuffix(strings.TrimSuffix(name, ".cluster.local"), ".svc")
	switch {
	case inside:
		return r.here("host", cluster)
	case !strings.Contains(name, "."):
		return r.here("host", name+"."+r.namespace(r.object))
	}
	return name
}

func textAt(object map[string]any, path ...string) string {
	parent := object
	for _, name := range path[:len(path)-1] {
		parent, _ = parent[name].(map[string]any)
	}
	text, _ := parent[path[len(path)-1]].(string)
	return text
}

var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// step writes a key of a mapping as a step of a path.
func step(key string) string {
	if plainKey.MatchString(key) {
		return "." + key
	}
	return fmt.Sprintf("[%q]", key)
}
