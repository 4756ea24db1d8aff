package signature

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"chaperone.dev/chaperone/internal/source"
)

// allowed is one line of a file of allowed signers (ssh-keygen(1)).
type allowed struct {
	principals    []string // addresses, or patterns of these
	key           []byte
	namespaces    []string // patterns; none: any
	after, before time.Time
}

const maxSigners = 10_000

// readAllowed reads every line, or none.
func readAllowed(f File) ([]allowed, error) {
	if len(f.Content) > maxKeyring {
		return nil, fmt.Errorf("%s: larger than %d bytes", f.Name, maxKeyring)
	}
	var all []allowed
	var problems []error
	for i, raw := range bytes.Split(f.Content, []byte("\n")) {
		line := strings.TrimSpace(string(raw))
		if line == "" || line[0] == '#' {
			continue
		}
		read, err := readSigner(line)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s:%d: %w", f.Name, i+1, err))
		}
		if all = append(all, read); len(all) > maxSigners || len(problems) > 20 {
			problems = append(problems, fmt.Errorf("%s: too much; want at most %d lines that are right", f.Name, maxSigners))
			break
		}
	}
	if len(all) == 0 {
		problems = append(problems, fmt.Errorf("%s: it names no signer; want lines such as `alex@example.org namespaces=\"git\" ssh-ed25519 AAAA…`", f.Name))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return all, nil
}

func readSigner(line string) (allowed, error) {
	var a allowed
	principals, rest, err := word(line)
	if err != nil {
		return a, err
	}
	for _, principal := range strings.Split(principals, ",") {
		if strings.Trim(principal, "!") == "" || len(principal) > 320 {
			return a, fmt.Errorf("%.80q names nobody; want addresses with commas between", principals)
		}
		a.principals = append(a.principals, principal)
	}
	kind, rest := cutWord(rest)
	if !keyTypes[kind] && !refusedTypes[kind] {
		if err := a.options(kind); err != nil {
			return a, err
		}
		kind, rest = cutWord(rest)
	}
	encoded, _ := cutWord(rest) // a comment may follow
	a.key, err = readKey(kind, encoded)
	return a, err
}

// word is the first one, which may stand in quotes.
func word(line string) (first, rest string, err error) {
	if quoted, found := strings.CutPrefix(line, `"`); found {
		first, rest, found = strings.Cut(quoted, `"`)
		if !found {
			return "", "", errors.New("a quote has no end")
		}
		return first, strings.TrimLeft(rest, " \t"), nil
	}
	first, rest = cutWord(line)
	return first, rest, nil
}

// cutWord ends a word at a blank that does not stand in quotes.
func cutWord(s string) (first, rest string) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case !quoted && (s[i] == ' ' || s[i] == '\t'):
			return s[:i], strings.TrimLeft(s[i:], " \t")
		}
	}
	return s, ""
}

var (
	keyTypes = map[string]bool{
		ssh.KeyAlgoED25519: true, ssh.KeyAlgoSKED25519: true, ssh.KeyAlgoSKECDSA256: true, ssh.KeyAlgoRSA: true,
		ssh.KeyAlgoECDSA256: true, ssh.KeyAlgoECDSA384: true, ssh.KeyAlgoECDSA521: true,
	}
	refusedTypes = map[string]bool{"ssh-dss": true} // and certificates, by their keys
)

const minRSA = 2048

func readKey(kind, encoded string) ([]byte, error) {
	if !keyTypes[kind] {
		return nil, fmt.Errorf("%.40q is no kind of key that is taken; want ssh-ed25519, ecdsa, sk or ssh-rsa", kind)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, errors.New("the key cannot be read; want its line of a file .pub")
	}
	key, err := ssh.ParsePublicKey(raw)
	if err != nil || key.Type() != kind || string(key.Marshal()) != string(raw) {
		return nil, fmt.Errorf("the key cannot be read as %s; want its line of a file .pub", kind)
	}
	if bits := rsaBits(key); bits > 0 && bits < minRSA {
		return nil, fmt.Errorf("the key has %d bits; want at least %d", bits, minRSA)
	}
	return raw, nil
}

// options are name="value" or name, with commas between.
func (a *allowed) options(text string) error {
	for text != "" {
		end := strings.IndexAny(text, ",=")
		if end < 0 {
			end = len(text)
		}
		name, value := strings.ToLower(text[:end]), ""
		if text = text[end:]; strings.HasPrefix(text, "=") {
			quoted, found := strings.CutPrefix(text[1:], `"`)
			if value, text, found = cutFound(quoted, found); !found {
				return fmt.Errorf("%.40s: want its value in quotes", name)
			}
		}
		if err := a.option(name, value); err != nil {
			return err
		}
		rest, more := strings.CutPrefix(text, ",")
		if text != "" && (!more || rest == "") {
			return fmt.Errorf("%.40q: want options with commas between", text)
		}
		text = rest
	}
	if !a.after.IsZero() && !a.before.IsZero() && !a.before.After(a.after) {
		return errors.New("valid-before is not after valid-after")
	}
	return nil
}

func cutFound(text string, found bool) (before, after string, both bool) {
	before, after, ended := strings.Cut(text, `"`)
	return before, after, found && ended
}

func (a *allowed) option(name, value string) (err error) {
	switch name {
	case "namespaces":
		if a.namespaces != nil || value == "" {
			return errors.New(`namespaces: want it once, such as namespaces="git"`)
		}
		a.namespaces = strings.Split(value, ",")
	case "valid-after":
		a.after, err = moment(name, value, a.after)
	case "valid-before":
		a.before, err = moment(name, value, a.before)
	case "cert-authority":
		return errors.New("cert-authority: certificates are not supported; want a line for the key of each signer")
	default:
		return fmt.Errorf("%.40q is not known; want namespaces, valid-after or valid-before before the key", name)
	}
	return err
}

// moment reads a time as ssh-keygen does, in UTC where it says nothing else.
func moment(name, value string, before time.Time) (time.Time, error) {
	layouts := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}
	digits := strings.TrimSuffix(value, "Z")
	at, err := time.Parse(layouts[len(digits)], digits)
	if layouts[len(digits)] == "" || err != nil || !before.IsZero() || at.Unix() <= 0 {
		return at, fmt.Errorf("%s: want it once, as YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, of UTC, not %.40q", name, value)
	}
	return at, nil
}

// counts reports whether the key may sign what was committed at a time. As git
// has it, a key that ends is good for what was committed before.
func (a allowed) counts(at, now time.Time) (source.SignatureState, string) {
	switch {
	case a.namespaces != nil && !source.MatchesAny(a.namespaces, namespace):
		return source.SignatureUnknown, fmt.Sprintf("is not listed for %s", namespace)
	case !a.after.IsZero() && at.Before(a.after):
		return source.SignatureExpired, fmt.Sprintf("counts from %s on, and this was committed before", a.after.Format(time.RFC3339))
	case !a.before.IsZero() && at.After(a.before):
		return source.SignatureExpired, fmt.Sprintf("counted until %s, and this was committed later", a.before.Format(time.RFC3339))
	case (!a.after.IsZero() || !a.before.IsZero()) && at.After(now.Add(futureAllowed)):
		return source.SignatureExpired, "counts for a time, and this is dated later than today"
	}
	return source.SignatureGood, ""
}
