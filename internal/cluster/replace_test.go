package cluster

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// replacements are changes that no update can make.
var replacements = []struct {
	name, before, after string
	fields, loses       string
}{
	{
		name:   "Deployment selector",
		before: deployment("api", "registry.local/api:1", "replicas: 0"),
		after:  strings.ReplaceAll(deployment("api", "registry.local/api:1", "replicas: 0"), "app: api", "app: api2"),
		fields: "spec.selector", loses: "all its pods at once",
	},
	{
		name:   "Service cluster IP",
		before: service("api"),
		after:  strings.Replace(service("api"), "spec:\n", "spec:\n  clusterIP: None\n", 1),
		fields: "spec.clusterIP", loses: "its cluster IP ",
	},
	{
		name:   "Service with node ports",
		before: "apiVersion: v1\nkind: Service\nmetadata: {name: api}\nspec: {type: NodePort, ports: [{port: 80}]}",
		after:  "apiVersion: v1\nkind: Service\nmetadata: {name: api}\nspec: {type: ClusterIP, clusterIP: None, ports: [{port: 80}]}",
		fields: "spec.clusterIP", loses: "its cluster IP ",
	},
	{
		name:   "Job template",
		before: plainJob("registry.local/run:1"),
		after:  plainJob("registry.local/run:2"),
		fields: "spec.template", loses: "its run, with the result and the logs",
	},
	{
		name:   "StatefulSet volume claims",
		before: statefulSet("1Mi"),
		after:  statefulSet("2Mi"),
		fields: "spec.volumeClaimTemplates", loses: "all its pods at once; its volume claims stay",
	},
	{
		name:   "immutable ConfigMap",
		before: "immutable: true\n" + configMap("settings", "mode", "a"),
		after:  "immutable: true\n" + configMap("settings", "mode", "b"),
		fields: "data", loses: "nothing but a moment in which it is not there",
	},
	{
		name:   "role of a binding",
		before: binding("view"), after: binding("edit"),
		fields: "roleRef", loses: "the rights that it gives, for a moment",
	},
	{
		name:   "storage class of a claim",
		before: claim("none"), after: claim("other"),
		fields: "spec.storageClassName", loses: "its data, unless the volume's reclaim policy keeps it",
	},
}

func plainJob(image string) string {
	return strings.Replace(hook("run", "x", image), ", annotations: {chaperone.dev/hook: x}", "", 1)
}

func statefulSet(size string) string {
	return strings.Replace(strings.Replace(deployment("db", "registry.local/db:1", "replicas: 1\n  serviceName: db\n  volumeClaimTemplates:\n"+
		"  - metadata: {name: data}\n    spec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: SIZE}}}"),
		"kind: Deployment", "kind: StatefulSet", 1), "SIZE", size, 1)
}

func binding(role string) string {
	return "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: bind}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: " +
		role + "}\nsubjects: [{kind: ServiceAccount, name: default, namespace: NS}]"
}

func claim(class string) string {
	return "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], storageClassName: " + class + ", resources: {requests: {storage: 1Mi}}}"
}

// saying is a release of one object with annotations.
func (f *fixture) saying(text string, annotations map[string]string) manifest.Set {
	f.Helper()
	o := f.set(text).Objects()[0].DeepCopy()
	o.SetAnnotations(annotations)
	set, err := manifest.NewSet([]*manifest.Object{o})
	if err != nil {
		f.Fatal(err)
	}
	return set
}

// of reads an object of any kind.
func (f *fixture) object(id manifest.ID) *manifest.Object {
	f.Helper()
	k, err := f.c.kinds.find(f.Context(), id.GroupKind(), "")
	if err != nil {
		f.Fatal(err)
	}
	o, err := f.c.get(f.Context(), k, id)
	if err != nil {
		f.Fatal(err)
	}
	return o
}

// A change of a field that is immutable was dropped without a word (flux2#5162),
// or an object was made anew that nobody had allowed to go (fluxcd/pkg#603).
func TestPitfall17_ImmutableFieldsAreReplacedOnlyWhereAllowed(t *testing.T) {
	t.Parallel()
	for _, test := range replacements {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			before, after := f.set(test.before), f.set(test.after)
			f.release(before)
			id := manifest.IDOf(before.Objects()[0])
			id.Namespace = f.owner.Namespace
			old := f.object(id)
			_, err := f.c.Plan(t.Context(), f.owner, after)
			var rejected *plan.Rejected
			if !errors.As(err, &rejected) {
				t.Fatalf("plan: %v, want it rejected", err)
			}
			for _, want := range []string{id.String() + ": rejected: " + test.fields, "cannot be changed in place, and a replacement would lose " + test.loses,
				"give the object another name", "chaperone.dev/replace: allow"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("rejection is %q, want it to say %q", err, want)
				}
			}
			allowed := f.saying(test.after, map[string]string{plan.AnnotationReplace: "allow", manifest.AnnotationPrune: "allow"})
			p := f.plan(allowed)
			c := p.Applies()[0]
			if c.Action != plan.Replace || c.Reason != plan.ReasonImmutable || !strings.HasPrefix(c.Loses, test.loses) || !strings.Contains(c.String(), "\n  loses "+test.loses) {
				t.Fatalf("plan where it is allowed: %v, want a replacement that loses %s", c, test.loses)
			}
			if now := f.object(id); now == nil || now.GetUID() != old.GetUID() {
				t.Fatal("a plan replaced the object")
			}
			f.release(allowed)
			if now := f.object(id); now == nil || now.GetUID() == old.GetUID() {
				t.Fatal("the object was not replaced")
			}
			if p := f.plan(allowed); !p.Quiet() {
				t.Errorf("plan afterwards: %v, want nothing to do", p.Applies())
			}
		})
	}
}

// The daemon is killed between the deletion and the creation.
func TestPitfall17_ReplacementIsFinishedAfterACrash(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set("immutable: true\n" + configMap("settings", "mode", "a")))
	after := f.saying("immutable: true\n"+configMap("settings", "mode", "b"), map[string]string{plan.AnnotationReplace: "allow"})
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	var removed atomic.Bool
	dying := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		if request.Method == http.MethodDelete && strings.HasSuffix(request.URL.Path, "/settings") {
			removed.Store(true)
		}
		if removed.Load() && isRealApply(request) {
			kill()
			return nil, errors.New("killed")
		}
		return nil, nil
	})
	if _, err := dying.c.Apply(ctx, f.owner, f.plan(after), nil); err == nil || !removed.Load() {
		t.Fatalf("apply of a killed daemon: %v, deleted: %v", err, removed.Load())
	}
	f.exists("ConfigMap", "settings", false)
	f.release(after)
	if o := f.live("ConfigMap", "settings"); o == nil || o.Object["data"].(map[string]any)["mode"] != "b" {
		t.Errorf("after the next pass the object is %v", o)
	}
	if p := f.plan(after); !p.Quiet() {
		t.Errorf("plan afterwards: %v, want nothing to do", p.Applies())
	}
}

// The pods of a StatefulSet were killed without a word (fluxcd/pkg#603).
func TestPitfall17_PodsOfAStatefulSetMayStay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.saying(statefulSet("1Mi"), nil))
	pods := f.local.Client().CoreV1().Pods(f.owner.Namespace)
	var uid string
	f.eventually("the pod is there", func() bool {
		pod, err := pods.Get(t.Context(), "db-0", metav1.GetOptions{})
		if err == nil {
			uid = string(pod.UID)
		}
		return err == nil
	})
	orphan := f.saying(statefulSet("2Mi"), map[string]string{plan.AnnotationReplace: "orphan"})
	if c := f.plan(orphan).Applies()[0]; c.Action != plan.Replace || !strings.Contains(c.Loses, "its pods stay") {
		t.Fatalf("plan: %v, want a replacement that keeps the pods", c)
	}
	f.release(orphan)
	f.eventually("the pod is taken over", func() bool {
		pod, err := pods.Get(t.Context(), "db-0", metav1.GetOptions{})
		if err != nil || string(pod.UID) != uid {
			t.Fatalf("the pod is another one: %v, %v", pod, err)
		}
		set := f.object(manifest.ID{Group: "apps", Kind: "StatefulSet", Namespace: f.owner.Namespace, Name: "db"})
		return len(pod.OwnerReferences) == 1 && set != nil && pod.OwnerReferences[0].UID == set.GetUID()
	})
}
