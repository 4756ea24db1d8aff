package demo

import (
	"context"

	"chaperone.dev/chaperone/internal/promotion"
)

// scene is one step: what is told before, what is done, and where to look after.
type scene struct {
	name  string
	title string
	story string
	play  func(*demo, context.Context) (detail string, err error)
	look  []command
}

// command is something to type, and this program's or git's arguments for it.
type command struct {
	program string // "chaperone" or "git"
	args    []string
}

func chaperone(args ...string) command { return command{"chaperone", args} }
func git(args ...string) command       { return command{"git", args} }

// system is one of the sample's pipelines, in its order: two environments that
// follow the branch, then two that are promoted by merging the move of a pin.
type system struct {
	name      string
	automatic []promotion.ID
	pinned    []promotion.ID
}

func env(pipeline, name string) promotion.ID { return promotion.ID{Pipeline: pipeline, Name: name} }

func crohns() system {
	return system{"crohns",
		[]promotion.ID{env("crohns", "development"), env("crohns", "integration")},
		[]promotion.ID{env("crohns", "staging"), env("crohns", "production")}}
}

func novamind() system {
	return system{"novamind",
		[]promotion.ID{env("novamind", "development"), env("novamind", "testing")},
		[]promotion.ID{env("novamind", "staging"), env("novamind", "production")}}
}

// followers are the environments that follow the branch at once.
func followers() []promotion.ID { return append(crohns().automatic[:1], novamind().automatic...) }

// scheduled is the one that follows it on a schedule.
func scheduled() promotion.ID { return crohns().automatic[1] }

// script is the tour. Its names are those of the steps in the result.
//
//lint:long because it is the tour's text, to be read in one go
func script() []scene {
	return []scene{
		{
			name:  "both pipelines to production",
			title: "Two systems go to production",
			story: `Crohns and Novamind, two healthcare systems, stand in one Git repository as kustomize bases and overlays. The
platform's namespaces and accounts come first. Then the first two environments of each system follow the branch: what is merged is
rendered, judged by the policies, applied and verified there, in order. Staging and production are pinned to a commit. For what the
environment before has verified, the daemon pushes a branch that moves the pin by one line; merging it is the promotion. The developer
wrote the change, so the release manager has to merge: nobody approves what they wrote.`,
			play: (*demo).toProduction,
			look: []command{chaperone("status"), git("log", "--first-parent", "--format=%h %an: %s", "-5"), git("log", "-1", branch+"^2")},
		},
		{
			name:  "policy violation held, the other pipeline goes on",
			title: "A change that no policy allows",
			story: `A developer makes a container of Novamind's API privileged, to look into something for five minutes. The next commit
is a good one, for Crohns. The first is held where it would have run, with the rule, the object and the field named, and nothing was
touched; the second arrives.`,
			play: (*demo).policyViolation,
			look: []command{chaperone("history", "crohns/development")},
		},
		{
			name:  "urgent commit enters a scheduled environment",
			title: "A fix that cannot wait for the morning",
			story: `Crohns' integration changes once a day, in the morning, so the change of the step before waits there. Now comes a
fix with the trailer "Chaperone-Urgent: true". It goes at once to where development has verified it, with what waited before it.`,
			play: (*demo).urgentFix,
			look: []command{chaperone("history", "crohns/integration")},
		},
		{
			name:  "commit that never gets ready: restored and reverted",
			title: "A release that never gets ready",
			story: `A new version of Novamind's API starts, and its readiness probe never answers. Policies cannot know that; verification
does. What ran before is restored at once, from the cluster's own store, and then the commit is taken back in Git, so that the branch
never says something that does not work. To keep the tour short, the environment's verify.timeout is lowered to 20 s first, in a commit
of its own.`,
			play: (*demo).neverReady,
			look: []command{chaperone("history", "novamind/development"), git("log", "-1")},
		},
		{
			name:  "commit that answers 500, among good ones: found, restored and reverted",
			title: "One of three is broken",
			story: `Three new versions for Crohns are merged together. One of them, Core, gets ready as far as Kubernetes can tell, and
answers every request with an error. The environment's HTTP checks ask it through its Service, as its callers do. What ran before is
restored. Then the daemon deploys the commits one by one, from the middle, finds the guilty one and takes it back, and the others come
forward.`,
			play: (*demo).oneOfThree,
			look: []command{chaperone("history", "crohns/development"), git("log", "--format=%h %an: %s", "-4")},
		},
		{
			name:  "manual edit put back",
			title: "A hotfix by hand, in production",
			story: `Somebody runs kubectl set image on a Deployment in Novamind's production, past review, policies and verification. The
daemon watches what it owns, sees a field that it set changed, and puts it back.`,
			play: (*demo).manualEdit,
			look: []command{{"kubectl", []string{"get", "events", "--namespace", namespace, "--field-selector", "reason=Drifted",
				"--output", "custom-columns=REASON:.reason,OBJECT:.involvedObject.name,MESSAGE:.message"}}},
		},
		{
			name:  "removed object pruned after verification",
			title: "An object leaves Git",
			story: `Novamind's model training is retired: its directory is dropped from the kustomization. The release without it is
applied and verified while the old objects are still there, for it might have to be taken back. Only then are they deleted.`,
			play: (*demo).prune,
			look: []command{chaperone("history", "novamind/development")},
		},
		{
			name:  "daemon killed mid-apply and restarted",
			title: "The daemon dies half way",
			story: `A release that touches every object of an environment is on its way; the first objects are written, the others are not,
and the daemon is killed with SIGKILL. The next one reads the journal, takes the release up where it was left, and nothing is taken back
that was not at fault.`,
			play: (*demo).killed,
			look: []command{chaperone("status")},
		},
	}
}
