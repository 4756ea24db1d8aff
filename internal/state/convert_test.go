package state

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state/v1alpha1"
	"chaperone.dev/chaperone/internal/testkit/generator"
)

var (
	names     = generator.Shared(rapid.StringMatching(`[a-z][a-z0-9]{0,8}`))
	hex       = generator.Shared(rapid.StringMatching(`[0-9a-f]{40}`))
	revisions = generator.Shared(rapid.Custom(func(t *rapid.T) source.Revision {
		return source.Revision(rapid.OneOf(rapid.Just(""), hex).Draw(t, "revision"))
	}))
	digests = generator.Shared(rapid.Custom(func(t *rapid.T) reconcile.Digest {
		return reconcile.Digest(rapid.OneOf(rapid.Just(""), rapid.StringMatching(`sha256:[0-9a-f]{64}`)).Draw(t, "digest"))
	}))
	reasons = generator.Shared(rapid.SampledFrom(append(promotion.Reasons(), "")))
	// Whole seconds, as Kubernetes keeps them.
	seconds = generator.Shared(rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "seconds"), 0).UTC()
	}))
	instants = generator.Shared(rapid.Custom(func(t *rapid.T) time.Time {
		return seconds.Draw(t, "at").Add(time.Duration(rapid.Int64Range(0, 999_999_999).Draw(t, "ns")))
	}))
	texts    = generator.Shared(rapid.StringN(0, 200, maxText))
	releases = generator.Shared(rapid.Custom(func(t *rapid.T) reconcile.Release {
		return reconcile.Release{Revision: revisions.Draw(t, "revision"), Digest: digests.Draw(t, "digest"), Policy: digests.Draw(t, "policy")}
	}))
	ids = generator.Shared(rapid.Custom(func(t *rapid.T) promotion.ID {
		return promotion.ID{Pipeline: names.Draw(t, "pipeline"), Name: names.Draw(t, "name")}
	}))
	journals = generator.Shared(rapid.Custom(func(t *rapid.T) reconcile.Journal {
		j := reconcile.Journal{
			Running: releases.Draw(t, "running"), LastGood: releases.Draw(t, "last good"),
			Attempt: reconcile.Attempt{
				Release: releases.Draw(t, "attempt"), Stage: reconcile.Stage(rapid.SampledFrom([]string{"", "applying", "reverting"}).Draw(t, "stage")),
				Tries: rapid.IntRange(0, 9).Draw(t, "tries"), Failure: reasons.Draw(t, "failure"), Guilty: revisions.Draw(t, "guilty"),
				Started: instants.Draw(t, "started"), Irreversible: rapid.Bool().Draw(t, "irreversible"), Override: rapid.Bool().Draw(t, "override"),
				Probe: rapid.Bool().Draw(t, "probe"), Proven: rapid.Bool().Draw(t, "proven"),
				Step: rapid.IntRange(0, 13).Draw(t, "step"), Course: reconcile.Course{Steps: rapid.IntRange(0, 13).Draw(t, "steps"), Digest: digests.Draw(t, "course")},
				Reached: instants.Draw(t, "reached"), Replicas: reconcile.Replicas(texts.Draw(t, "replicas")),
			},
			Search: reconcile.Search{Failed: releases.Draw(t, "search")},
			Proposal: reconcile.Proposal{Revision: revisions.Draw(t, "proposed"), Digest: digests.Draw(t, "proposed digest"), File: texts.Draw(t, "file"),
				Commit: revisions.Draw(t, "proposal"), Refused: reasons.Draw(t, "refused")},
			Run:    reconcile.Run{At: instants.Draw(t, "run"), Digest: digests.Draw(t, "run digest")},
			Served: texts.Draw(t, "served"), Accepted: revisions.Draw(t, "accepted"),
			Hold:       reconcile.Hold{Reason: reasons.Draw(t, "held"), Digest: digests.Draw(t, "held digest")},
			Retry:      reconcile.Retry{Reason: reasons.Draw(t, "retry"), Digest: digests.Draw(t, "retried"), At: instants.Draw(t, "retry at"), Tries: rapid.IntRange(0, 9).Draw(t, "retries")},
			LastRevert: reconcile.Revert{Guilty: revisions.Draw(t, "reverted"), Commit: revisions.Draw(t, "revert"), Digest: digests.Draw(t, "reverted digest")},
		}
		for range rapid.IntRange(0, 3).Draw(t, "verified") {
			j.Verified = append(j.Verified, reconcile.Verified{Release: releases.Draw(t, "verified"), At: instants.Draw(t, "at")})
			j.Quarantine = append(j.Quarantine, digests.Draw(t, "bad"))
			j.Search.Suspects = append(j.Search.Suspects, reconcile.Suspect{Revision: revisions.Draw(t, "suspect"), Digest: digests.Draw(t, "made")})
			j.Search.Failing = append(j.Search.Failing, digests.Draw(t, "failing"))
			j.Search.Untested = append(j.Search.Untested, digests.Draw(t, "untested"))
			j.Reverts = append(j.Reverts, instants.Draw(t, "reverted at"))
		}
		return j
	}))
	environments = generator.Shared(rapid.Custom(func(t *rapid.T) promotion.Environment {
		e := full().Environment
		e.ID, e.Path, e.Revision = ids.Draw(t, "id"), names.Draw(t, "path"), revisions.Draw(t, "pin")
		e.Prune, e.MaxDeletePart = rapid.Bool().Draw(t, "prune"), rapid.Float64Range(0, 1).Draw(t, "part")
		e.Promotion.Soak = time.Duration(rapid.Int64().Draw(t, "soak"))
		e.Verify.HTTP[0].Body = texts.Draw(t, "body")
		if rapid.Bool().Draw(t, "bare") {
			e.After, e.Access, e.Require, e.Target.Allow, e.Verify.HTTP, e.Governance.Deidentification = nil, nil, nil, nil, nil, nil
		}
		return e
	}))
	records = generator.Shared(rapid.Custom(func(t *rapid.T) Record {
		e := environments.Draw(t, "environment")
		id := e.ID
		if rapid.Bool().Draw(t, "never valid") {
			e = promotion.Environment{}
		}
		var excepted *policy.Countdown
		if rapid.Bool().Draw(t, "excepted") {
			excepted = &policy.Countdown{Exception: names.Draw(t, "exception"), Rule: "a/b", Expires: time.Unix(rapid.Int64Range(1, 1<<32).Draw(t, "expires"), 0).UTC()}
		}
		drill := Drill{At: seconds.Draw(t, "drilled"), Digest: reconcile.Digest(names.Draw(t, "drilled digest")), Tried: rapid.IntRange(0, 9).Draw(t, "tried"),
			Problem: texts.Draw(t, "problem"), Untold: texts.Draw(t, "untold")}
		return Record{
			Drill:    drill,
			Excepted: excepted,
			ID:       id, Environment: e, Journal: journals.Draw(t, "journal"),
			Status: reconcile.Status{
				Environment: id, Reason: reasons.Draw(t, "reason"), Wanted: releases.Draw(t, "wanted"), Until: seconds.Draw(t, "until"),
				Phase: rapid.SampledFrom([]reconcile.Phase{"", reconcile.PhaseReady, reconcile.PhaseProgressing, reconcile.PhaseHeld}).Draw(t, "phase"),
			},
			Message: texts.Draw(t, "message"), Evidence: texts.Draw(t, "evidence"), Since: seconds.Draw(t, "since"),
			Version: names.Draw(t, "version"),
		}
	}))
)

// Whatever the daemon knows survives the way into the custom resource, through
// its JSON, and back.
func TestRecordSurvivesConversion(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := records.Draw(t, "record")
		spec, err := specOf(want.ID, want.Environment)
		if err != nil {
			t.Fatal(err)
		}
		status, err := statusOf(want, v1alpha1.EnvironmentStatus{}, 3, seconds.Draw(t, "now"))
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(v1alpha1.Environment{
			ObjectMeta: metav1.ObjectMeta{Name: ObjectName(want.ID), ResourceVersion: want.Version}, Spec: spec, Status: status})
		if err != nil {
			t.Fatal(err)
		}
		var read v1alpha1.Environment
		if err := json.Unmarshal(encoded, &read); err != nil {
			t.Fatal(err)
		}
		got := recordOf(read)
		got.Since = got.Since.UTC()
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("came back as\n%+v\nwas\n%+v", got, want)
		}
	})
}

func TestReleaseSurvivesConversion(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := Release{
			Environment: ids.Draw(t, "id"), Release: releases.Draw(t, "release"), Phase: ReleaseFailed, Reason: reasons.Draw(t, "reason"),
			Subject: texts.Draw(t, "subject"), Evidence: texts.Draw(t, "evidence"),
			Guilty: revisions.Draw(t, "guilty"), Revert: revisions.Draw(t, "revert"),
			Started: instants.Draw(t, "started").Truncate(time.Microsecond),
		}
		if want.Release == (reconcile.Release{}) {
			t.Skip("an attempt has a release")
		}
		if rapid.Bool().Draw(t, "ended") {
			want.Ended = seconds.Draw(t, "at")
		}
		if rapid.Bool().Draw(t, "authored") {
			want.Author = source.Person{Name: "Dev One", Email: "dev@example.org"}
		}
		object := releaseObject(want)
		encoded, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		var read v1alpha1.Release
		if err := json.Unmarshal(encoded, &read); err != nil {
			t.Fatal(err)
		}
		got, err := releaseFrom(read)
		if err != nil {
			t.Fatal(err)
		}
		got.Started, got.Ended = got.Started.UTC(), got.Ended.UTC()
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("came back as\n%+v\nwas\n%+v", got, want)
		}
		if again := releaseObject(got).Name; again != object.Name {
			t.Fatalf("is called %s and was %s", again, object.Name)
		}
	})
}

func TestCutTextIsValid(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Repeat("x", rapid.IntRange(0, 3).Draw(t, "shift")) + strings.Repeat(rapid.SampledFrom([]string{"é", "a", "😀"}).Draw(t, "rune"),
			rapid.IntRange(0, 2*maxText).Draw(t, "count"))
		cut := clip(text)
		if !utf8.ValidString(cut) || len(cut) > maxText+len("…") || len(text) <= maxText && cut != text {
			t.Fatalf("%d bytes became %d", len(text), len(cut))
		}
	})
}

// An environment's ID has at most two labels' length, and so has its name.
func TestNamesFitKubernetes(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("a", 63)
	id := promotion.ID{Pipeline: longest, Name: longest}
	digest := reconcile.Digest("sha256:" + strings.Repeat("f", 64))
	release := releaseObject(Release{Environment: id, Release: reconcile.Release{Digest: digest}, Started: time.Unix(4e9, 0)})
	for _, name := range []string{ObjectName(id), chunkName(id, digest, maxChunkCount), release.Name} {
		if len(name) > 253 {
			t.Errorf("%s has %d characters", name, len(name))
		}
	}
	labels := labelsOf(id)
	labels[bundleLabel] = labelOf(digest)
	for key, value := range labels {
		if len(value) > 63 {
			t.Errorf("label %s=%s has %d characters", key, value, len(value))
		}
	}
	if problems := metav1validation.ValidateLabels(labels, nil); len(problems) > 0 {
		t.Error(problems)
	}
}
