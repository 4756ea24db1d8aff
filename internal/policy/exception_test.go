package policy

import (
	"strings"
	"testing"
	"time"
)

const validException = `apiVersion: chaperone.dev/v1alpha1
kind: Exception
metadata:
  name: legacy-exporter
spec:
  rule: pod/host-path
  environments: [novamind/staging]
  objects:
    - {apiVersion: apps/v1, kind: DaemonSet, namespace: novamind, name: exporter}
  reason: the exporter reads the node's disks
  ticket: SEC-17
  owner: platform@example.org
  requester: kim@example.org
  approvedBy: [lee@example.org, max@example.org]
  requested: 2026-04-05
  expires: 2026-06-30
`

func TestParseException(t *testing.T) {
	t.Parallel()
	e, err := ParseException("exceptions/a.yaml", []byte(validException))
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "legacy-exporter" || e.Rule != "pod/host-path" || e.Line != 6 || len(e.Environments) != 1 || len(e.Objects) != 1 {
		t.Errorf("parsed %+v", e)
	}
	if want := (ObjectRef{APIVersion: "apps/v1", Kind: "DaemonSet", Namespace: "novamind", Name: "exporter"}); e.Objects[0] != want {
		t.Errorf("object %+v, want %+v", e.Objects[0], want)
	}
	// The whole last day counts.
	last := time.Date(2026, 6, 30, 23, 59, 59, 0, time.UTC)
	if !e.Holds(last) || e.Holds(last.Add(time.Second)) {
		t.Errorf("expires %s; want it to hold through 30 June 2026 UTC", e.Expires)
	}
	ref := e.Ref()
	if ref.Expires != "2026-06-30" || ref.Ticket != "SEC-17" || ref.File != "exceptions/a.yaml" || ref.ApprovedBy[0] != "lee@example.org" {
		t.Errorf("ref %+v", ref)
	}
}

func TestExceptionFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, old, new, want string }{
		{"unknown field", "  ticket:", "  tickets:", "e.yaml:11:3: spec.tickets: unknown field"},
		{"no ticket", "  ticket: SEC-17\n", "", "spec.ticket: missing"},
		{"no reason", "  reason: the exporter reads the node's disks\n", "  reason: \" \"\n", "e.yaml:10:11: spec.reason: empty"},
		{"no expiry", "  expires: 2026-06-30\n", "", "spec.expires: missing"},
		{"no owner", "  owner: platform@example.org\n", "", "spec.owner: missing"},
		{"no requester", "  requester: kim@example.org\n", "", "spec.requester: missing"},
		{"no approver", "  approvedBy: [lee@example.org, max@example.org]\n", "", "spec.approvedBy: missing"},
		{"nobody approved", "[lee@example.org, max@example.org]", "[]", "e.yaml:14:15: spec.approvedBy: empty"},
		{"approved by the requester", "[lee@example.org, ", "[Kim@example.org, ", "is the requester; want somebody else"},
		{"approved by one", ", max@example.org]", "]", "e.yaml:14:3: spec.approvedBy: 1 approver; want at least 2 people"},
		{"approved by one twice", "max@example.org", "LEE@example.org", "LEE@example.org is listed twice"},
		{"approved by the requester beside one", "max@example.org", "'kim@example.org '", "is the requester; want somebody else"},
		{"an empty rationale", "  ticket: SEC-17\n", "  ticket: SEC-17\n  rationale: ' '\n", "spec.rationale: empty"},
		{"no date", "2026-06-30", "soon", `e.yaml:16:12: spec.expires: "soon" is no date`},
		{"an impossible date", "2026-06-30", "2026-06-31", "is no date"},
		{"no request", "  requested: 2026-04-05\n", "", "spec.requested: missing"},
		{"years ahead", "2026-06-30", "2036-06-30", "more than 90 days after spec.requested"},
		{"a day too long", "2026-06-30", "2026-07-05", "more than 90 days after spec.requested"},
		{"over before", "2026-06-30", "2026-04-04", "is before spec.requested"},
		{"requested by a name", "kim@example.org", "Kim", "\"Kim\" is no e-mail address"},
		{"the requester with a name", "lee@example.org", "Kim Lee <kim@example.org>", "is the requester"},
		{"the requester with a tag", "lee@example.org", "kim+security@EXAMPLE.org", "is the requester"},
		{"the requester with a space", "lee@example.org", "kim @example.org", "kim @example.org"},
		{"the requester in quotes", "lee@example.org", `'"kim"@example.org'`, "is the requester"},
		{"the requester with a dot", "lee@example.org", "kim@example.org.", "is no e-mail address"},
		{"a letter that looks like another", "lee@example.org", `"k\u0456m@example.org"`, "is no e-mail address"},
		{"an invisible letter", "lee@example.org", `"kim@\u200bexample.org"`, "is no e-mail address"},
		{"one approver with and without a name", "max@example.org", "Lee  <lee@example.org>", "is listed twice"},
		{"nobody's names", "[lee@example.org, max@example.org]", "[x, y]", "is no e-mail address"},
		{"every rule", "pod/host-path", `"*"`, "want the id of one rule"},
		{"a group of rules", "pod/host-path", "pod", "want the id of one rule"},
		{"every environment", "[novamind/staging]", `["*"]`, "over-broad or not one environment"},
		{"a pipeline", "[novamind/staging]", "[novamind/*]", "over-broad or not one environment"},
		{"no environment", "[novamind/staging]", "[]", "spec.environments: empty"},
		{"every object", "name: exporter", `name: "*"`, "over-broad"},
		{"a pattern", "name: exporter", `name: "export[er]+"`, "over-broad"},
		{"every namespace", "namespace: novamind", `namespace: "?"`, "over-broad"},
		{"no name", ", name: exporter", "", "name: missing"},
		{"no kind", "kind: DaemonSet, ", "", "kind: missing"},
		{"no objects", "    - {apiVersion: apps/v1, kind: DaemonSet, namespace: novamind, name: exporter}\n", "", "spec.objects: missing"},
		{"another kind", "kind: Exception", "kind: Waiver", `kind: "Waiver" is not known`},
		{"another version", "v1alpha1", "v1", "apiVersion"},
		{"two documents", "  expires: 2026-06-30\n", "  expires: 2026-06-30\n---\nkind: Exception\n", "second document"},
		{"too many objects", "    - {apiVersion: apps/v1, kind: DaemonSet, namespace: novamind, name: exporter}\n",
			strings.Repeat("    - {apiVersion: v1, kind: Pod, name: a}\n", 101), "101 entries are over-broad"},
		{"not YAML", "spec:", "spec: [", "not YAML"},
	} {
		if !strings.Contains(validException, test.old) {
			t.Fatalf("%s: the valid file has no %q", test.name, test.old)
		}
		_, err := ParseException("e.yaml", []byte(strings.Replace(validException, test.old, test.new, 1)))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "e.yaml:") {
			t.Errorf("%s: error %v, want one with e.yaml: and %q", test.name, err, test.want)
		}
	}
}

func FuzzParseException(f *testing.F) {
	f.Add([]byte(validException))
	f.Add([]byte(strings.Replace(validException, "lee@", "Lee <lee@example.org>,+@", 1)))
	f.Add([]byte("spec: {objects: [{}], environments: [a/b, 1, {}], expires: 0001-01-01}"))
	f.Add([]byte("&a [*a]"))
	f.Fuzz(func(t *testing.T, content []byte) {
		e, err := ParseException("e.yaml", content)
		if err != nil {
			return
		}
		if e.Rule == "" || len(e.Objects) == 0 || len(e.Environments) == 0 || len(e.ApprovedBy) < 2 || e.Expires.IsZero() ||
			e.Expires.Sub(e.Requested) > 91*24*time.Hour {
			t.Errorf("accepted without what it must say: %+v", e)
		}
		for _, o := range e.Objects {
			if o.Kind == "" || o.Name == "" || strings.Contains(o.Name, "*") {
				t.Errorf("accepted over-broad object %+v", o)
			}
		}
	})
}
