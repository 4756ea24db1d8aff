package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/testkit/attest"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

// signedSample is a copy of the sample whose security team has named a key.
type signedSample struct {
	*testing.T
	dir    string
	ci     *attest.Signer
	bundle *rego.Bundle
}

func recordedSample(t *testing.T) signedSample {
	t.Helper()
	r := signedSample{T: t, dir: t.TempDir(), ci: attest.ECDSA(t)}
	for _, name := range []string{"base", "overlays", "environments", "policies"} {
		if err := os.CopyFS(filepath.Join(r.dir, name), os.DirFS(filepath.Join("../..", name))); err != nil {
			t.Fatal(err)
		}
	}
	params := filepath.Join(r.dir, "policies/params/data.yaml")
	before := r.read(params)
	key := "  keys:\n    ci:\n      may: [signature, scan, test]\n      public_key: |\n        " +
		strings.ReplaceAll(strings.TrimSpace(r.ci.Public), "\n", "\n        ") + "\n"
	after := strings.Replace(before, "  keys: {}\n", key, 1)
	if after == before {
		t.Fatal("params/data.yaml has no evidence.keys to fill in")
	}
	r.write(params, []byte(after))
	var err error
	if r.bundle, err = rego.LoadDir(t.Context(), filepath.Join(r.dir, "policies"), rego.DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r signedSample) read(name string) string {
	r.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		r.Fatal(err)
	}
	return string(content)
}

func (r signedSample) write(name string, content []byte) {
	r.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		r.Fatal(err)
	}
}

// digests are all that overlays and bases name.
func (r signedSample) digests() []string {
	r.Helper()
	var found []string
	for _, dir := range []string{"base", "overlays"} {
		err := filepath.WalkDir(filepath.Join(r.dir, dir), func(name string, entry os.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				found = append(found, regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindAllString(r.read(name), -1)...)
			}
			return err
		})
		if err != nil {
			r.Fatal(err)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func (r signedSample) file(digest string) string {
	return filepath.Join(r.dir, "environments/novamind/evidence", strings.TrimPrefix(digest, "sha256:")[:12]+".jsonl")
}

// record writes all evidence about an image, as of a time.
func (r signedSample) record(digest string, scanned time.Time, found ...string) {
	r.write(r.file(digest), bytes.Join([][]byte{
		r.ci.Image(digest),
		r.ci.Statement(attest.Scan, attest.Scanned(scanned, found...), digest),
		r.ci.Statement(attest.Test, attest.Tested("PASSED"), digest),
	}, []byte("\n")))
}

// findings of the three rules, as rule and action.
func (r signedSample) findings(environment string) (verdict policy.Verdict, found []string) {
	r.Helper()
	tree, err := loadWorkTree(r.dir)
	if err != nil {
		r.Fatal(err)
	}
	defer tree.close()
	id, err := promotion.ParseID(environment)
	if err != nil {
		r.Fatal(err)
	}
	beside := newAround(tree, render.New(render.DefaultLimits()), r.bundle)
	report, err := (&checkFlags{}).judge(r.Context(), &command{}, beside, tree.set.Environments[id])
	if err != nil {
		r.Fatal(err)
	}
	for _, f := range report.Findings {
		if slices.Contains([]string{"image/signed", "image/scanned", "promotion/tests-passed"}, f.Rule) {
			found = append(found, string(f.Action)+" "+f.Rule)
		}
	}
	slices.Sort(found)
	return report.Verdict, slices.Compact(found)
}

// Where a key is named the sample passes with evidence about all its images, and
// does not when any of it is missing, old or not what was signed.
func TestSampleWithEvidence(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	r := recordedSample(t)
	now := time.Now()
	digests := r.digests()
	for _, digest := range digests {
		r.record(digest, now.Add(-time.Hour))
	}
	for _, environment := range []string{"novamind/development", "novamind/staging", "novamind/production"} {
		if verdict, found := r.findings(environment); verdict != policy.VerdictAllow || len(found) > 0 {
			t.Errorf("%s: %s, %v; want it allowed without a word", environment, verdict, found)
		}
	}
	image := r.imageOf("production")
	name := r.file(image)
	tests := []struct {
		name   string
		change func()
		want   []string
	}{
		{"nothing is recorded", func() { _ = os.Remove(name) }, []string{"deny image/scanned", "deny image/signed", "deny promotion/tests-passed"}},
		{"the scan is old", func() { r.record(image, now.AddDate(0, 0, -31)) }, []string{"deny image/scanned"}},
		{"the scan found something", func() { r.record(image, now, "CVE-2026-0001", "CRITICAL") }, []string{"deny image/scanned"}},
		{"it is not what was signed", func() {
			r.write(name, regexp.MustCompile(`"payload":"....`).ReplaceAll([]byte(r.read(name)), []byte(`"payload":"eyJ7`)))
		}, []string{"deny image/scanned", "deny promotion/tests-passed", "warn image/signed"}},
	}
	for _, tt := range tests {
		r.record(image, now)
		tt.change()
		if verdict, found := r.findings("novamind/production"); verdict != policy.VerdictDeny || !slices.Equal(found, tt.want) {
			t.Errorf("%s: %s, %v; want %v", tt.name, verdict, found, tt.want)
		}
	}
}

// imageOf is the digest of one image that runs in an environment.
func (r signedSample) imageOf(environment string) string {
	r.Helper()
	tree, err := loadWorkTree(r.dir)
	if err != nil {
		r.Fatal(err)
	}
	defer tree.close()
	env := tree.set.Environments[promotion.ID{Pipeline: "novamind", Name: environment}]
	result, err := tree.render(r.Context(), render.New(render.DefaultLimits()), env)
	if err != nil {
		r.Fatal(err)
	}
	for _, image := range policy.Images(result.Set.Objects(), policy.StandardPodTemplates()) {
		if image.Digest != "" {
			return image.Digest
		}
	}
	r.Fatalf("%s runs no image with a digest", environment)
	return ""
}
