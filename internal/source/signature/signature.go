// Package signature reads and makes the signatures of Git commits, OpenPGP's and
// SSH's, without I/O. It guarantees that
//   - what it calls good, `git verify-commit` accepts with the same keys, and the
//     signed text is the one that Git shows: a commit that could be read in two
//     ways is bad, whoever signed it;
//   - a keyring with a line that is not understood is no keyring: it is refused as
//     a whole, with the line and what would be right;
//   - nothing of a private key or of its passphrase is in any error.
package signature

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"chaperone.dev/chaperone/internal/source"
)

// File is the content of a file, with its name for messages.
type File struct {
	Name    string
	Content []byte
}

// Keyring holds the keys whose signatures count. The zero Keyring holds none.
type Keyring struct {
	pgp openpgp.EntityList
	ssh []allowed
}

const maxKeyring = 4 << 20

// ParseKeyring reads OpenPGP public keys, armored or not, and a file of allowed
// signers as ssh-keygen has it; either may be nil.
func ParseKeyring(pgp, allowedSigners *File) (Keyring, error) {
	var k Keyring
	var problems []error
	if pgp != nil {
		keys, err := readPGP(pgp.Content)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", pgp.Name, err))
		}
		k.pgp = keys
	}
	if allowedSigners != nil {
		lines, err := readAllowed(*allowedSigners)
		problems = append(problems, err)
		k.ssh = lines
	}
	if err := errors.Join(problems...); err != nil {
		return Keyring{}, err
	}
	return k, nil
}

// Keys is how many there are.
func (k Keyring) Keys() int { return len(k.pgp) + len(k.ssh) }

// Verify looks at the signature of a commit object.
func (k Keyring) Verify(object []byte, now time.Time) source.Signature {
	payload, armored, err := split(object)
	switch {
	case errors.Is(err, errUnsigned):
		return source.Signature{State: source.SignatureUnsigned, Detail: err.Error()}
	case err != nil:
		return bad("%v", err)
	case strings.HasPrefix(armored, sshBegin):
		return k.verifySSH(payload, armored, now)
	case strings.HasPrefix(armored, pgpBegin):
		return k.verifyPGP(payload, armored, now)
	case strings.HasPrefix(armored, "-----BEGIN SIGNED MESSAGE-----"):
		return bad("it is signed by X.509, which is not supported; want OpenPGP or SSH")
	}
	return bad("its signature is neither OpenPGP's nor SSH's")
}

func bad(format string, args ...any) source.Signature {
	return source.Signature{State: source.SignatureBad, Detail: fmt.Sprintf(format, args...)}
}

// alone reports whether a text is one armored block and nothing besides.
func alone(armored, begin, end string) bool {
	body, found := strings.CutPrefix(armored, begin+"\n")
	if !found {
		return false
	}
	body, found = strings.CutSuffix(strings.TrimSuffix(body, "\n"), "\n"+end)
	return found && !strings.Contains(body, "-----") && !strings.Contains(body, "\r")
}

// futureAllowed is how far ahead of ours a clock may be.
const futureAllowed = 10 * time.Minute

// committed is the time that a payload says it was committed at.
func committed(payload []byte) (time.Time, bool) {
	for line := range strings.Lines(string(payload)) {
		rest, found := strings.CutPrefix(line, "committer ")
		if !found {
			continue
		}
		fields := strings.Fields(rest[strings.LastIndexByte(rest, '>')+1:])
		var seconds int64
		if len(fields) != 2 {
			return time.Time{}, false
		}
		if _, err := fmt.Sscanf(fields[0], "%d", &seconds); err != nil {
			return time.Time{}, false
		}
		return time.Unix(seconds, 0), true
	}
	return time.Time{}, false
}

// literal keeps the addresses that are no patterns: whoever makes a key writes
// what stands in it.
func literal(addresses []string) []string {
	return slices.DeleteFunc(addresses, func(a string) bool { return a == "" || strings.ContainsAny(a, "*?!, \t\n") })
}
