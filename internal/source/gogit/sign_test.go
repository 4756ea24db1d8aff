package gogit_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// sshKey makes a key of ssh-keygen's and returns its file.
func sshKey(t *testing.T, dir, name, passphrase string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return file
}

func place(t *testing.T, dir, name, content string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	write(t, file, content)
	return file
}

// signers has the repository's git verify by the public parts of some keys.
func signers(t *testing.T, repo string, keys ...string) {
	t.Helper()
	var lines strings.Builder
	for _, key := range keys {
		public, err := os.ReadFile(key + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%s@example.org %s", filepath.Base(key), public)
	}
	gitserver.Git(t, repo, "config", "gpg.ssh.allowedSignersFile", place(t, t.TempDir(), "allowed", lines.String()))
}

// signedBy asks git who signed a commit; "" is nobody.
func signedBy(t *testing.T, repo, commit string) string {
	t.Helper()
	gitserver.Git(t, repo, "fsck", "--strict")
	return gitserver.Git(t, repo, "log", "-1", "--format=%GS", commit)
}

func fileSite(t *testing.T) *site {
	t.Helper()
	s := overFile(t, gitserver.NewRepo(t))
	s.options.Branch, s.options.CacheDir, s.options.Timeout = gitserver.Main, t.TempDir(), 20*time.Second
	return s
}

func TestRevertsAndPromotionsAreSigned(t *testing.T) {
	t.Parallel()
	s := fileSite(t)
	bad, _ := guilty(t, s.Repo)
	pin := s.Commit(t, one("environments/novamind/production.yaml", "spec:\n  revision: "+strings.Repeat("1", 40)+"\n"))
	dir := t.TempDir()
	first, second := sshKey(t, dir, "first", "open sesame"), sshKey(t, dir, "second", "open sesame")
	signers(t, s.Dir, first, second)
	// A mounted Secret: the link of its directory is swapped, and nothing else.
	for name, key := range map[string]string{"..1": first, "..2": second} {
		content, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		place(t, filepath.Join(dir, name), "key", string(content))
		place(t, filepath.Join(dir, name), "passphrase", "open sesame\n")
	}
	link := filepath.Join(dir, "..data")
	if err := os.Symlink("..1", link); err != nil {
		t.Fatal(err)
	}
	s.options.Signing = gogit.Signing{KeyFile: filepath.Join(link, "key"), PassphraseFile: filepath.Join(link, "passphrase")}
	r := s.open(t)
	if _, err := r.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	result := revert(t, r, bad)
	expect(t, result, gogit.Reverted)
	if got := signedBy(t, s.Dir, string(result.Commit)); got != "first@example.org" {
		t.Errorf("the revert is signed by %q", got)
	}
	gitserver.Git(t, s.Dir, "verify-commit", string(result.Commit))
	if err := os.Symlink("..2", link+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+"_tmp", link); err != nil {
		t.Fatal(err)
	}
	proposed, err := r.Propose(t.Context(), gogit.ProposeRequest{Environment: "novamind/production", File: "environments/novamind/production.yaml", To: source.Revision(pin)})
	if err != nil || proposed.Outcome != gogit.Proposed {
		t.Fatalf("got %+v, %v", proposed, err)
	}
	if got := signedBy(t, s.Dir, string(proposed.Commit)); got != "second@example.org" {
		t.Errorf("the promotion is signed by %q", got)
	}
}

// What is to be signed and cannot be is not written, and the reason tells no
// secret.
func TestUnsignedIsNotWritten(t *testing.T) {
	t.Parallel()
	s := fileSite(t)
	bad, head := guilty(t, s.Repo)
	dir := t.TempDir()
	const canary = "canary-5b1e"
	locked := sshKey(t, dir, "locked", canary+" right")
	for name, test := range map[string]struct {
		signing gogit.Signing
		want    string
	}{
		"no file":             {gogit.Signing{KeyFile: filepath.Join(dir, "none")}, "signing key file: open "},
		"no key":              {gogit.Signing{KeyFile: place(t, dir, "text", canary)}, "text: it does not hold a private key that can be read"},
		"a cut-off key":       {gogit.Signing{KeyFile: place(t, dir, "cut", "-----BEGIN OPENSSH PRIVATE KEY-----\n"+canary+"\n-----END OPENSSH PRIVATE KEY-----\n")}, "cut: it does not hold a private key"},
		"a cut-off block":     {gogit.Signing{KeyFile: place(t, dir, "pgp", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n"+canary)}, "pgp: it does not hold an OpenPGP private key"},
		"no passphrase":       {gogit.Signing{KeyFile: locked}, "locked: the key is locked with a passphrase, which is not given"},
		"no passphrase file":  {gogit.Signing{locked, filepath.Join(dir, "none")}, "passphrase file: open "},
		"a wrong passphrase":  {gogit.Signing{locked, place(t, dir, "wrong", canary+" wrong")}, "locked: the key is locked, and not with this passphrase"},
		"an empty passphrase": {gogit.Signing{locked, place(t, dir, "empty", "\n")}, "empty is empty"},
		"a long passphrase":   {gogit.Signing{locked, place(t, dir, "lines", canary+"\n"+canary+"\n")}, "lines holds more than one line"},
	} {
		t.Run(name, func(t *testing.T) {
			options := s.options
			options.Signing, options.CacheDir = test.signing, t.TempDir()
			r, err := gogit.Open(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			_, err = r.Revert(t.Context(), gogit.RevertRequest{Guilty: source.Revision(bad), Note: note})
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), canary) {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if s.Head(t, "main") != head {
				t.Error("something was pushed")
			}
		})
	}
}

func TestLocalCommitsAreSigned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := sshKey(t, dir, "op", "")
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		config  [][]string
		signing gogit.Signing
		want    string
	}{
		"by nobody":                          {nil, gogit.Signing{}, ""},
		"by a flag":                          {nil, gogit.Signing{KeyFile: key}, "op@example.org"},
		"as Git is configured":               {[][]string{{"commit.gpgSign", "yes"}, {"gpg.format", "ssh"}, {"user.signingKey", key}}, gogit.Signing{}, "op@example.org"},
		"as Git is configured not to":        {[][]string{{"commit.gpgSign", "false"}, {"gpg.format", "ssh"}, {"user.signingKey", key}}, gogit.Signing{}, ""},
		"by a flag before the configuration": {[][]string{{"commit.gpgSign", "true"}, {"gpg.program", "/nonexistent"}}, gogit.Signing{KeyFile: key}, "op@example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			repo := gitserver.NewRepo(t)
			bad, _ := guilty(t, repo)
			signers(t, repo.Dir, key)
			for _, setting := range test.config {
				gitserver.Git(t, repo.Dir, "config", setting[0], setting[1])
			}
			request := byHand(bad)
			request.Signing = test.signing
			result := revertLocal(t, repo.Dir, request)
			expect(t, result, gogit.Reverted)
			if got := signedBy(t, repo.Dir, string(result.Commit)); got != test.want {
				t.Errorf("signed by %q, want %q", got, test.want)
			}
		})
	}
	for name, test := range map[string]struct {
		config [][]string
		want   string
	}{
		"no key":            {[][]string{{"gpg.format", "ssh"}}, "user.signingKey is not set"},
		"an unknown format": {[][]string{{"gpg.format", "x509"}}, `gpg.format is "x509"; want openpgp or ssh`},
		"no program":        {[][]string{{"gpg.program", "/nonexistent/gpg"}}, "/nonexistent/gpg"},
		"no such key":       {[][]string{{"gpg.format", "ssh"}, {"user.signingKey", filepath.Join(dir, "none")}}, "ssh-keygen: exit status 255: "},
		"no agent has it":   {[][]string{{"gpg.format", "ssh"}, {"user.signingKey", "key::" + strings.TrimSpace(string(public))}}, "ssh-keygen: exit status 255: "},
	} {
		t.Run(name, func(t *testing.T) {
			repo := gitserver.NewRepo(t)
			bad, head := guilty(t, repo)
			gitserver.Git(t, repo.Dir, "config", "commit.gpgSign", "true")
			for _, setting := range test.config {
				gitserver.Git(t, repo.Dir, "config", setting[0], setting[1])
			}
			_, err := openLocal(t, repo.Dir).Revert(t.Context(), byHand(bad))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if repo.Head(t, "main") != head {
				t.Error("a commit was made")
			}
		})
	}
}

// gpg signs as Git's configuration has it.
func TestLocalCommitsAreSignedByGPG(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("gpg is not here")
	}
	home, err := os.MkdirTemp("", "gpg") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	gpg := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--quiet", "--passphrase", ""}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("gpg: %v\n%s", err, out)
		}
	}
	gpg("--pinentry-mode", "loopback", "--quick-generate-key", "Op Erator <op@example.org>", "ed25519", "sign", "0")
	program := filepath.Join(home, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexec gpg --homedir "+home+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	repo := gitserver.NewRepo(t)
	bad, _ := guilty(t, repo)
	gitserver.Git(t, repo.Dir, "config", "commit.gpgSign", "true")
	gitserver.Git(t, repo.Dir, "config", "gpg.program", program)
	request := byHand(bad)
	request.Now = time.Now
	result := revertLocal(t, repo.Dir, request)
	expect(t, result, gogit.Reverted)
	gitserver.Git(t, repo.Dir, "verify-commit", string(result.Commit))
	if got := signedBy(t, repo.Dir, string(result.Commit)); got != "Op Erator <op@example.org>" {
		t.Errorf("signed by %q", got)
	}
}
