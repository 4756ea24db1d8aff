package plan

import (
	"fmt"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
)

// deleted tells the waves in which objects are deleted when nothing but one is
// rendered any more.
func deleted(t *testing.T, texts ...string) string {
	t.Helper()
	live := map[manifest.ID]*manifest.Object{}
	var owned []Owned
	for i, text := range texts {
		o, entry := ownedLive(t, text, fmt.Sprint(i))
		live[entry.ID] = o
		owned = append(owned, entry)
	}
	target := owner
	target.Namespace = "shop"
	changes, refusal := Prune(target, Guards{Prune: true, MaxDeletePart: 1, MaxDeletes: 1000}, 1, owned, owned, live)
	if refusal != nil {
		t.Fatal(refusal)
	}
	var waves []string
	for i, c := range changes {
		name := c.ID.Name
		for _, holder := range c.Holders {
			name += " after " + holder.Name
		}
		switch {
		case c.Action != Delete:
			waves = append(waves, string(c.Action)+" "+name)
		case i > 0 && changes[i-1].Wave == c.Wave:
			waves[len(waves)-1] += ", " + name
		default:
			waves = append(waves, name)
		}
	}
	return strings.Join(waves, "; ")
}

func TestDeletionsAreInTheReverseOrder(t *testing.T) {
	t.Parallel()
	allowed := strings.Replace(crdText, "{name: menus.example.org}", "{name: menus.example.org, annotations: {chaperone.dev/prune: allow}}", 1)
	for _, test := range []struct {
		name    string
		objects []string
		want    string
	}{
		{"stages", []string{named("ConfigMap", "a", ""), named("ConfigMap", "b", ""), dep("api", ""), job("smoke", "post-deploy")}, "smoke; api; a, b"},
		{"roles after bindings", []string{
			"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: bind, namespace: shop}\nroleRef: {kind: Role, name: role}",
			"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: role, namespace: shop}"}, "bind; role"},
		{"what depends on another goes first", []string{dep("api", depends("apps/Deployment/shop/db")), dep("db", ""), menu("lunch", depends("apps/Deployment/shop/db"))},
			"api; lunch; db after api after lunch"},
		{"custom resources go before what finalizes them, if their definition goes too", []string{allowed, menu("lunch", ""), dep("operator", ""), named("ConfigMap", "a", "")},
			"lunch; operator; a; menus.example.org after lunch"},
		{"or would, if it were allowed", []string{crdText, menu("lunch", ""), dep("operator", "")}, "lunch; operator; keep menus.example.org"},
		{"annotations of different releases that make a cycle", []string{dep("a", depends("apps/Deployment/shop/b")), dep("b", depends("apps/Deployment/shop/a")), named("ConfigMap", "c", "")},
			"a, b; c"},
	} {
		if got := deleted(t, test.objects...); got != test.want {
			t.Errorf("%s: deleted %q, want %q", test.name, got, test.want)
		}
	}
}
