// Package source holds the words for what is followed in Git: a revision, a
// commit, a snapshot of one revision's tree, and the closure of files that a
// render read from it. It does no I/O; internal/source/gogit does.
package source

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Revision is a full commit hash: 40 lower-case hexadecimal digits. The empty
// Revision means none.
type Revision string

// WorkingTree is the revision of files that are not committed; only local
// commands use it.
const WorkingTree Revision = "working-tree"

// ParseRevision refuses everything but a full hash: an abbreviated one could
// come to name another commit.
func ParseRevision(s string) (Revision, error) {
	if len(s) != 40 {
		return "", fmt.Errorf("revision %q: want 40 hexadecimal digits, not %d characters", s, len(s))
	}
	for _, c := range s {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return "", fmt.Errorf("revision %q: want lower-case hexadecimal digits only", s)
		}
	}
	return Revision(s), nil
}

// Short is for people: the first 12 digits.
func (r Revision) Short() string {
	if len(r) == 40 {
		return string(r[:12])
	}
	return string(r)
}

// FromHash makes a Revision of a 20-byte hash.
func FromHash(hash [20]byte) Revision { return Revision(hex.EncodeToString(hash[:])) }

// Snapshot is the read-only tree of one revision. Names are as in fs.FS.
// It is safe for concurrent use.
type Snapshot interface {
	fs.FS
	Revision() Revision
	// Hash identifies what stands at name without reading it: two equal hashes
	// mean equal content. Absent is "" and no error; every directory is Dir.
	Hash(name string) (string, error)
}

// Dir is the Hash of every directory: a closure only needs to know that it is
// one, its files have entries of their own.
const Dir = "dir"

// Closure is every path that a render looked at, with its Hash, absent ones
// included: a file that appears where kustomize looked in vain changes the result.
type Closure map[string]string

// Matches reports whether rendering from s would read exactly what c recorded.
func (c Closure) Matches(s Snapshot) (bool, error) {
	for name, want := range c {
		got, err := s.Hash(name)
		if err != nil {
			return false, fmt.Errorf("hash %s at %s: %w", name, s.Revision().Short(), err)
		}
		if got != want {
			return false, nil
		}
	}
	return true, nil
}

// Person wrote or committed a change.
type Person struct {
	Name  string    `json:"name"`
	Email string    `json:"email"`
	When  time.Time `json:"when"`
}

func (p Person) String() string { return fmt.Sprintf("%s <%s>", p.Name, p.Email) }

// Address is the e-mail address as it is compared: A to Z in lower case, and
// nothing else changed, for some letters of other alphabets fold to ASCII ones.
func Address(email string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, email)
}

// Commit is one commit's own data, without its tree.
type Commit struct {
	Revision  Revision
	Parents   []Revision
	Author    Person
	Committer Person
	Message   string
}

// Errors that decisions depend on. Adapters wrap them with what they know.
var (
	// ErrUnavailable: the server cannot be reached, or refuses the credentials.
	ErrUnavailable = errors.New("source unavailable")
	// ErrBranchGone: the server answers, and has no such branch.
	ErrBranchGone = errors.New("branch does not exist")
	// ErrUnknownRevision: no such commit on the source.
	ErrUnknownRevision = errors.New("unknown revision")
	// ErrNotAncestor: the history between two revisions does not connect along
	// first parents, as after a force-push.
	ErrNotAncestor = errors.New("not an ancestor along first parents")
	// ErrTooFar: more commits lie between two revisions than were allowed for.
	ErrTooFar = errors.New("too many commits between")
	// ErrTooMuch: a pull request brings more than is fetched for it.
	ErrTooMuch = errors.New("more than is fetched of a pull request")
)
