package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"chaperone.dev/chaperone/internal/strictyaml"
)

// Setting is one thing to set. Its key is its place in the configuration file
// and the name of its mounted file; flag and variable follow from it.
type Setting struct {
	Key     string
	Usage   string
	Default string // as it would be written; "" is none

	read  func(*Config, string) error
	tree  func(*Config, *strictyaml.Object) // in the configuration file it is a mapping; nil: one value
	write func(Config) string               // for comparing only: it reveals secrets
}

// Flag is the name without dashes before it: source.pollInterval is
// source-poll-interval.
func (s Setting) Flag() string { return strings.ToLower(s.words("-")) }

// Env is the variable: source.pollInterval is CHAPERONE_SOURCE_POLL_INTERVAL.
func (s Setting) Env() string { return envPrefix + strings.ToUpper(s.words("_")) }

func (s Setting) words(separator string) string {
	var b strings.Builder
	before := '.'
	for _, r := range s.Key {
		switch {
		case r == '.':
			b.WriteString(separator)
		case unicode.IsUpper(r) && unicode.IsLower(before):
			b.WriteString(separator)
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
		before = r
	}
	return b.String()
}

// Settings are all of them, in the order of the documentation.
func Settings() []Setting {
	const day = 24 * time.Hour
	settings := []Setting{
		text("source.url", "repository to follow: https://…, ssh://…, user@host:path or a directory", "",
			func(c *Config) *string { return &c.Source.URL }, checkSourceURL),
		text("source.branch", "branch to follow", "main", func(c *Config) *string { return &c.Source.Branch }, checkBranch),
		duration("source.pollInterval", "time between two looks at the branch", "30s", time.Second, day,
			func(c *Config) *time.Duration { return &c.Source.PollInterval }),
		share("source.jitter", "largest share of the interval to add at random", "10%", func(c *Config) *float64 { return &c.Source.Jitter }),
		duration("source.timeout", "longest time for one request to the repository", "2m", time.Second, time.Hour,
			func(c *Config) *time.Duration { return &c.Source.Timeout }),
		text("source.cacheDir", "directory of the mirror; a cache, empty after a restart if need be", "/var/cache/chaperone",
			func(c *Config) *string { return &c.Source.CacheDir }, checkGiven),
		text("source.tokenFile", "file with the token for https, read anew when it changes", "",
			func(c *Config) *string { return &c.Source.TokenFile }),
		text("source.username", "name beside the token", "git", func(c *Config) *string { return &c.Source.Username }, checkGiven),
		text("source.sshKeyFile", "file with the private key for ssh", "", func(c *Config) *string { return &c.Source.SSHKeyFile }),
		text("source.knownHostsFile", "file with the host keys that ssh accepts; no other is", "",
			func(c *Config) *string { return &c.Source.KnownHostsFile }),
		text("source.sshPassphraseFile", "file with the passphrase of that private key", "",
			func(c *Config) *string { return &c.Source.SSHPassphraseFile }),
		text("source.passwordFile", "file with the password for https, in place of a token", "",
			func(c *Config) *string { return &c.Source.PasswordFile }),
		text("source.githubAppID", "ID of a GitHub App whose tokens are used for https, got anew before they end", "",
			func(c *Config) *string { return &c.Source.GitHubApp.ID }, checkNumber),
		text("source.githubInstallationID", "ID of its installation", "",
			func(c *Config) *string { return &c.Source.GitHubApp.Installation }, checkNumber),
		text("source.githubKeyFile", "file with its private key (PEM)", "", func(c *Config) *string { return &c.Source.GitHubApp.KeyFile }),
		text("source.githubAPI", "address of its API; https://HOST/api/v3 of a GitHub of your own", "https://api.github.com",
			func(c *Config) *string { return &c.Source.GitHubApp.API }, checkAPI),
	}
	settings = append(settings, forgeSettings()...)
	settings = append(settings,
		text("signers.gpgKeyringFile", "file with the OpenPGP public keys, armored or not, whose signatures of commits count; read anew when it changes", "",
			func(c *Config) *string { return &c.Signers.GPGKeyringFile }),
		text("signers.allowedSignersFile", "file with the SSH keys whose signatures of commits count, as ssh-keygen's ALLOWED SIGNERS", "",
			func(c *Config) *string { return &c.Signers.AllowedSignersFile }))
	settings = append(settings, policySettings()...)
	return append(settings,
		text("namespace", "the daemon's own namespace", "chaperone-system", func(c *Config) *string { return &c.Namespace }, checkNamespace),
		text("listen", "address of metrics, health and pages", ":8080", func(c *Config) *string { return &c.Listen }, checkListen),
		text("webhook.secretFile", "file with the secret of the forge's webhook, one a line while it changes; without it none is taken", "",
			func(c *Config) *string { return &c.Webhook.SecretFile }),
		text("webhook.listen", "address of the webhook; its path is /webhook", ":8081", func(c *Config) *string { return &c.Webhook.Listen }, checkListen),
		text("kubeconfig", "kubeconfig file of the daemon's cluster; default the cluster it runs in", "",
			func(c *Config) *string { return &c.Kubeconfig }),
		text("context", "context of the kubeconfig", "", func(c *Config) *string { return &c.Context }),
		boolean("leaderElection", "act only while holding the lease", "true", func(c *Config) *bool { return &c.LeaderElection }),
		text("author.name", "name in the daemon's commits", "Chaperone", func(c *Config) *string { return &c.Author.Name }, checkGiven, checkPerson),
		text("author.email", "address in the daemon's commits", "chaperone@localhost", func(c *Config) *string { return &c.Author.Email },
			checkGiven, checkPerson),
		text("author.signingKeyFile", "file with the private key, OpenPGP or SSH, that the daemon's commits are signed with; read anew for each", "",
			func(c *Config) *string { return &c.Author.SigningKeyFile }),
		text("author.passphraseFile", "file with that key's passphrase", "", func(c *Config) *string { return &c.Author.PassphraseFile }),
		secret("verify.proxy", "proxy of the HTTP checks, http://host:port", "", func(c *Config) *Secret { return &c.Verify.Proxy }, checkProxy),
		text("verify.prometheus", "Prometheus that metric checks ask, http://host:9090, unless an environment names another", "",
			func(c *Config) *string { return &c.Verify.Prometheus.URL }, checkPrometheus),
		text("verify.prometheusTokenFile", "file with its token, read anew for each check; another is not told it", "",
			func(c *Config) *string { return &c.Verify.Prometheus.TokenFile }),
		text("verify.prometheusCAFile", "file with the certificates (PEM) that it is trusted by; default the system's", "",
			func(c *Config) *string { return &c.Verify.Prometheus.CAFile }),
		integer("workers", "environments worked on at the same time", "4", 1, 64, func(c *Config) *int { return &c.Workers }),
		addresses("groups", "people who may approve, by group: {release-managers: [alex@example.org]}",
			func(c *Config) *map[string][]string { return &c.Groups }, readGroups),
		addresses("people", "who commits with several addresses: {alex: [alex@example.org, 7+alex@users.noreply.example.org]}",
			func(c *Config) *map[string][]string { return &c.People }, readPeople),
		text("log.level", "debug, info, warn or error", "info", func(c *Config) *string { return &c.Log.Level }, oneOf("debug", "info", "warn", "error")),
		text("log.format", "auto, json or text", "auto", func(c *Config) *string { return &c.Log.Format }, oneOf("auto", "json", "text")),
	)
}

func forgeSettings() []Setting {
	return []Setting{
		text("forge.kind", "what hosts the repository, for pull requests: github, gitlab or gitea (Forgejo, too); default none", "",
			func(c *Config) *string { return &c.Forge.Kind }, oneOf("", KindGitHub, KindGitLab, KindGitea)),
		text("forge.url", "its address, https://host; default that of source.url", "",
			func(c *Config) *string { return &c.Forge.URL }, checkForgeURL),
		text("forge.repository", "owner/name there, or group/subgroup/name; default the end of source.url", "",
			func(c *Config) *string { return &c.Forge.Repository }),
		text("forge.tokenFile", "file with its token, read anew each time; default source.tokenFile, or on GitHub the source's App", "",
			func(c *Config) *string { return &c.Forge.TokenFile }),
		text("forge.previews", "open pull requests that are told what merging them does: all, those of the repository (no forks), or never", PreviewsAll,
			func(c *Config) *string { return &c.Forge.Previews }, oneOf(PreviewsAll, PreviewsOwn, PreviewsNever)),
	}
}

func policySettings() []Setting {
	return []Setting{
		text("policies.directory", "mounted directory of the policies; default "+DefaultPolicies+" unless they come from elsewhere", "",
			func(c *Config) *string { return &c.Policies.Directory }),
		boolean("policies.fromSource", "take policies/ of the repository: whoever can merge there can weaken them", "false",
			func(c *Config) *bool { return &c.Policies.FromSource }),
		text("policies.url", "a repository of their own, as source.url", "",
			func(c *Config) *string { return &c.Policies.URL }, checkSourceURL),
		text("policies.branch", "its branch", "main", func(c *Config) *string { return &c.Policies.Branch }, checkBranch),
		text("policies.path", "directory of the policies in it", "policies", func(c *Config) *string { return &c.Policies.Path }, checkPath),
		text("policies.archive", "a signed archive: oci://registry/name:tag, or a file policies.tar.gz", "",
			func(c *Config) *string { return &c.Policies.Archive }, checkGiven),
		text("policies.keyFile", "file with the public key (PEM) that the archive must be signed for", "",
			func(c *Config) *string { return &c.Policies.KeyFile }),
		duration("policies.pollInterval", "time between two looks at a repository or archive; longer while they fail", "1m",
			time.Second, 24*time.Hour, func(c *Config) *time.Duration { return &c.Policies.PollInterval }),
		text("policies.tokenFile", "file with the token for https or the registry, read anew each time", "",
			func(c *Config) *string { return &c.Policies.TokenFile }),
		text("policies.username", "name beside the token", "git", func(c *Config) *string { return &c.Policies.Username }, checkGiven),
		text("policies.sshKeyFile", "file with the private key for ssh", "", func(c *Config) *string { return &c.Policies.SSHKeyFile }),
		text("policies.knownHostsFile", "file with the host keys that ssh accepts; no other is", "",
			func(c *Config) *string { return &c.Policies.KnownHostsFile }),
		text("policies.sshPassphraseFile", "file with the passphrase of that private key", "",
			func(c *Config) *string { return &c.Policies.SSHPassphraseFile }),
		text("policies.passwordFile", "file with the password for https, in place of a token", "",
			func(c *Config) *string { return &c.Policies.PasswordFile }),
		text("policies.githubAppID", "ID of a GitHub App whose tokens are used for https, got anew before they end", "",
			func(c *Config) *string { return &c.Policies.GitHubApp.ID }, checkNumber),
		text("policies.githubInstallationID", "ID of its installation", "",
			func(c *Config) *string { return &c.Policies.GitHubApp.Installation }, checkNumber),
		text("policies.githubKeyFile", "file with its private key (PEM)", "", func(c *Config) *string { return &c.Policies.GitHubApp.KeyFile }),
		text("policies.githubAPI", "address of its API, as source.githubAPI", "https://api.github.com",
			func(c *Config) *string { return &c.Policies.GitHubApp.API }, checkAPI),
	}
}

func text(key, usage, fallback string, field func(*Config) *string, checks ...func(string) error) Setting {
	return Setting{Key: key, Usage: usage, Default: fallback,
		read: func(c *Config, s string) error {
			for _, check := range checks {
				if err := check(s); err != nil {
					return err
				}
			}
			*field(c) = s
			return nil
		},
		write: func(c Config) string { return *field(&c) },
	}
}

func secret(key, usage, fallback string, field func(*Config) *Secret, check func(string) error) Setting {
	return text(key, usage, fallback, func(c *Config) *string { return (*string)(field(c)) }, check)
}

func boolean(key, usage, fallback string, field func(*Config) *bool) Setting {
	return Setting{Key: key, Usage: usage, Default: fallback,
		read: func(c *Config, s string) error {
			if s != "true" && s != "false" {
				return fmt.Errorf("want true or false, not %.80q", s)
			}
			*field(c) = s == "true"
			return nil
		},
		write: func(c Config) string { return strconv.FormatBool(*field(&c)) },
	}
}

func integer(key, usage, fallback string, low, high int, field func(*Config) *int) Setting {
	return Setting{Key: key, Usage: usage, Default: fallback,
		read: func(c *Config, s string) error {
			n, err := strconv.Atoi(s)
			if err != nil || n < low || n > high {
				return fmt.Errorf("want a whole number between %d and %d, not %.80q", low, high, s)
			}
			*field(c) = n
			return nil
		},
		write: func(c Config) string { return strconv.Itoa(*field(&c)) },
	}
}

func duration(key, usage, fallback string, low, high time.Duration, field func(*Config) *time.Duration) Setting {
	return Setting{Key: key, Usage: usage, Default: fallback,
		read: func(c *Config, s string) error {
			d, err := strictyaml.ParseDuration(s)
			if err != nil {
				return err
			}
			if d < low || d > high {
				return fmt.Errorf("want between %s and %s, not %.80q", strictyaml.FormatDuration(low), strictyaml.FormatDuration(high), s)
			}
			*field(c) = d
			return nil
		},
		write: func(c Config) string { return strictyaml.FormatDuration(*field(&c)) },
	}
}

func share(key, usage, fallback string, field func(*Config) *float64) Setting {
	return Setting{Key: key, Usage: usage, Default: fallback,
		read: func(c *Config, s string) error {
			digits, percent := strings.CutSuffix(s, "%")
			part, err := strconv.ParseFloat(digits, 64)
			if percent {
				part /= 100
			}
			if err != nil || !(part >= 0 && part <= 1) {
				return errors.New(`want a share between 0 and 1, such as 0.1 or "10%"`)
			}
			*field(c) = part
			return nil
		},
		write: func(c Config) string { return strconv.FormatFloat(*field(&c), 'g', -1, 64) },
	}
}

// Changed are the keys of the settings in which two configurations differ.
func Changed(before, after Config) []string {
	var keys []string
	for _, s := range Settings() {
		if s.write(before) != s.write(after) {
			keys = append(keys, s.Key)
		}
	}
	return keys
}
