package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// signingKey makes a key of ssh-keygen's and returns its file.
func signingKey(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return file
}

// allowedSigners is the file that names whose keys count, by address.
func allowedSigners(t *testing.T, keys map[string]string) string {
	t.Helper()
	var lines strings.Builder
	for address, key := range keys {
		public, err := os.ReadFile(key + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%s %s", address, public)
	}
	file := filepath.Join(t.TempDir(), "allowed_signers")
	write(t, file, lines.String())
	return file
}

// signs makes the content of a commit one on top of parents, signed with a key,
// and moves the followed branch to it.
func (w *world) signs(key, message, content string, parents ...string) source.Revision {
	w.Helper()
	args := []string{"-c", "user.name=Alex", "-c", "user.email=alex@example.org", "-c", "gpg.format=ssh", "-c", "user.signingkey=" + key,
		"commit-tree", "-S", "-m", message}
	for _, parent := range parents {
		args = append(args, "-p", parent)
	}
	made := gitserver.Git(w.T, w.repo.Dir, append(args, content+"^{tree}")...)
	gitserver.Git(w.T, w.repo.Dir, "update-ref", "refs/heads/"+gitserver.Main, made)
	return source.Revision(made)
}

// pushSigned is push, signed with a key.
func (w *world) pushSigned(key, message string, files map[string]string) source.Revision {
	w.Helper()
	head := string(w.head())
	return w.signs(key, message, w.repo.Commit(w.T, gitserver.Commit{Branch: "elsewhere", Parent: head, Files: files}), head)
}

// Where commits have to be signed, one that is not is held, and so is one by a
// key that nobody knows; one that is runs. What the daemon takes back it signs
// itself, and that counts.
func TestOnlySignedCommitsRun(t *testing.T) {
	quick(t)
	alex, stranger, robot := signingKey(t, "alex"), signingKey(t, "stranger"), signingKey(t, "robot")
	signers := allowedSigners(t, map[string]string{"alex@example.org": alex, "chaperone@localhost": robot})
	w := newWorld(t, []stop{{pipeline: "demo", name: "development", extra: usualVerify + "  require: [signed]\n"}})
	first := w.signs(alex, "first", string(w.first))
	w.start(map[string]string{"author-signing-key-file": robot, "signers-allowed-signers-file": signers})
	w.awaitRuns(development, first)

	unsigned := w.push("nobody's", greeting("unsigned"))
	held := w.awaitReason(development, promotion.SignatureRequired)
	if !strings.Contains(held.Message, unsigned.Short()) || held.Journal.Running.Revision != first {
		t.Errorf("of an unsigned commit it says %q, and runs %s", held.Message, held.Journal.Running.Revision)
	}
	strange := w.pushSigned(stranger, "somebody's", greeting("by a stranger"))
	w.await("the stranger's commit to be held", func() bool {
		r := w.record(development)
		return r.Status.Reason == promotion.SignatureRequired && strings.Contains(r.Message, strange.Short())
	})

	// What they changed is not cured by a change on top of it: it has to go first.
	w.signs(alex, "take both back", string(first), string(strange))
	w.awaitReason(development, promotion.UpToDate)
	good := w.pushSigned(alex, "say good day", greeting("good day"))
	w.awaitRuns(development, good)
	bad := w.pushSigned(alex, "break it", neverReady())
	w.await("a revert", func() bool { return w.head() != bad })
	w.awaitRuns(development, w.head())
	w.wantRevert(bad, good, development, "progress deadline")
	gitserver.Git(t, w.repo.Dir, "config", "gpg.ssh.allowedSignersFile", signers)
	if by := gitserver.Git(t, w.repo.Dir, "log", "-1", "--format=%G? %GS", string(w.head())); by != "G chaperone@localhost" {
		t.Errorf("git says of the revert's signature: %q, want a good one of the daemon's", by)
	}
	w.wantApp(development, "1.0.0")
}
