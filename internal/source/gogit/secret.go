package gogit

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"unicode"
)

// Credentials names files; their content is read anew for each conversation,
// so that a rotated secret is used from the next one on.
type Credentials struct {
	TokenFile    string // over HTTP: the password of basic authentication, one word
	PasswordFile string // the same, in place of TokenFile: one line, blanks included
	Username     string // default: x-access-token over HTTP, git over SSH
	Tokens       Tokens // in place of both files; nil: none
	// Over SSH both are needed: who we are, and whom we talk to.
	SSHKeyFile        string
	KnownHostsFile    string
	SSHPassphraseFile string // "" for a key that is not locked
}

// Tokens gives tokens that do not last, such as those of a GitHub App. Its errors
// hold no secret.
type Tokens interface {
	// Token is called for each conversation, and keeps what it got.
	Token(ctx context.Context) (string, error)
	// Forget is told of one that was not accepted.
	Forget(token string)
}

const (
	defaultHTTPUser = "x-access-token"
	defaultSSHUser  = "git"
	maxSecretBytes  = 64 << 10
	maxMessageRunes = 500
)

// secret prints as nothing of what it is.
type secret string

func (secret) String() string   { return "<secret>" }
func (secret) GoString() string { return "<secret>" }

// login is what one conversation over HTTP is authenticated with.
type login struct {
	user  string
	token secret
}

func (c Credentials) login(ctx context.Context) (login, error) {
	switch {
	case c.Tokens != nil:
		token, err := c.Tokens.Token(ctx)
		return login{c.httpUser(), secret(token)}, err
	case c.PasswordFile != "":
		password, err := readLine("password file", c.PasswordFile)
		return login{c.httpUser(), secret(password)}, err
	case c.TokenFile == "":
		return login{}, nil
	}
	content, err := readSmall(c.TokenFile)
	if err != nil {
		return login{}, fmt.Errorf("token file: %w", err)
	}
	token := strings.TrimSpace(string(content))
	if token == "" {
		return login{}, fmt.Errorf("token file %s is empty", c.TokenFile)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return login{}, fmt.Errorf("token file %s holds more than one word: want the token alone", c.TokenFile)
	}
	return login{c.httpUser(), secret(token)}, nil
}

func (c Credentials) httpUser() string { return cmp.Or(c.Username, defaultHTTPUser) }

func readSmall(name string) ([]byte, error) { return readAtMost(name, maxSecretBytes) }

func readAtMost(name string, limit int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return content, err
}

// clean makes a text that came from outside fit for a message: without the
// token in any form that it travels in, on one line, and not too long.
func (l login) clean(text string) string {
	if l.token != "" {
		token := string(l.token)
		pair := l.user + ":" + token
		for _, form := range []string{
			token, url.QueryEscape(token), url.PathEscape(token), pair,
			base64.StdEncoding.EncodeToString([]byte(pair)), base64.URLEncoding.EncodeToString([]byte(pair)),
		} {
			text = strings.ReplaceAll(text, form, "<secret>")
		}
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > maxMessageRunes {
		return string(runes[:maxMessageRunes]) + "…"
	}
	return string(runes)
}

// pathError is the cause of a file error without its path, for where the path
// is named already.
func pathError(err error) error {
	var inner *os.PathError
	if errors.As(err, &inner) {
		return inner.Err
	}
	return err
}
