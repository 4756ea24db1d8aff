package rego

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	pssapi "k8s.io/pod-security-admission/api"
	psspolicy "k8s.io/pod-security-admission/policy"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

const (
	podSeed    = 20260522
	podBatch   = 250 // judged as one release
	maxReports = 3   // of disagreements
)

// Every rule says of every pod what upstream says of it.
func TestPodSecurityAgreesWithUpstream(t *testing.T) {
	t.Parallel()
	count := 100_000
	if racing.Few() {
		count = 1_000
	}
	counts := agree(t, newestPSS, podSeed, count)
	for c, control := range controls {
		name := fmt.Sprintf("%s with %s data", control.rule, control.data)
		t.Logf("%-45s allowed %d, denied %d", name, counts.allowed[c], counts.denied[c])
		if least := count / 40; counts.allowed[c] < least || counts.denied[c] < least {
			t.Errorf("%s: want at least %d pods allowed and denied, or this proves nothing", name, least)
		}
	}
}

func TestPodSecurityAgreesOnOlderVersions(t *testing.T) {
	t.Parallel()
	count := 250
	if racing.Few() {
		count = 50
	}
	for minor := range newestPSS.Minor() {
		if racing.Few() && minor%9 != 0 {
			continue
		}
		t.Run(fmt.Sprintf("1.%d", minor), func(t *testing.T) {
			t.Parallel()
			agree(t, pssapi.MajorMinorVersion(1, minor), podSeed+uint64(minor)+1, count)
		})
	}
}

// agree compares pods made by chance, on all processors.
func agree(t *testing.T, version pssapi.Version, seed uint64, count int) *tally {
	t.Helper()
	judge, counts := newPodJudge(t, version), &tally{}
	var next atomic.Int64
	var failed atomic.Bool
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for !failed.Load() {
				first := int(next.Add(podBatch)) - podBatch
				if first >= count {
					return
				}
				pods := make([]tried, 0, podBatch)
				for i := first; i < min(first+podBatch, count); i++ {
					maker := newPodMaker(seed, uint64(i))
					pods = append(pods, tried{maker.template(), i % len(kinds), fmt.Sprintf("pod %d of seed %d", i, seed)})
				}
				if !judge.agrees(t, pods, counts) && failed.CompareAndSwap(false, true) {
					return
				}
			}
		})
	}
	workers.Wait()
	return counts
}

// agrees reports the first few disagreements.
func (j podJudge) agrees(t *testing.T, pods []tried, counts *tally) bool {
	found, err := j.compare(t, pods, counts)
	if err != nil {
		t.Error(err)
	}
	for _, d := range found[:min(len(found), maxReports)] {
		j.report(t, d)
	}
	return err == nil && len(found) == 0
}

// Upstream's own examples of every version, bare and in every kind. What passes
// and fails there passes and fails by the evaluator as it is, too, so that the
// files are read as they are meant.
func TestPodSecurityFixtures(t *testing.T) {
	t.Parallel()
	whole, err := psspolicy.NewEvaluator(psspolicy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	fixtures := fixtureDir(t)
	versions, _ := filepath.Glob(filepath.Join(fixtures, "baseline", "v1.*"))
	if len(versions) != newestPSS.Minor()+1 {
		t.Errorf("fixtures of %d versions, want one each up to 1.%d", len(versions), newestPSS.Minor())
	}
	if racing.Few() {
		versions = []string{newestPSS.String()}
	}
	for _, dir := range versions {
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			version, err := pssapi.ParseVersion(name)
			if err != nil {
				t.Fatal(err)
			}
			pods := readFixtures(t, fixtures, whole, version)
			if version == newestPSS && len(pods) != 148*len(kinds) {
				t.Errorf("%d pods, want 148 in each of %d kinds", len(pods), len(kinds))
			}
			newPodJudge(t, version).agrees(t, pods, &tally{})
		})
	}
}

func fixtureDir(t *testing.T) string {
	t.Helper()
	const module = "k8s.io/pod-security-admission"
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("find module %s: %v", module, err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "test", "testdata")
}

func readFixtures(t *testing.T, dir string, whole psspolicy.Evaluator, version pssapi.Version) []tried {
	t.Helper()
	var pods []tried
	for _, level := range []pssapi.Level{pssapi.LevelBaseline, pssapi.LevelRestricted} {
		files, _ := filepath.Glob(filepath.Join(dir, string(level), version.String(), "*", "*.yaml"))
		for _, file := range files {
			template := readFixture(t, file)
			pod, err := typed(template)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			results := whole.EvaluatePod(pssapi.LevelVersion{Level: level, Version: version}, &pod.ObjectMeta, &pod.Spec)
			passes := !slices.ContainsFunc(results, func(r psspolicy.CheckResult) bool { return !r.Allowed })
			if shouldPass := filepath.Base(filepath.Dir(file)) == "pass"; passes != shouldPass {
				t.Errorf("%s: upstream's evaluator passes it: %v", file, passes)
			}
			for _, kind := range fixtureKinds(version, len(pods)) {
				pods = append(pods, tried{template, kind, file})
			}
		}
	}
	return pods
}

// fixtureKinds are all for the newest version, and one in turn for each older.
func fixtureKinds(version pssapi.Version, n int) []int {
	if version != newestPSS {
		return []int{n % len(kinds)}
	}
	all := make([]int, len(kinds))
	for i := range all {
		all[i] = i
	}
	return all
}

func readFixture(t *testing.T, file string) fields {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := manifest.Decode(file, content)
	if err != nil || len(objects) != 1 || objects[0].GetKind() != "Pod" {
		t.Fatalf("%s: %d objects, %v; want one pod", file, len(objects), err)
	}
	return fields{"metadata": objects[0].Object["metadata"], "spec": objects[0].Object["spec"]}
}
