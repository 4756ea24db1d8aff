// Package config holds the daemon's settings. It guarantees that a Config from
// Load is complete and consistent, that of two places that give a setting the
// stronger wins (flags, then CHAPERONE_* variables, then mounted files, then the
// configuration file, then defaults), that a misspelt setting is an error
// wherever it stands, and that no secret is ever printed.
package config

import (
	"fmt"
	"time"
)

// Config is everything that an operator may set.
type Config struct {
	Source         Source
	Forge          Forge
	Signers        Signers
	Policies       Policies
	Namespace      string // the daemon's own: its state and the kubeconfig Secrets
	Listen         string // metrics, health and pages
	Webhook        Webhook
	Kubeconfig     string // "" is the cluster that the daemon runs in
	Context        string
	LeaderElection bool
	Author         Author
	Verify         Verify
	Workers        int // environments worked on at the same time
	// Groups are the people of each group that `approval.from` in an environment
	// file may name, by the e-mail addresses in their commits.
	Groups map[string][]string
	// People are the addresses of one person who commits with several, by any
	// name: what they wrote and what they approve is then known to be theirs.
	People map[string][]string
	Log    Log
}

// Source is the repository to follow.
type Source struct {
	URL            string
	Branch         string
	PollInterval   time.Duration
	Jitter         float64 // largest share of PollInterval to add
	Timeout        time.Duration
	CacheDir       string
	TokenFile      string
	Username       string // beside the token
	SSHKeyFile     string
	KnownHostsFile string
	// In place of TokenFile, and of the private key's own.
	PasswordFile      string
	SSHPassphraseFile string
	GitHubApp         GitHubApp
}

// GitHubApp is an App whose tokens are used in place of TokenFile; without an ID
// there is none.
type GitHubApp struct {
	ID           string
	Installation string
	KeyFile      string
	API          string
}

// Webhook is how forges say that there is something new. Without SecretFile
// nobody can.
type Webhook struct {
	Listen     string
	SecretFile string
}

// Forge is where the source's pull requests are. Without a Kind there is none.
// What is not given follows from the source.
type Forge struct {
	Kind       string // github | gitlab | gitea
	URL        string // https://host, or below it
	Repository string // owner/name; on GitLab it may stand in subgroups
	TokenFile  string // on GitHub "" is the source's App
	Previews   string // which open pull requests are told what merging them does
}

// Signers are those whose signatures of commits count.
type Signers struct {
	GPGKeyringFile     string
	AllowedSignersFile string
}

// Policies is where they come from: exactly one of Directory, FromSource, URL and
// Archive.
type Policies struct {
	Directory      string
	FromSource     bool
	URL            string // of a repository
	Branch         string
	Path           string // in the repository
	Archive        string // a file or oci://…, signed
	KeyFile        string // verifies the archive
	PollInterval   time.Duration
	TokenFile      string
	Username       string
	SSHKeyFile     string
	KnownHostsFile string
	// In place of TokenFile, and of the private key's own.
	PasswordFile      string
	SSHPassphraseFile string
	GitHubApp         GitHubApp
}

// Author writes the daemon's commits.
type Author struct {
	Name           string
	Email          string
	SigningKeyFile string // signs them; "" is unsigned
	PassphraseFile string // of the key
}

// Verify is how checks reach what they ask.
type Verify struct {
	Proxy      Secret // an HTTP proxy for checks; its URL may have a password
	Prometheus Prometheus
}

// Prometheus is what metric checks ask unless an environment names another. That
// one is not told the token.
type Prometheus struct {
	URL       string
	TokenFile string
	CAFile    string
}

// Log is how the daemon logs.
type Log struct {
	Level  string // debug | info | warn | error
	Format string // auto | json | text; auto is text on a terminal
}

// Secret is a text that is never printed.
type Secret string

const hidden = "<secret>"

// Reveal is the text itself.
func (s Secret) Reveal() string { return string(s) }

// String is the same for every secret but the empty one.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// Format keeps every verb from the text, also those that do not ask String.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, s.String()) }

// MarshalText keeps encoders from the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
