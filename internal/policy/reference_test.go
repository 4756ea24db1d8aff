package policy

import (
	"encoding/json"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

func referencesIn(t *testing.T, kubeconfig, namespace, manifests string) []Reference {
	t.Helper()
	return References(promotion.Environment{Target: promotion.Target{Kubeconfig: kubeconfig, Namespace: namespace}}, setOf(t, manifests), redactor)
}

const vaultStore = `apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: environment}
spec: {provider: {vault: {server: "https://vault.example.org/", path: secret, auth: {kubernetes: {role: ROLE}}}}}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: database}
spec:
  secretStoreRef: {name: environment}
  data: [{secretKey: password, remoteRef: {key: KEY, property: password}}]
`

// Two environments share a thing exactly where What and Identity are the same.
func TestReferences(t *testing.T) {
	t.Parallel()
	vault := func(role, key string) string {
		return strings.NewReplacer("ROLE", role, "KEY", key).Replace(vaultStore)
	}
	aws := func(account, region string) string {
		return strings.Replace(vault("", "k"), `vault: {server: "https://vault.example.org/", path: secret, auth: {kubernetes: {role: }}}`,
			"aws: {service: SecretsManager, region: "+region+", role: \"arn:aws:iam::"+account+":role/ROLE-"+account+"\"}", 1)
	}
	config := func(text string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {endpoint: '" + text + "'}\n"
	}
	secret := func(field, value string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n" + field + ": {password: " + value + "}\n"
	}
	bucket := func(name, prefix string) string {
		return "apiVersion: velero.io/v1\nkind: BackupStorageLocation\nmetadata: {name: b}\nspec: {objectStorage: {bucket: " + name + ", prefix: '" + prefix + "'}}\n"
	}
	volume := func(handle string) string {
		return "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: v}\nspec: {csi: {driver: ebs.csi.aws.com, volumeHandle: " + handle + "}}\n"
	}
	for _, test := range []struct {
		name, a, b string
		shared     bool
	}{
		{"one entry by two roles", vault("dev", "shop/db"), vault("prod", "/shop/db/"), true},
		{"two entries", vault("dev", "shop/dev"), vault("dev", "shop/prod"), false},
		{"one key in two vaults", vault("dev", "k"), strings.Replace(vault("dev", "k"), "vault.example", "other.example", 1), false},
		{"one region of one account", aws("111122223333", "us-west-2"), aws("111122223333", "us-west-2"), true},
		{"two accounts", aws("111122223333", "us-west-2"), aws("444455556666", "us-west-2"), false},
		{"two regions", aws("111122223333", "us-west-2"), aws("111122223333", "us-east-1"), false},
		{"stores that are not there, in two namespaces", strings.SplitN(vault("", "k"), "---\n", 2)[1], strings.SplitN(vault("", "k"), "---\n", 2)[1], false},
		{"a database", config("postgresql://app@DB.example.org:5432/a"), config("jdbc:postgresql://db.example.org/b?ssl=true"), true},
		{"one of several hosts", config("mongodb://u:p@a.example.org:27017,b.example.org:27017/x"), config("mongodb+srv://b.example.org/"), true},
		{"a database in each namespace", config("postgresql://postgresql:5432/a"), config("postgresql://postgresql:5432/a"), false},
		{"another namespace's database", config("redis://redis.shared.svc:6379"), config("rediss://redis.shared.svc.cluster.local"), true},
		{"this machine", config("postgresql://localhost/a"), config("postgresql://localhost/a"), false},
		{"a page", config("https://example.org/a"), config("https://example.org/a"), false},
		{"a bucket", config("s3://archive/a/"), config("s3://archive/a"), true},
		{"two directories of a bucket", config("s3://archive/a"), config("s3://archive/b"), false},
		{"backups", bucket("backups", ""), bucket("backups", ""), true},
		{"backups by directory", bucket("backups", "a"), bucket("backups", "b"), false},
		{"a bucket of backups that others read", bucket("backups", "a/"), config("s3://backups/a"), true},
		{"a value", secret("stringData", "hunter2"), secret("data", "aHVudGVyMg=="), true},
		{"two values", secret("stringData", "hunter2"), secret("stringData", "hunter3"), false},
		{"nothing", secret("stringData", "''"), secret("data", "''"), false},
		{"a volume", volume("vol-1"), volume("vol-1"), true},
		{"two volumes", volume("vol-1"), volume("vol-2"), false},
	} {
		if shared := share(t, test.a, test.b); shared != test.shared {
			t.Errorf("%s: shared %v, want %v", test.name, shared, test.shared)
		}
	}
}

// share reports whether two environments take the same.
func share(t *testing.T, a, b string) bool {
	t.Helper()
	for _, x := range referencesIn(t, "", "dev", a) {
		for _, y := range referencesIn(t, "", "prod", b) {
			if x.What == y.What && x.Identity == y.Identity {
				return true
			}
		}
	}
	return false
}

// The same entry of a store is the same whoever takes it, or writes it.
func TestReferencesOfOtherKinds(t *testing.T) {
	t.Parallel()
	take := func(key string) string {
		return strings.NewReplacer("ROLE", "dev", "KEY", key).Replace(vaultStore)
	}
	store, _, _ := strings.Cut(strings.Replace(vaultStore, "ROLE", "prod", 1), "---")
	push := func(key string) string {
		return store + "---\napiVersion: external-secrets.io/v1alpha1\nkind: PushSecret\nmetadata: {name: p}\n" +
			"spec: {secretStoreRefs: [{name: environment}], data: [{match: {secretKey: a, remoteRef: {remoteKey: " + key + "}}}]}\n"
	}
	clusterWide := store + "---\napiVersion: external-secrets.io/v1\nkind: ClusterExternalSecret\nmetadata: {name: p}\n" +
		"spec: {externalSecretSpec: {secretStoreRef: {name: environment}, dataFrom: [{extract: {key: shop/db}}]}}\n"
	fromVault := func(path string) string {
		return "apiVersion: secrets.hashicorp.com/v1beta1\nkind: VaultStaticSecret\nmetadata: {name: v}\nspec: {mount: secret, path: " + path + "}\n"
	}
	for _, test := range []struct {
		name, a, b string
		shared     bool
	}{
		{"what one writes and the other takes", take("shop/db"), push("shop/db"), true},
		{"what one writes and the other does not take", take("shop/db"), push("shop/cache"), false},
		{"two that write one entry", push("shop/db"), push("/shop/db"), true},
		{"taken for a whole cluster", take("shop/db"), clusterWide, true},
		{"one path of the cluster's vault", fromVault("shop/db"), fromVault("/shop/db/"), true},
		{"two paths of the cluster's vault", fromVault("shop/dev/db"), fromVault("shop/prod/db"), false},
	} {
		if shared := share(t, test.a, test.b); shared != test.shared {
			t.Errorf("%s: shared %v, want %v", test.name, shared, test.shared)
		}
	}
}

func TestReferencesNameTheField(t *testing.T) {
	t.Parallel()
	found := referencesIn(t, "far", "shop", `apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec: {template: {spec: {containers: [{name: a}, {name: b, env: [{name: X, value: x}, {name: DB, value: "mysql://u:hunter2@db/x"}]}], volumes: [{name: v, nfs: {server: nas, path: /x}}]}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: shop}
data: {app.properties: "s3://archive"}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: p, namespace: shop}
spec: {volumeName: old}
`)
	got := map[string]string{}
	for _, r := range found {
		got[r.Object.Name+": "+r.Path] = r.What + " " + r.Identity
	}
	for place, want := range map[string]string{
		"api: spec.template.spec.containers[1].env[1].value": "database far: host/db.shop",
		"api: spec.template.spec.volumes[0].nfs":             "volume nfs nas:/x",
		`c: data["app.properties"]`:                          "bucket archive",
		"p: spec.volumeName":                                 "volume far: PersistentVolume/old",
	} {
		if got[place] != want {
			t.Errorf("%s: %q, want %q; all: %v", place, got[place], want, got)
		}
	}
	encoded, err := json.Marshal(found)
	if err != nil || strings.Contains(string(encoded), "hunter2") {
		t.Errorf("a password is in %s", encoded)
	}
}

// No value of a Secret is in what rules compare.
func TestPitfall40_ReferencesHoldNoSecretValues(t *testing.T) {
	t.Parallel()
	found := referencesIn(t, "", "", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: canary-d41d8cd9}\ndata: {b: Y2FuYXJ5LWQ0MWQ4Y2Q5}\n")
	encoded, err := json.Marshal(found)
	if err != nil || len(found) != 2 || found[0].Identity != found[1].Identity {
		t.Errorf("%s, %v; want two marks that are the same", encoded, err)
	}
	for _, value := range []string{"canary", "Y2FuYXJ5"} {
		if strings.Contains(string(encoded), value) {
			t.Errorf("a value is in %s", encoded)
		}
	}
}

// Whatever is rendered, reading what it takes neither fails nor grows without end.
func FuzzReferences(f *testing.F) {
	f.Add([]byte(vaultStore))
	f.Add([]byte("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: [1]\nstringData: {a: [b]}\n"))
	f.Add([]byte("apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: s}\nspec: {data: [1, {remoteRef: []}], dataFrom: {}, secretStoreRef: 3}\n"))
	f.Add([]byte("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [1, {env: [{value: 's3://'}]}], volumes: [{nfs: 1}]}\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		objects, err := manifest.Decode("f.yaml", content)
		if err != nil {
			return
		}
		set, err := manifest.NewSet(objects)
		if err != nil {
			return
		}
		for _, r := range References(promotion.Environment{}, set, redactor) {
			if r.What == "" || r.Identity == "" || r.Object.Name == "" && len(objects) == 0 {
				t.Errorf("half a reference: %+v", r)
			}
		}
	})
}

func TestNeighbours(t *testing.T) {
	t.Parallel()
	of := func(name string, after ...string) promotion.Environment {
		e := promotion.Environment{ID: promotion.ID{Pipeline: "shop", Name: name}}
		for _, a := range after {
			e.After = append(e.After, promotion.ID{Pipeline: "shop", Name: a})
		}
		return e
	}
	all := []promotion.Environment{of("development"), of("testing", "development"), of("load", "development"), of("staging", "testing"),
		of("production", "staging"), {ID: promotion.ID{Pipeline: "other", Name: "development"}}}
	got := map[string]string{}
	for _, n := range Neighbours(all[3], all) {
		got[n.Environment.String()] = n.Order
		if n.State != StateUnknown {
			t.Errorf("%s: %s before anything was read", n.Environment, n.State)
		}
	}
	want := map[string]string{"shop/development": OrderBefore, "shop/testing": OrderBefore, "shop/load": OrderBeside, "shop/production": OrderAfter}
	for id, order := range want {
		if got[id] != order {
			t.Errorf("%s is %q, want %q", id, got[id], order)
		}
	}
	if len(got) != len(want) {
		t.Errorf("neighbours %v, want %v", got, want)
	}
	lost := func(pipeline, name string) promotion.ID { return promotion.ID{Pipeline: pipeline, Name: name} }
	unread := Neighbours(all[3], all[3:4], lost("shop", "testing"), lost("shop", "odd"), lost("shop", "staging"), lost("other", "odd"))
	if len(unread) != 2 || unread[0].Name != "odd" || unread[0].Order != OrderUnknown || unread[1].Name != "testing" || unread[1].Order != OrderBefore {
		t.Fatalf("of files that cannot be read %+v, want odd and testing", unread)
	}
	for _, n := range unread {
		if n.Data != DataUnknown || n.State != StateUnknown || n.Compared(all[3]) {
			t.Errorf("%+v, want nothing known of it", n)
		}
	}
}
