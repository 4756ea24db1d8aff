package behavior

import (
	"testing"
	"time"
)

func TestOf(t *testing.T) {
	t.Parallel()
	const digest = "@sha256:0000000000000000000000000000000000000000000000000000000000000000"
	for _, tc := range []struct {
		image, annotation string
		want              string
	}{
		{image: "api", want: "healthy"},
		{image: "api:1.4.2", want: "healthy"},
		{image: "registry.example.org:5000/team/api", want: "healthy"},
		{image: "registry.example.org:5000/team/api:crash-loop", want: "crash-loop"},
		{image: "api:never-ready" + digest, want: "never-ready"},
		{image: "api" + digest, want: "healthy"},
		{image: "api:1.4.2-errors-100", want: "errors-100"},
		{image: "api:1.4.2_errors-25" + digest, want: "errors-25"},
		{image: "api:1.4.2_errors-25_build7", want: "errors-25"},
		{image: "api:errors-101", want: "healthy"},
		{image: "api:errors-", want: "healthy"},
		{image: "api:errors--5", want: "healthy"},
		{image: "api:v2-slow-300ms", want: "slow-300ms"},
		{image: "api:slow-99999999999ms", want: "healthy"},
		{image: "api:v2-fails-after-30s", want: "fails-after-30s"},
		{image: "migrate:v3-job-fail", want: "job-fail"},
		{image: "api:image-missing", want: "image-missing"},
		{image: "migrate:v3-exit-42", want: "exit-42"},
		{image: "migrate:v3-exit-0", want: "healthy"},
		{image: "migrate:v3-exit-256", want: "healthy"},
		{image: "api:v2-oom-loop", want: "oom-loop"},
		{image: "api:v2-restarts-3", want: "restarts-3"},
		{image: "api:v2-oom-1", want: "oom-1"},
		{image: "api:oom-1001", want: "healthy"},
		{image: "api:bloom-1", want: "healthy"},
		{image: "api:unhealthy", want: "healthy"},
		{image: "api:not-a-crash-loop-really", want: "healthy"},
		{image: "api:crash-loop", annotation: "healthy", want: "healthy"},
		{image: "api:1.0", annotation: "slow-20ms", want: "slow-20ms"},
	} {
		var annotations map[string]string
		if tc.annotation != "" {
			annotations = map[string]string{Annotation: tc.annotation}
		}
		if got := Of(annotations, tc.image).String(); got != tc.want {
			t.Errorf("image %q, annotation %q: %s, want %s", tc.image, tc.annotation, got, tc.want)
		}
	}
}

func TestErrorShareIsExact(t *testing.T) {
	t.Parallel()
	for percent := range 101 {
		b := Behavior{Kind: Errors, Percent: percent}
		failed := 0
		for n := uint64(1); n <= 200; n++ {
			if b.FailsRequest(n, time.Time{}, time.Time{}) {
				failed++
			}
		}
		if failed != 2*percent {
			t.Errorf("errors-%d: %d of 200 failed, want %d", percent, failed, 2*percent)
		}
	}
}

func TestFailsAfter(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	b := Behavior{Kind: FailsAfter, After: 5 * time.Second}
	if b.FailsRequest(1, start, start.Add(4999*time.Millisecond)) {
		t.Error("fails before its time")
	}
	if !b.FailsRequest(1, start, start.Add(5*time.Second)) {
		t.Error("does not fail when its time has come")
	}
}

// A behaviour that was read is written as a tag that reads as the same behaviour.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "healthy", "1.4.2_errors-100", "slow-5ms", "v-fails-after-1s", "errors-0100"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, tag string) {
		b, ok := Parse(tag)
		if b.Code < 0 || b.Code > 255 || b.Times < 0 || b.Times > MaxTimes || b.Percent < 0 || b.Percent > 100 || b.Delay < 0 || b.Delay > MaxDelay || b.After < 0 || b.After > MaxLife {
			t.Fatalf("%q: out of bounds: %+v", tag, b)
		}
		again, okAgain := Parse(b.String())
		if ok && (!okAgain || again != b) {
			t.Fatalf("%q: %+v reads again as %+v", tag, b, again)
		}
	})
}
