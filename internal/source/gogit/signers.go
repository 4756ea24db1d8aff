package gogit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/signature"
)

// Signers names the files of those whose signatures count: OpenPGP public keys,
// and a file of allowed signers as ssh-keygen has it. They are read anew each
// time. Without both nobody is known.
type Signers struct {
	OpenPGPFile    string
	AllowedSigners string
}

// ErrSigners: who may sign cannot be read, so that nothing counts as signed.
var ErrSigners = errors.New("the keys of signers cannot be read")

// signers keeps what was read, for as long as the files hold the same.
type signers struct {
	files Signers
	now   func() time.Time

	mu      sync.Mutex
	name    string // of what was read
	keyring signature.Keyring
	err     error
}

func newSigners(files Signers, now func() time.Time) *signers {
	if now == nil {
		now = time.Now
	}
	return &signers{files: files, now: now}
}

// read returns the keys and what names them, which changes with the files.
func (s *signers) read() (signature.Keyring, string, error) {
	pgp, pgpErr := readKeys(s.files.OpenPGPFile)
	ssh, sshErr := readKeys(s.files.AllowedSigners)
	if err := errors.Join(pgpErr, sshErr); err != nil {
		return signature.Keyring{}, "unreadable: " + err.Error(), fmt.Errorf("%w: %w", ErrSigners, err)
	}
	name := nameOf(pgp) + nameOf(ssh)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.name != name {
		s.name = name
		if s.keyring, s.err = signature.ParseKeyring(pgp, ssh); s.err != nil {
			s.err = fmt.Errorf("%w: %w", ErrSigners, s.err)
		}
	}
	return s.keyring, name, s.err
}

const maxKeyringBytes = 4 << 20

func readKeys(name string) (*signature.File, error) {
	if name == "" {
		return nil, nil
	}
	content, err := readAtMost(name, maxKeyringBytes)
	return &signature.File{Name: name, Content: content}, err
}

func nameOf(f *signature.File) string {
	if f == nil {
		return "-"
	}
	return fmt.Sprintf("%x", sha256.Sum256(f.Content))
}

// Signature looks at the signature of a commit with the keys of now. Where these
// cannot be read it is unchecked. An error means that the commit cannot be read.
func (r *Repository) Signature(revision source.Revision) (source.Signature, error) {
	keyring, _, unreadable := r.signers.read()
	c, err := r.commit(revision)
	if err != nil {
		return source.Signature{}, fmt.Errorf("signature: %w", err)
	}
	object, err := r.object(c)
	if err != nil {
		return source.Signature{}, fault.Retryable("read signature", revision.Short(), err)
	}
	if unreadable != nil {
		return source.Signature{State: source.SignatureUnchecked, Detail: unreadable.Error()}, nil
	}
	return keyring.Verify(object, r.signers.now()), nil
}

// Signers names the keys of now: another name, other answers. The error is why
// nobody's signature counts.
func (r *Repository) Signers() (string, error) {
	_, name, err := r.signers.read()
	return name, err
}

// CountSigners is how many keys there are.
func (r *Repository) CountSigners() int {
	keyring, _, _ := r.signers.read()
	return keyring.Keys()
}
