package gogit_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
)

// The keys are the mounted files' of now, and a file that is broken lets nobody
// pass.
func TestSignaturesAreHeldAgainstTheFilesOfNow(t *testing.T) {
	t.Parallel()
	s := fileSite(t)
	dir := t.TempDir()
	key := sshKey(t, dir, "alex", "")
	bad, _ := guilty(t, s.Repo)
	signed := byHand(bad)
	signed.Signing = gogit.Signing{KeyFile: key}
	signed.Now = time.Now
	commit := revertLocal(t, s.Dir, signed).Commit
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "signers")
	s.options.Signers = gogit.Signers{AllowedSigners: file}
	r := s.open(t)
	poll(t, r)
	names := map[string]bool{}
	for i, test := range []struct {
		content string // "" is no file
		want    source.SignatureState
		detail  string
	}{
		{"", source.SignatureUnchecked, "the keys of signers cannot be read: open "},
		{"alex@example.org " + string(public), source.SignatureGood, ""},
		{"alex@example.org valid-before=\"20200101\" " + string(public), source.SignatureExpired, "counted until 2020-01-01"},
		{"alex@example.org " + string(public) + "kim@example.org\n", source.SignatureUnchecked, "signers:2: "},
		{"alex@example.org  " + string(public), source.SignatureGood, ""},
		{"\n", source.SignatureUnchecked, "it names no signer"},
	} {
		if test.content != "" {
			write(t, file, test.content)
		}
		got, err := r.Signature(commit)
		if err != nil || got.State != test.want || !strings.Contains(got.Detail, test.detail) {
			t.Errorf("%d: got %+v, %v, want %s", i, got, err, test.want)
		}
		name, err := r.Signers()
		if names[name] || (err == nil) == (test.want == source.SignatureUnchecked) {
			t.Errorf("%d: got %s again, or %v", i, name, err)
		}
		names[name] = true
	}
	if _, err := r.Signature(source.Revision(strings.Repeat("1", 40))); !errors.Is(err, source.ErrUnknownRevision) {
		t.Errorf("got %v", err)
	}
	if got, err := r.Signature(source.Revision(bad)); err != nil || got.State != source.SignatureUnchecked {
		t.Errorf("got %+v, %v", got, err)
	}
	write(t, file, "alex@example.org "+string(public))
	if got, err := r.Signature(source.Revision(bad)); err != nil || got.State != source.SignatureUnsigned {
		t.Errorf("got %+v, %v", got, err)
	}
}
