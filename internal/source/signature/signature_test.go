package signature

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/source"
)

// oracle is a repository in which Git's own programs sign and verify.
type oracle struct {
	t    testing.TB
	dir  string
	home string
}

func newOracle(t testing.TB) *oracle {
	t.Helper()
	for _, program := range []string{"git", "ssh-keygen", "gpg"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not here", program)
		}
	}
	// A socket of gpg's agent has a short path.
	dir, err := os.MkdirTemp("", "sig")
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{t: t, dir: filepath.Join(dir, "r"), home: filepath.Join(dir, "h")}
	t.Cleanup(func() {
		kill := exec.Command("gpgconf", "--kill", "all")
		kill.Env = o.env()
		_ = kill.Run()
		_ = os.RemoveAll(dir)
	})
	for _, d := range []string{o.dir, o.home} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	o.git("init", "-q", "-b", "main")
	return o
}

func (o *oracle) env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + o.home, "GNUPGHOME=" + o.home, "TZ=UTC", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Alex", "GIT_AUTHOR_EMAIL=alex@example.org", "GIT_COMMITTER_NAME=Alex", "GIT_COMMITTER_EMAIL=alex@example.org",
	}
}

func (o *oracle) try(stdin []byte, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = o.dir, o.env(), bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return out, err
}

func (o *oracle) run(stdin []byte, name string, args ...string) []byte {
	o.t.Helper()
	out, err := o.try(stdin, name, args...)
	if err != nil {
		o.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

func (o *oracle) git(args ...string) string {
	o.t.Helper()
	return strings.TrimSpace(string(o.run(nil, "git", args...)))
}

// verifies asks `git verify-commit` about an object as it is.
func (o *oracle) verifies(object []byte) (bool, string) {
	o.t.Helper()
	hash := strings.TrimSpace(string(o.run(object, "git", "hash-object", "-t", "commit", "-w", "--stdin", "--literally")))
	out, err := o.try(nil, "git", "verify-commit", "-v", hash)
	return err == nil, string(out)
}

func (o *oracle) write(name string, content []byte) string {
	o.t.Helper()
	name = filepath.Join(o.home, name)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return name
}

func (o *oracle) read(name string) []byte {
	o.t.Helper()
	content, err := os.ReadFile(filepath.Join(o.home, name))
	if err != nil {
		o.t.Fatal(err)
	}
	return content
}

// sshKey makes a key and returns its public line.
func (o *oracle) sshKey(name, kind, passphrase string) string {
	o.t.Helper()
	o.run(nil, "ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "comment", "-f", filepath.Join(o.home, name))
	return strings.TrimSpace(string(o.read(name + ".pub")))
}

// trustSSH has Git verify by these lines.
func (o *oracle) trustSSH(lines string) Keyring {
	o.t.Helper()
	o.git("config", "gpg.ssh.allowedSignersFile", o.write("allowed", []byte(lines)))
	k, err := ParseKeyring(nil, &File{"allowed", []byte(lines)})
	if err != nil {
		o.t.Fatal(err)
	}
	return k
}

// pgpKey makes a key in Git's keyring and returns its public and secret part.
func (o *oracle) pgpKey(owner, kind, expires, passphrase string) (public, secret []byte) {
	o.t.Helper()
	o.run(nil, "gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", passphrase, "--quick-generate-key", owner, kind, "sign", expires)
	public = o.run(nil, "gpg", "--batch", "--armor", "--export", owner)
	secret = o.run(nil, "gpg", "--batch", "--armor", "--pinentry-mode", "loopback", "--passphrase", passphrase, "--export-secret-keys", owner)
	return public, secret
}

func (o *oracle) object(revision string) []byte {
	return o.run(nil, "git", "cat-file", "commit", revision)
}

const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

func plainCommit(message string, at time.Time) []byte {
	return fmt.Appendf(nil, "tree %s\nauthor Alex <alex@example.org> %d +0000\ncommitter Alex <alex@example.org> %d +0000\n\n%s",
		emptyTree, at.Unix(), at.Unix(), message)
}

func (o *oracle) sign(key *Key, payload []byte) []byte {
	o.t.Helper()
	armored, err := key.Sign(payload, time.Now(), rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	signed, err := Signed(payload, armored)
	if err != nil {
		o.t.Fatal(err)
	}
	return signed
}

// What we sign, git verify-commit accepts; and so do we.
func TestGitAcceptsWhatIsSignedBySSH(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		for _, passphrase := range []string{"", "open sesame"} {
			name := kind + strings.ReplaceAll(passphrase, " ", "-")
			public := o.sshKey(name, kind, passphrase)
			k := o.trustSSH("chaperone@example.org namespaces=\"git\" " + public)
			key, err := ParseKey(o.read(name), []byte(passphrase))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			signed := o.sign(key, plainCommit("subject\n\nbody\n", time.Now()))
			if good, said := o.verifies(signed); !good || !strings.Contains(said, "chaperone@example.org") {
				t.Errorf("%s: git says %s", name, said)
			}
			got := k.Verify(signed, time.Now())
			if !got.Good() || !got.By("Chaperone@example.org") || got.By("alex@example.org") || got.Key != key.Fingerprint() {
				t.Errorf("%s: got %+v", name, got)
			}
		}
	}
}

func TestGitAcceptsWhatIsSignedByOpenPGP(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	for _, kind := range []string{"rsa2048", "ed25519", "nistp256"} {
		for _, passphrase := range []string{"", "open sesame"} {
			name := kind + strings.ReplaceAll(passphrase, " ", "-")
			public, secret := o.pgpKey("Chaperone <"+name+"@example.org>", kind, "0", passphrase)
			key, err := ParseKey(secret, []byte(passphrase))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			signed := o.sign(key, plainCommit("subject\n", time.Now()))
			if good, said := o.verifies(signed); !good || !strings.Contains(said, name+"@example.org") {
				t.Errorf("%s: git says %s", name, said)
			}
			k, err := ParseKeyring(&File{"keys", public}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := k.Verify(signed, time.Now()); !got.Good() || !got.By(name+"@example.org") || got.Key != key.Fingerprint() {
				t.Errorf("%s: got %+v", name, got)
			}
		}
	}
}

// What git signs, we accept: commits, merges of signed tags, and commits in
// another encoding.
func TestWhatGitSigns(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	public := o.sshKey("key", "ed25519", "")
	k := o.trustSSH("alex@example.org " + public)
	o.git("config", "gpg.format", "ssh")
	o.git("config", "user.signingKey", filepath.Join(o.home, "key"))
	pgp, _ := o.pgpKey("Alex <alex@example.org>", "ed25519", "0", "")
	both, err := ParseKeyring(&File{"keys", pgp}, &File{"allowed", []byte("alex@example.org " + public)})
	if err != nil || both.Keys() != 2 {
		t.Fatal(err, both.Keys())
	}
	o.git("commit", "-q", "--allow-empty", "-S", "-m", "first")
	o.git("commit", "-q", "--allow-empty", "--allow-empty-message", "-S", "-m", "")
	o.git("checkout", "-q", "-b", "side", "HEAD~1")
	o.git("-c", "i18n.commitEncoding=ISO-8859-1", "commit", "-q", "--allow-empty", "-S", "-m", "caf\xe9")
	o.git("tag", "-s", "-m", "a tag", "v1")
	o.git("checkout", "-q", "main")
	o.git("merge", "-q", "--no-ff", "-S", "-m", "merge", "v1")
	o.git("-c", "gpg.format=openpgp", "-c", "user.signingKey=alex@example.org", "commit", "-q", "--allow-empty", "-S", "-m", "by gpg")
	o.git("commit", "-q", "--allow-empty", "--no-gpg-sign", "-m", "unsigned")
	if !strings.Contains(string(o.object("main~2")), "\nmergetag ") {
		t.Fatal("the merge does not hold the tag")
	}
	for revision, want := range map[string]source.SignatureState{
		"main~4": source.SignatureGood, "main~3": source.SignatureGood, "v1^{commit}": source.SignatureGood, "main~2": source.SignatureGood,
		"main~1": source.SignatureGood, "main": source.SignatureUnsigned,
	} {
		if got := both.Verify(o.object(revision), time.Now()); got.State != want || got.Good() && !got.By("alex@example.org") {
			t.Errorf("%s: got %+v, want %s", revision, got, want)
		}
	}
	if got := k.Verify(o.object("main~1"), time.Now()); got.State != source.SignatureUnknown || !strings.Contains(got.Detail, "OpenPGP key") {
		t.Errorf("got %+v", got)
	}
}

// Whatever is done to a signed commit: what we call good, git accepts, and the
// tree that it shows is the one that was signed.
func TestNothingIsGoodThatGitRefuses(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	public := o.sshKey("key", "ed25519", "")
	k := o.trustSSH("alex@example.org " + public)
	key, err := ParseKey(o.read("key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	payloads := [][]byte{plainCommit("subject\n\nbody\n", time.Now()), plainCommit("another\n", time.Now())}
	signed, other := o.sign(key, payloads[0]), o.sign(key, payloads[1])
	good := 0
	rapid.Check(t, func(t *rapid.T) {
		object := mutate(t, signed, other)
		if k.Verify(object, time.Now()).Good() {
			good++
			if accepted, said := o.verifies(object); !accepted {
				t.Fatalf("git refuses it: %s\n%s", said, object)
			}
			if payload, _, err := split(object); err != nil || !slices.ContainsFunc(payloads, func(p []byte) bool { return bytes.Equal(p, payload) }) {
				t.Fatalf("good, and nobody signed it: %v\n%s", err, object)
			}
		}
	})
	if good == 0 {
		t.Error("nothing was good")
	}
}

// mutate plays the tricks that a commit object allows.
func mutate(t *rapid.T, signed, other []byte) []byte {
	lines := strings.SplitAfter(string(signed), "\n")
	donor := strings.SplitAfter(string(other), "\n")
	for range rapid.IntRange(0, 3).Draw(t, "steps") {
		at := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
		from := rapid.IntRange(0, len(donor)-1).Draw(t, "of the other")
		switch rapid.IntRange(0, 7).Draw(t, "how") {
		case 0:
			lines = append(lines[:at:at], lines[at+1:]...)
		case 1:
			lines = append(lines[:at:at], append([]string{donor[from]}, lines[at:]...)...)
		case 2:
			lines[at] = donor[from]
		case 3:
			lines[at] = " " + lines[at]
		case 4:
			header := rapid.SampledFrom([]string{"tree " + emptyTree, "parent " + emptyTree, "gpgsig x", "gpgsig-sha256 x", "gpgsigx y", "encoding UTF-8",
				"mergetag object", "author M <m@example.org> 1 +0000", "committer M <m@example.org> 1 +0000", "", " ", "x", "nul \x00"}).Draw(t, "header")
			lines = append(lines[:at:at], append([]string{header + "\n"}, lines[at:]...)...)
		case 5:
			swap := rapid.IntRange(0, len(lines)-1).Draw(t, "swap")
			lines[at], lines[swap] = lines[swap], lines[at]
		case 6:
			b := []byte(lines[at])
			if len(b) > 0 {
				b[rapid.IntRange(0, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			}
			lines[at] = string(b)
		case 7:
			lines[at] = strings.ReplaceAll(lines[at], "\n", "\r\n")
		}
		if len(lines) == 0 {
			return nil
		}
	}
	return []byte(strings.Join(lines, ""))
}

// Git takes all of these, or shows something else than what was signed.
func TestTricks(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	k := o.trustSSH("alex@example.org " + o.sshKey("key", "ed25519", ""))
	key, err := ParseKey(o.read("key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := string(plainCommit("subject\n", time.Now()))
	signed := string(o.sign(key, []byte(plain)))
	signs := func(payload string) string {
		armored, err := key.Sign([]byte(payload), time.Now(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		head, body, _ := strings.Cut(payload, "\n\n")
		return head + "\ngpgsig " + strings.ReplaceAll(strings.TrimSpace(armored), "\n", "\n ") + "\n\n" + body
	}
	if !k.Verify([]byte(signed), time.Now()).Good() || !k.Verify([]byte(signs(plain)), time.Now()).Good() {
		t.Fatal("want a good one to begin with")
	}
	before := "gpgsig -----BEGIN"
	for name, object := range map[string]string{
		"a header that nobody signed":      strings.Replace(signed, before, "gpgsig-sha256 x\n"+before, 1),
		"another":                          strings.Replace(signed, before, "gpgsigfoo x\n"+before, 1),
		"two signatures":                   strings.Replace(signed, before, "gpgsig x\n"+before, 1),
		"twice a tree":                     signs(strings.Replace(plain, "author ", "tree "+emptyTree+"\nauthor ", 1)),
		"a parent behind the author":       signs(strings.Replace(plain, "committer ", "parent "+emptyTree+"\ncommitter ", 1)),
		"twice an author":                  signs(strings.Replace(plain, "committer ", "author B <b@example.org> 1 +0000\ncommitter ", 1)),
		"two addresses":                    signs(strings.Replace(plain, "Alex <alex@example.org>", "Alex <alex@example.org> <b@example.org>", 1)),
		"a NUL":                            signs(strings.Replace(plain, "subject", "sub\x00ject", 1)),
		"no date":                          signs(strings.Replace(plain, "+0000\n\n", "x\n\n", 1)),
		"a blank at the beginning":         " " + signed,
		"only a tree":                      "tree " + emptyTree + "\n" + signed[strings.Index(signed, before):],
		"text after the signature":         strings.Replace(signed, "-----END SSH SIGNATURE-----", "-----END SSH SIGNATURE-----\n more", 1),
		"text before the signature":        strings.Replace(signed, before, "gpgsig text\n -----BEGIN", 1),
		"nothing in it":                    strings.Replace(plain, "\n\n", "\ngpgsig \n\n", 1),
		"a message as the header's end":    strings.Replace(signed, "\n\n", "\n \n", 1),
		"a signature larger than any":      strings.Replace(plain, "\n\n", "\ngpgsig "+strings.Repeat("x", maxArmored+1)+"\n\n", 1),
		"headers larger than any":          strings.Replace(plain, "\n\n", "\nx "+strings.Repeat("x", maxHeaders)+"\n\n", 1),
		"an X.509 signature":               strings.Replace(plain, "\n\n", "\ngpgsig -----BEGIN SIGNED MESSAGE-----\n\n", 1),
		"an OpenPGP message":               strings.Replace(plain, "\n\n", "\ngpgsig -----BEGIN PGP MESSAGE-----\n\n", 1),
		"another one's signature":          strings.Replace(signed, "subject", "subjects", 1),
		"the signature of something wider": strings.Replace(signed, " +0000\ngpgsig", " +0100\ngpgsig", 1),
	} {
		if got := k.Verify([]byte(object), time.Now()); got.State != source.SignatureBad && got.State != source.SignatureUnsigned || got.Detail == "" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	// A tag's signature is of the tag.
	o.git("config", "gpg.format", "ssh")
	o.git("config", "user.signingKey", filepath.Join(o.home, "key"))
	o.git("commit", "-q", "--allow-empty", "-m", "x")
	o.git("tag", "-s", "-m", "t", "t")
	_, tag, _ := strings.Cut(string(o.run(nil, "git", "cat-file", "tag", "t")), "-----BEGIN SSH")
	borrowed, err := Signed(o.object("HEAD"), "-----BEGIN SSH"+tag)
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Verify(borrowed, time.Now()); got.State != source.SignatureBad {
		t.Errorf("got %+v", got)
	}
}

func TestParseKeyFaults(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	o.sshKey("locked", "ed25519", "right")
	o.sshKey("open", "ed25519", "")
	_, pgp := o.pgpKey("Alex <alex@example.org>", "ed25519", "0", "right")
	public, _ := o.pgpKey("Kim <kim@example.org>", "ed25519", "0", "")
	for name, test := range map[string]struct {
		content    []byte
		passphrase string
		want       string
	}{
		"no passphrase":         {o.read("locked"), "", "the key is locked with a passphrase, which is not given"},
		"a wrong one":           {o.read("locked"), "canary-71", "the key is locked, and not with this passphrase"},
		"a wrong one, OpenPGP":  {pgp, "canary-71", "the key is locked, and not with this passphrase"},
		"nothing":               {nil, "", "it does not hold a private key that can be read"},
		"a public key":          {o.read("open.pub"), "", "it does not hold a private key that can be read"},
		"a public key, OpenPGP": {public, "", "it does not hold a private key that can be read"},
		"cut off":               {o.read("open")[:100], "", "it does not hold a private key that can be read"},
		"cut off, OpenPGP":      {pgp[:100], "", "it does not hold an OpenPGP private key that can be read; want `gpg --export-secret-keys --armor`"},
	} {
		if _, err := ParseKey(test.content, []byte(test.passphrase)); err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
	key, err := ParseKey(pgp, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.Sign(plainCommit("x\n", time.Now()), time.Now(), rand.Reader); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, key); !strings.Contains(text, key.Fingerprint()) || len(text) > 50 {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}
