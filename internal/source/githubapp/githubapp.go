// Package githubapp gets short-lived tokens for a GitHub App's installation, as
// GitHub documents it: a statement signed with the App's key (JWT, RS256) is
// exchanged for a token of an hour. It guarantees that a token is asked for
// once, and anew shortly before it expires or when the key file changes; that
// the key goes nowhere, and the statement only to the API's address; and that
// neither key, statement nor token is in any error.
package githubapp

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
)

// Options name an installation of an App.
type Options struct {
	API          string // https://api.github.com, or https://HOST/api/v3
	App          string // its ID, or client ID
	Installation string // its ID
	KeyFile      string // the App's private key, read anew each time
	Now          func() time.Time
}

// DefaultAPI is GitHub's own.
const DefaultAPI = "https://api.github.com"

const (
	maxKey     = 64 << 10
	maxAnswer  = 1 << 20
	maxToken   = 4 << 10
	before     = 5 * time.Minute // a token that ends so soon is not used any more
	stated     = 9 * time.Minute // how long a statement counts; GitHub takes ten
	skew       = time.Minute     // our clock may be ahead of GitHub's
	longest    = 2 * time.Hour   // a token is not kept for longer, whatever is said
	maxAsking  = 30 * time.Second
	apiVersion = "2022-11-28"
)

// Tokens gives tokens of one installation. It is safe for concurrent use.
type Tokens struct {
	options Options
	base    *url.URL
	client  http.Client

	turn    sync.Mutex // held while asking: one asks, the others wait
	token   string
	key     [sha256.Size]byte // the key file that it was got with
	expires time.Time
}

var identifier = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// New talks to nobody.
func New(o Options) (*Tokens, error) {
	if o.API == "" {
		o.API = DefaultAPI
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	base, err := url.Parse(o.API)
	switch {
	case err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("github app: want the API's address, such as https://api.github.com or https://HOST/api/v3")
	case base.Scheme != "https" && !local(base.Hostname()):
		return nil, fmt.Errorf("github app: %s: the token would travel unencrypted; want https", base.Redacted())
	case !identifier.MatchString(o.App):
		return nil, fmt.Errorf("github app: want the App's ID, not %.80q", o.App)
	case !identifier.MatchString(o.Installation):
		return nil, fmt.Errorf("github app: want the installation's ID, not %.80q", o.Installation)
	case o.KeyFile == "":
		return nil, errors.New("github app: want the file of the App's private key")
	}
	t := &Tokens{options: o, base: base}
	t.client.Timeout = maxAsking
	t.client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return errors.New("redirected, where the statement must not go: put the new address in place of the old one")
	}
	return t, nil
}

func local(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// Token returns one that counts for some minutes at least.
func (t *Tokens) Token(ctx context.Context) (string, error) {
	t.turn.Lock()
	defer t.turn.Unlock()
	content, key, err := t.readKey()
	if err != nil {
		return "", refusal("github app key file: " + err.Error())
	}
	sum := sha256.Sum256(content)
	now := t.options.Now()
	if left := t.expires.Sub(now); t.token != "" && t.key == sum && left > before && left <= longest {
		return t.token, nil
	}
	statement, err := t.statement(key, now)
	if err != nil {
		return "", err
	}
	token, expires, err := t.exchange(ctx, statement)
	if err != nil {
		return "", fmt.Errorf("github app %s, installation %s: %w", t.options.App, t.options.Installation, err)
	}
	t.token, t.expires, t.key = token, expires, sum
	return token, nil
}

// Account is what the App is called where it acts, such as chaperone[bot]: a
// token of an installation cannot ask whose it is.
func (t *Tokens) Account(ctx context.Context) (string, error) {
	t.turn.Lock()
	defer t.turn.Unlock()
	_, key, err := t.readKey()
	if err != nil {
		return "", refusal("github app key file: " + err.Error())
	}
	statement, err := t.statement(key, t.options.Now())
	if err != nil {
		return "", err
	}
	said, err := t.ask(ctx, http.MethodGet, t.base.JoinPath("app"), statement, http.StatusOK, "its name")
	if err == nil && !identifier.MatchString(said.Slug) {
		err = fmt.Errorf("ask %s for its name: the answer is none; want the address of GitHub's API", t.base.Host)
	}
	if err != nil {
		return "", fmt.Errorf("github app %s: %w", t.options.App, err)
	}
	return said.Slug + "[bot]", nil
}

// ErrRefused says that GitHub was asked, and does not take the key, or that there
// is none.
var ErrRefused = errors.New("not accepted")

// Forget has the next token asked for anew, where this one is not accepted.
func (t *Tokens) Forget(token string) {
	t.turn.Lock()
	defer t.turn.Unlock()
	if t.token == token {
		t.token = ""
	}
}

func (t *Tokens) readKey() ([]byte, *rsa.PrivateKey, error) {
	file, err := os.Open(t.options.KeyFile)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxKey+1))
	if err != nil {
		return nil, nil, err
	}
	if len(content) > maxKey {
		return nil, nil, fmt.Errorf("%s is larger than %d bytes", t.options.KeyFile, maxKey)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM(content)
	if err != nil { // whose text may quote the file
		return nil, nil, fmt.Errorf("%s does not hold an RSA private key in PEM", t.options.KeyFile)
	}
	return content, key, nil
}

func (t *Tokens) statement(key *rsa.PrivateKey, now time.Time) (string, error) {
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
		Issuer: t.options.App, IssuedAt: jwt.NewNumericDate(now.Add(-skew)), ExpiresAt: jwt.NewNumericDate(now.Add(stated)),
	}).SignedString(key)
	if err != nil {
		return "", fmt.Errorf("github app key file %s: the key does not sign", t.options.KeyFile)
	}
	return signed, nil
}

// answer is what GitHub documents.
type answer struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
	Message   string    `json:"message"`
	Slug      string    `json:"slug"`
}

func (t *Tokens) exchange(ctx context.Context, statement string) (token string, expires time.Time, err error) {
	place := t.base.JoinPath("app", "installations", t.options.Installation, "access_tokens")
	said, err := t.ask(ctx, http.MethodPost, place, statement, http.StatusCreated, "a token")
	if err != nil {
		return "", expires, err
	}
	if !word(said.Token) || said.ExpiresAt.IsZero() {
		return "", expires, fmt.Errorf("ask %s for a token: the answer is none; want the address of GitHub's API", t.base.Host)
	}
	return said.Token, said.ExpiresAt, nil
}

// ask asks as the App itself. What cannot be read says nothing.
func (t *Tokens) ask(ctx context.Context, method string, place *url.URL, statement string, want int, what string) (said answer, err error) {
	request, err := http.NewRequestWithContext(ctx, method, place.String(), bytes.NewReader(nil))
	if err != nil {
		return said, errors.New("the API's address cannot be used")
	}
	request.Header.Set("Authorization", "Bearer "+statement)
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("X-GitHub-Api-Version", apiVersion)
	request.Header.Set("User-Agent", "chaperone")
	response, err := t.client.Do(request)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err // the URL may be one that the server made up
		}
		return said, fmt.Errorf("ask %s for %s: %s", t.base.Host, what, clean(err.Error(), statement))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return said, fmt.Errorf("ask %s for %s: the answer is cut off", t.base.Host, what)
	}
	if json.Unmarshal(body, &said) != nil && response.StatusCode == want {
		said = answer{}
	}
	if response.StatusCode != want {
		return answer{}, refused(t.base.Host, what, response.StatusCode, clean(said.Message, statement, said.Token))
	}
	return said, nil
}

func word(s string) bool {
	return s != "" && len(s) <= maxToken && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= unicode.MaxASCII })
}

func refused(host, what string, status int, message string) error {
	text := "ask " + host + " for " + what + ": it answers " + strconv.Itoa(status) + " " + http.StatusText(status)
	switch status {
	case http.StatusUnauthorized:
		text += ": it does not accept the App's key, or the clocks differ"
	case http.StatusForbidden:
		text += ": the installation is suspended, or too much was asked"
	case http.StatusNotFound:
		text += ": there is no such installation of the App"
	}
	if message != "" {
		text += ": " + message
	}
	if status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNotFound {
		return refusal(text)
	}
	return errors.New(text)
}

// refusal is ErrRefused in GitHub's own words.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ErrRefused }

// clean makes a text from outside fit for a message.
func clean(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		for _, part := range append(strings.Split(secret, "."), secret) {
			if len(part) > 8 {
				text = strings.ReplaceAll(text, part, "<secret>")
			}
		}
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if runes := []rune(strings.Join(strings.Fields(text), " ")); len(runes) > 300 {
		return string(runes[:300]) + "…"
	}
	return strings.Join(strings.Fields(text), " ")
}
