// Package webhook tells whether a request is what GitHub, GitLab or Gitea send
// after a push. It guarantees that only who knows a secret passes, that secrets
// and signatures are compared in constant time, and that nothing of the body is
// believed, or even kept: an authentic delivery means "look now" and no more, so
// that to send it again does no harm.
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"unicode"
)

// Forge is who a request says it comes from.
type Forge string

// The forges.
const (
	GitHub Forge = "github"
	GitLab Forge = "gitlab"
	Gitea  Forge = "gitea" // and Forgejo
)

// Delivery is what a sender says about a request. None of it is covered by a
// signature: it is for people who look for a delivery in their forge.
type Delivery struct {
	Forge     Forge
	Event, ID string
}

// Check is one request whose body is still to come.
type Check struct {
	Delivery
	macs   []hash.Hash
	want   [][]byte // what one of macs has to come to
	passed bool     // needs no body
}

// MaxSignatures of one request are compared, as while its sender's key is rotated.
const MaxSignatures = 8

// ErrUnsigned: nothing in the request tells that its sender knows a secret.
var ErrUnsigned = errors.New("no signature; want X-Hub-Signature-256, X-Gitea-Signature, webhook-signature or X-Gitlab-Token, from a webhook with a secret")

// Open finds out how a request is signed. Keys of the header are as net/http
// writes them.
func Open(header map[string][]string, secrets Secrets) (*Check, error) {
	for _, scheme := range schemes {
		given, err := one(header, scheme.header)
		if err != nil {
			return nil, err
		}
		if given == "" {
			continue
		}
		c := &Check{Delivery: delivery(header, scheme.forge)}
		if err := scheme.open(c, header, given, secrets); err != nil {
			return nil, fmt.Errorf("%s: %w", scheme.header, err)
		}
		return c, nil
	}
	return nil, ErrUnsigned
}

// schemes are asked in this order. Gitea also signs as GitHub does; GitLab may
// send its token beside a signature, which says more.
var schemes = []struct {
	header string
	forge  Forge
	open   func(c *Check, header map[string][]string, given string, secrets Secrets) error
}{
	{"X-Gitea-Signature", Gitea, openHex},
	{"X-Hub-Signature-256", GitHub, openGitHub},
	{"Webhook-Signature", GitLab, openStandard},
	{"X-Gitlab-Token", GitLab, openToken},
}

func openGitHub(c *Check, header map[string][]string, given string, secrets Secrets) error {
	digits, found := strings.CutPrefix(given, "sha256=")
	if !found {
		return errors.New("want sha256= and 64 hexadecimal digits")
	}
	return openHex(c, header, digits, secrets)
}

func openHex(c *Check, _ map[string][]string, given string, secrets Secrets) error {
	sum, err := hex.DecodeString(given)
	if err != nil || len(sum) != sha256.Size {
		return errors.New("want 64 hexadecimal digits")
	}
	c.want = [][]byte{sum}
	for _, s := range secrets.each {
		c.macs = append(c.macs, hmac.New(sha256.New, []byte(s)))
	}
	return nil
}

// openStandard is GitLab's signing token, after the Standard Webhooks
// specification: the identifier and the time are signed, too. The time is not
// held against ours: what is sent again does no harm, and clocks differ.
func openStandard(c *Check, header map[string][]string, given string, secrets Secrets) error {
	id, err := one(header, "Webhook-Id")
	if err != nil {
		return err
	}
	at, err := one(header, "Webhook-Timestamp")
	if err != nil {
		return err
	}
	if id == "" || at == "" {
		return errors.New("want webhook-id and webhook-timestamp beside it")
	}
	for _, part := range strings.Fields(given) {
		version, text, _ := strings.Cut(part, ",")
		sum, err := base64.StdEncoding.Strict().DecodeString(text)
		if version == "v1" && err == nil && len(sum) == sha256.Size && len(c.want) < MaxSignatures {
			c.want = append(c.want, sum)
		}
	}
	if len(c.want) == 0 {
		return errors.New("want v1, and a signature in base64")
	}
	for _, s := range secrets.each {
		key, signing := s.signing()
		if !signing {
			continue
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + at + "."))
		c.macs = append(c.macs, mac)
	}
	return nil
}

// openToken is GitLab's other way: the secret itself. Hashes are compared, as
// those are of one length.
func openToken(c *Check, _ map[string][]string, given string, secrets Secrets) error {
	sent := sha256.Sum256([]byte(given))
	for _, s := range secrets.each {
		known := sha256.Sum256([]byte(s))
		if hmac.Equal(sent[:], known[:]) {
			c.passed = true
		}
	}
	return nil
}

// Write takes the next part of the body. It never fails.
func (c *Check) Write(part []byte) (int, error) {
	for _, mac := range c.macs {
		mac.Write(part)
	}
	return len(part), nil
}

// Authentic reports whether the sender knows a secret, once the body is whole.
func (c *Check) Authentic() bool {
	authentic := c.passed
	for _, mac := range c.macs {
		sum := mac.Sum(nil)
		for _, want := range c.want {
			if hmac.Equal(sum, want) {
				authentic = true
			}
		}
	}
	return authentic
}

// one is a header's value; two are more than an honest sender has.
func one(header map[string][]string, name string) (string, error) {
	switch values := header[name]; len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", fmt.Errorf("%s: want it once", name)
}

func delivery(header map[string][]string, from Forge) Delivery {
	names := map[Forge][2]string{
		GitHub: {"X-Github-Event", "X-Github-Delivery"},
		GitLab: {"X-Gitlab-Event", "X-Gitlab-Event-Uuid"},
		Gitea:  {"X-Gitea-Event", "X-Gitea-Delivery"},
	}[from]
	return Delivery{Forge: from, Event: word(header, names[0]), ID: word(header, names[1])}
}

// word is a header as a log may show it.
func word(header map[string][]string, name string) string {
	text, err := one(header, name)
	if err != nil {
		return ""
	}
	const limit = 64
	var b strings.Builder
	for _, r := range text {
		if b.Len() >= limit {
			break
		}
		if r < unicode.MaxASCII && unicode.IsPrint(r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}
