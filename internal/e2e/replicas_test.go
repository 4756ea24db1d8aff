package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/reconcile"
)

// Two daemons without a lease: the journal is the fence. They get there, and
// take the bad commit back once.
func TestTwoDaemonsWithoutLeaseRevertOnce(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	w.start()
	w.start()
	w.awaitRuns(development, w.first)
	good := w.push("version 2", version("2.0.0"))
	w.awaitRuns(development, good)
	w.wantApp(development, "2.0.0")
	bad := w.push("break it", version("3.0.0-errors-100"))
	w.await("a revert", func() bool { return w.head() != bad })
	w.awaitRuns(development, w.head())
	w.wantRevert(bad, good, development, "answered 500")
	w.never("one of the daemons goes on", 3*time.Second, func() bool {
		return len(w.reverts()) > 1 || w.runs(development) != "2.0.0"
	})
	w.wantApp(development, "2.0.0")
}

// With a lease one acts and the other stands by, and takes over from one that
// was killed in the middle of a restore.
func TestStandbyTakesOver(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	leading := map[string]string{"leader-election": "true"}
	leader := w.spawn(w.settings(leading))
	w.awaitRuns(development, w.first)
	standby := w.spawn(w.settings(leading))
	w.await("the second to stand by", func() bool { return contains(standby.log, "standing by") })
	// A rolling update waits for the new replica before it stops the old one.
	w.await("the one that stands by to be ready", func() bool {
		return strings.HasPrefix(fetch(t, "http://"+standby.address()+"/readyz"), "ready")
	})
	w.api.set(once(stages(development, reconcile.StageNone, func(_, to reconcile.Stage) fate {
		if to != reconcile.StageRestoring {
			return fate{}
		}
		return fate{lose: true, sent: true, then: leader.kill}
	})))
	bad := badStory.begin(w)
	badStory.end(w, bad)
	if contains(leader.log, `"action":"revert"`) || !contains(standby.log, `"action":"revert"`) {
		t.Error("the revert was not the standby's")
	}
}

// A replica that was paused past its lease does not act when it goes on: the
// other has taken the commit back by then.
func TestPitfall38_PausedReplicaDoesNotAct(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	leading := map[string]string{"leader-election": "true"}
	leader := w.spawn(w.settings(leading))
	w.awaitRuns(development, w.first)
	standby := w.spawn(w.settings(leading))
	w.await("the second to stand by", func() bool { return contains(standby.log, "standing by") })
	w.api.set(once(stages(development, reconcile.StageNone, func(_, to reconcile.Stage) fate {
		if to != reconcile.StageReverting {
			return fate{}
		}
		return fate{then: func() { _ = leader.cmd.Process.Signal(syscall.SIGSTOP) }}
	})))
	bad := badStory.begin(w)
	badStory.end(w, bad)
	if err := leader.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.await("the replica that was paused to end", func() bool { return leader.over() })
	badStory.end(w, bad)
	w.never("a second revert", 2*time.Second, func() bool { return len(w.reverts()) != 1 })
}
