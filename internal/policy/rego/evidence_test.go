package rego

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"chaperone.dev/chaperone/internal/evidence"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/attest"
)

// records is a snapshot of evidence that counts what is read.
type records struct {
	fstest.MapFS
	read   map[string]int
	broken bool
}

func newRecords() *records { return &records{MapFS: fstest.MapFS{}, read: map[string]int{}} }

func (r *records) put(pipeline, name string, content []byte) {
	r.MapFS[path.Join(evidence.Dir(pipeline), name)] = &fstest.MapFile{Data: content}
}

func (r *records) Revision() source.Revision { return source.WorkingTree }

func (r *records) Open(name string) (fs.File, error) {
	if r.read[name]++; r.broken && path.Ext(name) == ".json" {
		return nil, errors.New("disk is broken")
	}
	return r.MapFS.Open(name)
}

func (r *records) Hash(name string) (string, error) {
	info, err := fs.Stat(r.MapFS, name)
	switch {
	case err != nil:
		return "", nil
	case info.IsDir():
		return source.Dir, nil
	}
	return fmt.Sprintf("%x", r.MapFS[name].Data), nil
}

func (r *records) folder(t *testing.T) evidence.Folder {
	t.Helper()
	folder, err := evidence.List(r, "novamind")
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

const tells = `
audit contains json.marshal(input.evidence) if "Pod" in {o.kind | some o in input.objects}`

// telling is a bundle with a rule that says what it sees of evidence.
func telling(t *testing.T, keys map[string]any) textFiles {
	t.Helper()
	files := withExamples(textFiles{"test/one/rule.rego": header("test/one") + denyBad("test.one", ""),
		"test/two/rule.rego":               releaseHeader("test/two") + "package test.two\n\ndeny contains \"two\" if count(input.objects) > 1\n" + tells + "\n",
		"test/two/testdata/fail/more.yaml": configMap("a") + "---\n" + configMap("b")})
	delete(files, "test/two/testdata/fail/bad.yaml")
	files["test/two/testdata/pass/good.yaml"] = configMap("good")
	data, err := json.Marshal(map[string]any{"evidence": map[string]any{"keys": keys}})
	if err != nil {
		t.Fatal(err)
	}
	files["params/data.json"] = string(data)
	return files
}

func told(t *testing.T, report policy.Report) evidence.Facts {
	t.Helper()
	var facts evidence.Facts
	for _, f := range report.Findings {
		if f.Rule == "test/two" && f.Action == policy.ActionAudit {
			if err := json.Unmarshal([]byte(f.Message), &facts); err != nil {
				t.Fatal(err)
			}
			return facts
		}
	}
	t.Fatalf("%+v; want what the rule saw", report)
	return facts
}

var (
	pinned = "sha256:" + strings.Repeat("a", 64)
	pod    = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: \"r.example.org/a@" + pinned + "\"}]}\n"
)

// Rules see what keys of the bundle have signed of the images of the release.
// A file is read once, and again when it changes.
func TestEvidence(t *testing.T) {
	t.Parallel()
	ci, other := attest.ECDSA(t), attest.ECDSA(t)
	bundle := loadFiles(t, telling(t, map[string]any{"ci": ci.Key("signature")}))
	files := newRecords()
	files.put("novamind", "a.json", ci.Image(pinned))
	files.put("novamind", "b.json", other.Image(pinned))
	files.put("novamind", "c.json", ci.Image("sha256:"+strings.Repeat("b", 64)))
	in := inputOf(t, promotion.DataPHI, pod)
	for range 3 {
		in.Recorded = files.folder(t)
		facts := told(t, evaluate(t, bundle, in))
		if len(facts.Images) != 1 || len(facts.Images[0].Signatures) != 1 || facts.Images[0].Signatures[0].Key != "ci" ||
			len(facts.Refused) != 1 || facts.Refused[0].File != "environments/novamind/evidence/b.json" {
			t.Errorf("%+v; want what ci has signed, and b.json refused", facts)
		}
	}
	if n := files.read["environments/novamind/evidence/a.json"]; n != 1 {
		t.Errorf("read %d times; want once", n)
	}
	files.put("novamind", "a.json", other.Image(pinned))
	in.Recorded = files.folder(t)
	if facts := told(t, evaluate(t, bundle, in)); len(facts.Images[0].Signatures) != 0 || len(facts.Refused) != 2 {
		t.Errorf("%+v; want what changed to be read anew", facts)
	}
	if !bundle.byContent {
		t.Error("a verdict on evidence is not that of every commit; want it to be")
	}
}

// Evidence that cannot be read may be what denies.
func TestEvidenceThatCannotBeRead(t *testing.T) {
	t.Parallel()
	keys := map[string]any{"ci": attest.ECDSA(t).Key("signature")}
	files := newRecords()
	files.put("novamind", "a.json", []byte("{}"))
	files.broken = true
	in := inputOf(t, promotion.DataPHI, pod)
	in.Recorded = files.folder(t)
	report := evaluate(t, loadFiles(t, telling(t, keys)), in)
	if report.Verdict != policy.VerdictError || !strings.Contains(report.Errors[0].Message, "disk is broken") {
		t.Errorf("%s, %v; want an error", report.Verdict, report.Errors)
	}
	// Where no key could have signed it, or no rule looks, nothing is read.
	for name, bundle := range map[string]textFiles{"no key": telling(t, nil), "no rule": oneRule("")} {
		if report := evaluate(t, loadFiles(t, bundle), in); report.Verdict != policy.VerdictAllow {
			t.Errorf("%s: %s, %v; want it not read", name, report.Verdict, report.Errors)
		}
	}
}

// A key that is not understood would trust nobody, or the wrong one.
func TestEvidenceKeysAreChecked(t *testing.T) {
	t.Parallel()
	got := refusal(t, telling(t, map[string]any{"ci": map[string]any{"public_key": "x", "may": []any{"scan"}}}))
	if want := "data.params.evidence.keys: ci: public_key: want a PEM block"; !strings.Contains(got, want) {
		t.Errorf("%s; want %s", got, want)
	}
}
