package preview

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// A hunk says which field it is in, and whose.
func TestHunks(t *testing.T) {
	t.Parallel()
	const pod = `kind: Pod
spec:
  containers:
  - image: a:1
    name: first
    ports:
    - containerPort: 80
      name: http
  - image: b:1
    env:
    - name: LEVEL
      value: info
    name: second
  nodes:
  - a
  - b
`
	for _, test := range []struct{ old, now, want string }{
		{"kind: Pod", "kind: Job", "@@"},
		{"a:1", "a:2", "@@ spec.containers"},
		{"80", "81", "@@ spec.containers[first].ports"},
		{"name: http", "name: web", "@@ spec.containers[first].ports[http]"},
		{"value: info", "value: debug", "@@ spec.containers[second].env[LEVEL]"},
		{"  - b\n", "", "@@ spec.nodes"},
	} {
		first, _, _ := strings.Cut(hunks(pod, strings.Replace(pod, test.old, test.now, 1)), "\n")
		if first != test.want {
			t.Errorf("%q to %q: %q, want %q", test.old, test.now, first, test.want)
		}
	}
	if text := hunks(pod, pod); text != "" {
		t.Errorf("nothing differs, and it says %q", text)
	}
}

// Whatever the texts are, every line of a hunk is marked as one, and applying
// them in mind gives what was there: no line is lost or made up.
func TestHunksHoldTheLines(t *testing.T) {
	t.Parallel()
	word := rapid.SampledFrom([]string{"a: 1", "- b", "  c:", "  - name: d", "    e: 2", "", "--- x", "+++ y", "@@ -1 +1 @@", "#"})
	rapid.Check(t, func(t *rapid.T) {
		before := strings.Join(rapid.SliceOfN(word, 0, 12).Draw(t, "before"), "\n") + "\n"
		after := strings.Join(rapid.SliceOfN(word, 0, 12).Draw(t, "after"), "\n") + "\n"
		added, removed := 0, 0
		for line := range strings.Lines(hunks(before, after)) {
			switch {
			case line[0] == '+':
				added++
			case line[0] == '-':
				removed++
			case line[0] != ' ' && !strings.HasPrefix(line, "@@"):
				t.Errorf("%q is no line of a hunk", line)
			}
		}
		if got, want := added-removed, strings.Count(after, "\n")-strings.Count(before, "\n"); got != want {
			t.Errorf("%d lines more, want %d", got, want)
		}
	})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	const old = `spec:
  revision: a
  data: phi
  promotion: {approval: {required: 2, from: [a, b]}}
  verify: {http: [{name: api, path: /x, headers: {Authorization: canary-one}}]}
`
	const now = `spec:
  revision: b
  data: synthetic
  promotion: {approval: {from: [a]}}
  verify: {http: [{name: api, path: /y, headers: {Authorization: canary-two}}]}
`
	text := fmt.Sprint(Settings([]byte(old), []byte(now)))
	want := `[{data "phi" "synthetic"} {promotion.approval.from ["a","b"] ["a"]} {promotion.approval.required 2 } ` +
		`{verify.http[api].headers.Authorization (not shown) (not shown)} {verify.http[api].path "/x" "/y"}]`
	if text != want {
		t.Errorf("%s, want %s", text, want)
	}
	if got := Settings([]byte("\t: no YAML"), []byte(old)); len(got) == 0 {
		t.Error("what was no YAML says nothing new")
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	id := promotion.ID{Pipeline: "shop", Name: "staging"}
	denied := Environment{ID: id, Effect: Changed, Judgement: Judgement{Verdict: policy.VerdictDeny, New: []policy.Finding{{Action: policy.ActionDeny}}}}
	for _, test := range []struct {
		environment Environment
		want        Status
	}{
		{denied, Status{"chaperone/shop/staging", Failure, "denied: 1 new; none"}},
		{Environment{ID: id, Effect: Later, Judgement: Judgement{Verdict: policy.VerdictAllow}}, Status{"chaperone/shop/staging", Success, "allowed; once promoted, none"}},
		{Environment{ID: id, Effect: Removed}, Status{"chaperone/shop/staging", Success, "its file goes; what it ran is left as it is"}},
		{Environment{ID: id, Effect: Invalid, Fault: &Fault{Reason: promotion.InvalidEnvironment, Text: "x.yaml:3: wrong\nmore"}},
			Status{"chaperone/shop/staging", Failure, "InvalidEnvironment: x.yaml:3: wrong"}},
	} {
		if got := (Preview{Environments: []Environment{test.environment}}).Statuses(); len(got) != 1 || got[0] != test.want {
			t.Errorf("%+v, want %+v", got, test.want)
		}
	}
	for _, test := range []struct {
		journey Journey
		want    State
		text    string
	}{
		{Journey{Environment: id, Reason: promotion.Soaking, Text: "upstream verified it a minute ago"}, Pending, "Soaking: upstream verified it a minute ago"},
		{Journey{Environment: id, Verified: true}, Success, "verified"},
		{Journey{Environment: id, Verified: true, Reverted: true, Reason: promotion.Reverted, Text: "by 0123"}, Failure, "Reverted: by 0123"},
		{Journey{Environment: id, Reason: promotion.ApplyRejected, Text: strings.Repeat("é\x00", 200)}, Pending, ""},
	} {
		got := test.journey.Status()
		if got.State != test.want || test.text != "" && got.Description != test.text || utf8.RuneCountInString(got.Description) > MaxStatus {
			t.Errorf("%+v, want %s %q", got, test.want, test.text)
		}
	}
}
