package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"chaperone.dev/chaperone/internal/strictyaml"
)

// DefaultPolicies is where the daemon's manifests mount the policies.
const DefaultPolicies = "/etc/chaperone/policies"

// complete fills in what depends on two settings, and refuses what does not go
// together.
func (c *Config) complete() error {
	var problems []error
	if c.Source.URL == "" {
		problems = append(problems, errors.New("source.url: missing; want the repository to follow, as --source-url, "+
			"CHAPERONE_SOURCE_URL or source.url in the configuration file"))
	}
	problems = append(problems, c.Forge.complete(c.Source)...)
	problems = append(problems, c.Policies.complete()...)
	if c.Author.PassphraseFile != "" && c.Author.SigningKeyFile == "" {
		problems = append(problems, errors.New("author.signingKeyFile: missing; want the private key that author.passphraseFile is for"))
	}
	problems = append(problems, c.checkPeople()...)
	problems = append(problems, c.Source.login().check()...)
	s := c.Source
	return errors.Join(append(problems, checkCredentials("source", s.URL, s.SSHKeyFile, s.KnownHostsFile, s.TokenFile)...)...)
}

func (p *Policies) complete() []error {
	var problems []error
	places := 0
	for _, given := range []bool{p.FromSource, p.Directory != "", p.URL != "", p.Archive != ""} {
		if given {
			places++
		}
	}
	switch {
	case places > 1:
		problems = append(problems, errors.New("policies: want either directory, fromSource, url or archive, and not two of them"))
	case places == 0:
		p.Directory = DefaultPolicies
	}
	if p.Archive != "" && p.KeyFile == "" {
		problems = append(problems, errors.New("policies.keyFile: missing; want the public key of who signs the archive; without a signature none is taken"))
	}
	if p.URL == "" && (p.PasswordFile != "" || p.SSHPassphraseFile != "" || p.GitHubApp.ID != "") {
		problems = append(problems, errors.New("policies.url: missing; want the repository that passwordFile, sshPassphraseFile or githubAppID is for"))
	}
	problems = append(problems, p.login().check()...)
	return append(problems, checkCredentials("policies", p.URL, p.SSHKeyFile, p.KnownHostsFile, p.TokenFile)...)
}

func checkCredentials(of, address, sshKeyFile, knownHostsFile, tokenFile string) []error {
	var problems []error
	switch scheme, host := schemeOf(address); {
	case scheme == "ssh":
		if sshKeyFile == "" {
			problems = append(problems, fmt.Errorf("%s.sshKeyFile: missing; want the private key for ssh", of))
		}
		if knownHostsFile == "" {
			problems = append(problems, fmt.Errorf("%s.knownHostsFile: missing; want the host keys to accept; ssh accepts no other", of))
		}
	case scheme == "http" && tokenFile != "" && !local(host):
		problems = append(problems, fmt.Errorf("%s.tokenFile: the token would travel unencrypted; want https in %s.url", of, of))
	}
	return problems
}

// login is what a repository is logged in to with.
type login struct {
	of, url, tokenFile, passwordFile, sshKeyFile, sshPassphraseFile string
	app                                                             GitHubApp
}

func (s Source) login() login {
	return login{"source", s.URL, s.TokenFile, s.PasswordFile, s.SSHKeyFile, s.SSHPassphraseFile, s.GitHubApp}
}

func (p Policies) login() login {
	return login{"policies", p.URL, p.TokenFile, p.PasswordFile, p.SSHKeyFile, p.SSHPassphraseFile, p.GitHubApp}
}

// check wants one way to log in at most, and all that it needs.
func (l login) check() []error {
	var problems []error
	given := 0
	for _, is := range []bool{l.tokenFile != "", l.passwordFile != "", l.app.ID != ""} {
		if is {
			given++
		}
	}
	if given > 1 {
		problems = append(problems, fmt.Errorf("%s: want either tokenFile, passwordFile or githubAppID, and not two of them", l.of))
	}
	if l.sshPassphraseFile != "" && l.sshKeyFile == "" {
		problems = append(problems, fmt.Errorf("%s.sshKeyFile: missing; want the private key that %[1]s.sshPassphraseFile is for", l.of))
	}
	for key, value := range map[string]string{".githubInstallationID": l.app.Installation, ".githubKeyFile": l.app.KeyFile} {
		switch {
		case l.app.ID != "" && value == "":
			problems = append(problems, fmt.Errorf("%s: missing; a GitHub App wants githubAppID, githubInstallationID and githubKeyFile", l.of+key))
		case l.app.ID == "" && value != "":
			problems = append(problems, fmt.Errorf("%s.githubAppID: missing; want the App that %s is for", l.of, l.of+key))
		}
	}
	scheme, host := schemeOf(l.url)
	if l.app.ID != "" && l.url != "" && scheme != "https" && scheme != "http" {
		problems = append(problems, fmt.Errorf("%s.githubAppID: its tokens are for https; want https in %[1]s.url", l.of))
	}
	if scheme == "http" && !local(host) && (l.passwordFile != "" || l.app.ID != "") {
		problems = append(problems, fmt.Errorf("%s.url: password or token would travel unencrypted; want https", l.of))
	}
	return problems
}

// local: what is said there stays on this machine.
func local(host string) bool { return slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, host) }

func checkNumber(s string) error {
	if strings.Trim(s, "0123456789") != "" || len(s) > 20 {
		return fmt.Errorf("want a number, as GitHub shows it, not %.80q", s)
	}
	return nil
}

// checkAPI never shows the address: it may have a token in it.
func checkAPI(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("want https://api.github.com, or https://HOST/api/v3 of a GitHub of your own")
	}
	if u.Scheme != "https" && !local(u.Hostname()) {
		return errors.New("tokens would travel unencrypted; want https")
	}
	return nil
}

// checkPath has what a path inside a repository looks like.
func checkPath(s string) error {
	if !fs.ValidPath(s) {
		return fmt.Errorf("want a directory in the repository, such as policies, or . for all of it, not %.80q", s)
	}
	return nil
}

var scpLike = regexp.MustCompile(`^([^/@:]+@)?([^/@:]+):[^/]?.*$`)

// schemeOf tells how the address is reached; "" is a directory.
func schemeOf(address string) (scheme, host string) {
	if strings.Contains(address, "://") {
		if u, err := url.Parse(address); err == nil {
			return u.Scheme, u.Hostname()
		}
		return "", ""
	}
	if parts := scpLike.FindStringSubmatch(address); parts != nil {
		return "ssh", parts[2]
	}
	return "", ""
}

// checkSourceURL never shows the address: it may have a token in it.
func checkSourceURL(s string) error {
	if !strings.Contains(s, "://") {
		if strings.ContainsFunc(s, unicode.IsControl) {
			return errors.New("want one line")
		}
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || !slices.Contains([]string{"https", "http", "ssh", "file"}, u.Scheme) || u.Scheme != "file" && u.Host == "" {
		return errors.New("want https://host/path, ssh://user@host/path, user@host:path or a directory")
	}
	if _, password := u.User.Password(); password || u.User != nil && u.Scheme != "ssh" {
		return errors.New("credentials do not belong in the address; want them in source.tokenFile and source.username")
	}
	return nil
}

func checkProxy(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("want http://host:port")
	}
	return nil
}

func checkPrometheus(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("want the address of a Prometheus, such as https://prometheus.monitoring.svc:9090")
	}
	if u.User != nil {
		return errors.New("want an address without credentials; its token comes from verify.prometheusTokenFile")
	}
	return nil
}

func checkGiven(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("want a text that is not empty")
	}
	return nil
}

// checkBranch has git's rules for a branch name that matter to a reader of it.
func checkBranch(s string) error {
	bad := strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(" ~^:?*[\\", r) })
	if s == "" || bad || strings.HasPrefix(s, "-") || strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") ||
		strings.HasPrefix(s, "refs/") || strings.Contains(s, "..") || strings.HasSuffix(s, ".lock") {
		return fmt.Errorf("want the name of a branch, such as main, not %.80q", s)
	}
	return nil
}

var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func checkNamespace(s string) error {
	if !label.MatchString(s) {
		return fmt.Errorf("want the name of a namespace, such as chaperone-system, not %.80q", s)
	}
	return nil
}

func checkListen(s string) error {
	colon := strings.LastIndexByte(s, ':')
	if colon >= 0 {
		if port, err := strconv.Atoi(s[colon+1:]); err == nil && port >= 0 && port <= 65535 {
			return nil
		}
	}
	return fmt.Errorf("want host:port or :port, such as :8080, not %.80q", s)
}

func checkPerson(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '<' || r == '>' }) {
		return fmt.Errorf("want one line without < and >, not %.80q", s)
	}
	return nil
}

func oneOf(words ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(words, s) {
			return nil
		}
		return fmt.Errorf("%.80q is not known; %s", s, strictyaml.OneOf(words))
	}
}
