package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

func setOf(t *testing.T, content string) manifest.Set {
	t.Helper()
	objects, err := manifest.Decode("test.yaml", []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var redactor = manifest.NewRedactor([]byte("0123456789abcdef"))

func TestDocumentHasEveryField(t *testing.T) {
	t.Parallel()
	env := promotion.Environment{
		ID: promotion.ID{Pipeline: "novamind", Name: "production"}, Data: promotion.DataPHI,
		After: []promotion.ID{{Pipeline: "novamind", Name: "staging"}},
		Promotion: promotion.Promotion{Mode: promotion.ModePullRequest, Soak: 30 * time.Minute,
			Windows: []promotion.Window{{Name: "nights", Cron: "0 22 * * *", Duration: 6 * time.Hour, TimeZone: "Europe/Berlin"}},
			Freezes: []promotion.Window{{TimeZone: "UTC", From: time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC), To: time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC)}}},
		Access: []string{"operations"},
		Governance: promotion.Governance{
			Owner: "platform@example.org", RTO: 4 * time.Hour, AuditRetention: 2190 * 24 * time.Hour,
		},
	}
	person := PersonOf(source.Person{Name: "Kim", Email: "kim@example.org", When: time.Date(2026, 5, 1, 8, 0, 0, 0, time.FixedZone("", 7200))})
	in := NewInput(env, setOf(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {key: \"1\"}\n"),
		Release{Revision: "4f2c", Author: person}, nil, time.Date(2026, 5, 20, 14, 0, 0, 0, time.FixedZone("", 7200)), redactor)
	document, err := in.Document()
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"approval":{"by":[],"override":"","state":"unknown"},` +
		`"environment":{"access":["operations"],"after":["novamind/staging"],"data":"phi","drift":"",` +
		`"governance":{"audit":{"retention":"52560h0m0s","runtimeSensor":"","sink":""},"backup":null,"deidentification":null,"owner":"platform@example.org",` +
		`"recovery":{"rpo":"0s","rto":"4h0m0s"}},"id":"novamind/production","imagined":false,"name":"production","onFailure":"","pipeline":"novamind",` +
		`"promotion":{"approval":{"from":[],"notAuthor":false,"required":0},` +
		`"freezes":[{"cron":"","duration":"312h0m0s","from":"2026-12-20T00:00:00Z","name":"","timeZone":"UTC","to":"2027-01-02T00:00:00Z"}],` +
		`"mode":"pull-request","schedule":"","soak":"30m0s","timeZone":"",` +
		`"windows":[{"cron":"0 22 * * *","duration":"6h0m0s","from":"","name":"nights","timeZone":"Europe/Berlin","to":""}]},"require":[],"target":{"allow":[],"kubeconfig":"","namespace":"","serviceAccount":""},"verify":{"checks":0,"settle":"0s"}},` +
		`"evidence":{"images":[],"refused":[]},` +
		`"images":[],"lastGood":{"digest":"","images":[],"revision":"","state":"unknown"},"now":"2026-05-20T12:00:00Z",` +
		`"objects":[{"apiVersion":"v1","data":{"key":"1"},"kind":"ConfigMap","metadata":{"name":"a"}}],"pipeline":[],"references":[],` +
		`"release":{"author":{"email":"kim@example.org","name":"Kim","when":"2026-05-01T06:00:00Z"},"changed":[],` +
		`"committer":{"email":"","name":"","when":""},"digest":"","revision":"4f2c","signature":{"detail":"","key":"","signer":[],"state":"unchecked","verified":false}},"schedules":[],"upstream":[]}`
	if string(got) != want {
		t.Errorf("document\n%s\nwant\n%s", got, want)
	}
}

// No secret value enters an input, from wherever a Secret may stand.
func TestPitfall40_InputHoldsNoSecretValues(t *testing.T) {
	t.Parallel()
	const canary = "canary-d41d8cd9"
	in := NewInput(promotion.Environment{}, setOf(t, `
apiVersion: v1
kind: Secret
metadata:
  name: a
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: '{"stringData":{"k":"canary-d41d8cd9"}}'
stringData: {k: canary-d41d8cd9}
data: {canary: canary-d41d8cd9}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: b}, data: {k: canary-d41d8cd9}}
---
{apiVersion: v1, kind: Secret, metadata: {name: c}, data: canary-d41d8cd9}
`), Release{}, nil, now, redactor)
	document, err := in.Document()
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Objects) != 3 || strings.Contains(string(encoded), canary) {
		t.Errorf("%d objects, input %s; want 3 and no value in it", len(in.Objects), encoded)
	}
	if !strings.Contains(string(encoded), `"canary":"\u003credacted`) {
		t.Errorf("input %s; want keys kept and values marked", encoded)
	}
}
