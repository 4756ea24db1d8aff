package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// What a file of secrets may hold.
const (
	MaxFile    = 16 << 10 // bytes
	MaxSecrets = 5        // each is tried on each request
	minSecret  = 16       // bytes: what is shorter can be guessed from one delivery
)

// Secrets are what senders have to know one of. They are never printed.
type Secrets struct{ each []secret }

type secret string

// ParseSecrets reads one secret a line, so that the next one is known before the
// forge is given it, and the last one still is after.
func ParseSecrets(content []byte) (Secrets, error) {
	if len(content) > MaxFile {
		return Secrets{}, fmt.Errorf("want at most %d bytes", MaxFile)
	}
	var s Secrets
	for i, line := range strings.Split(string(content), "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if err := checkSecret(line); err != nil {
			return Secrets{}, fmt.Errorf("line %d: %w", i+1, err)
		}
		s.each = append(s.each, secret(line))
	}
	switch {
	case len(s.each) == 0:
		return Secrets{}, errors.New("no secret; want one a line")
	case len(s.each) > MaxSecrets:
		return Secrets{}, fmt.Errorf("%d secrets; want at most %d", len(s.each), MaxSecrets)
	}
	return s, nil
}

func checkSecret(line string) error {
	if len(line) < minSecret {
		return fmt.Errorf("want at least %d characters, such as from openssl rand -hex 32", minSecret)
	}
	if strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) {
		return errors.New("want text")
	}
	if _, signing := secret(line).signing(); !signing && strings.HasPrefix(line, signingPrefix) {
		return fmt.Errorf("want base64 after %s", signingPrefix)
	}
	return nil
}

const signingPrefix = "whsec_"

// signing is the key of GitLab's signing tokens.
func (s secret) signing() ([]byte, bool) {
	encoded, found := strings.CutPrefix(string(s), signingPrefix)
	if !found {
		return nil, false
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	return key, err == nil && len(key) > 0
}

const hidden = "<secrets>"

// Format keeps every verb from the secrets.
func (Secrets) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, hidden) }

// MarshalText keeps encoders from them.
func (Secrets) MarshalText() ([]byte, error) { return []byte(hidden), nil }
