package render

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/fault"
)

// enough time for one property: on a busy machine, with the race detector,
// kustomize is fifty times slower.
const enough = 30 * time.Second

// Whatever a repository holds, kustomize on disk and we over the snapshot
// agree: on the bytes, or that it is an error.
func TestRandomRepositoriesRenderAsByKustomize(t *testing.T) {
	t.Parallel()
	built, refused, begin := 0, 0, time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		if time.Since(begin) > enough {
			return
		}
		repo := drawRepo(rt)
		oracle := kustomizeBuild
		if strings.Contains(repo.show(), "openapi:") {
			oracle = kustomizeProcess
		}
		want, wantErr := oracle(repo.onDisk(t) + "/o")
		got, err := New(patient).Render(t.Context(), repo.snapshot(), "o")
		if (err == nil) != (wantErr == nil) {
			rt.Fatalf("we: %v\nkustomize: %v\n%s", err, wantErr, repo.show())
		}
		if err != nil {
			refused++
			if !fault.IsTerminal(err) || strings.Contains(err.Error(), mount) {
				rt.Fatalf("error %q is not terminal, or not fit for people", err)
			}
			return
		}
		built++
		if printed(t, got) != string(want) {
			rt.Fatalf("we:\n%s\nkustomize:\n%s\n%s", printed(t, got), want, repo.show())
		}
		checkSet(t, got)
	})
	t.Logf("%d built, %d refused by both", built, refused)
	if tried := built + refused; built*10 < tried || refused*10 < tried || tried == 0 {
		t.Errorf("%d built and %d refused: the repositories are too one-sided to show much", built, refused)
	}
}

func (f files) show() string {
	var b strings.Builder
	for _, name := range f.names() {
		b.WriteString("== " + name + "\n" + f[name] + "\n")
	}
	return b.String()
}

// A closure is enough: what is not in it can change, go or come without
// effect; what is in it cannot.
func TestClosureIsSufficientAndNecessary(t *testing.T) {
	t.Parallel()
	tried, built, begin := 0, 0, time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		if time.Since(begin) > enough {
			return
		}
		tried++
		repo := drawRepo(rt)
		r := New(patient)
		first, err := r.Render(t.Context(), repo.snapshot(), "o")
		if err != nil {
			return
		}
		built++
		others := files{"new/kustomization.yaml": "namespace: x\n", "o/new.yaml": "a: [\n"}
		for name, content := range repo {
			switch _, looked := first.Closure[name]; {
			case looked:
				others[name] = content
			case rapid.Bool().Draw(rt, "changed rather than removed"):
				others[name] = "changed: [\n"
			}
		}
		again, err := New(patient).Render(t.Context(), others.snapshot(), "o")
		if err != nil || printed(t, again) != printed(t, first) {
			rt.Fatalf("files outside of the closure changed the result: %v\n%s", err, repo.show())
		}
		mustRender(t, r, others, "o")
		if got := r.Stats(); got.Builds != 1 {
			rt.Fatalf("files outside of the closure led to a build")
		}
		name := rapid.SampledFrom(files(first.Closure).names()).Draw(rt, "closure file")
		if first.Closure[name] == "dir" {
			return
		}
		_, _ = r.Render(t.Context(), repo.with(name, repo[name]+"\n# changed\n").snapshot(), "o")
		if got := r.Stats(); got.Builds != 2 {
			rt.Fatalf("%s is in the closure and changed, but nothing was built", name)
		}
	})
	if built*10 < tried || built == 0 {
		t.Errorf("only %d of %d repositories were built", built, tried)
	}
}
