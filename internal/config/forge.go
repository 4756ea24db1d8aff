package config

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// The kinds of forges.
const (
	KindGitHub = "github"
	KindGitLab = "gitlab"
	KindGitea  = "gitea"
)

// Which open pull requests are told what merging them does.
const (
	PreviewsAll   = "all"
	PreviewsOwn   = "repository"
	PreviewsNever = "never"
)

var (
	ownerAndName = regexp.MustCompile(`^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`)
	inSubgroups  = regexp.MustCompile(`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+$`)
)

// complete takes from the source what is not given.
func (f *Forge) complete(source Source) []error {
	if f.Kind == "" {
		if *f != (Forge{Previews: f.Previews}) {
			return []error{errors.New("forge.kind: missing; want github, gitlab or gitea, or the other settings of forge removed")}
		}
		return nil
	}
	address, repository := hostedAt(source.URL, f.Kind)
	if f.URL == "" {
		f.URL = address
	}
	if f.Repository == "" {
		f.Repository = repository
	}
	if f.TokenFile == "" {
		f.TokenFile = source.TokenFile
	}
	token := f.TokenFile
	if f.TokenFile == "" && f.Kind == KindGitHub && source.GitHubApp.ID != "" {
		token = source.GitHubApp.ID // whose tokens are used
	}
	var problems []error
	for _, s := range []struct{ key, value, want string }{
		{"forge.url", f.URL, "its address, such as https://git.example.org"},
		{"forge.repository", f.Repository, "owner/name"},
		{"forge.tokenFile", token, "a file with a token that may write to the repository and its pull requests"},
	} {
		if s.value == "" {
			problems = append(problems, fmt.Errorf("%s: missing, and source has none to use; want %s", s.key, s.want))
		}
	}
	named := ownerAndName
	if f.Kind == KindGitLab {
		named = inSubgroups
	}
	if f.Repository != "" && !named.MatchString(f.Repository) {
		problems = append(problems, fmt.Errorf("forge.repository: want owner/name, not %.80q", f.Repository))
	}
	return append(problems, checkCredentials("forge", f.URL, "", "", token)...)
}

// hostedAt reads off an address of Git where its pages are, and what the
// repository is called there: Git over ssh is taken to be on the same host. A
// GitLab is taken not to be below a path, for a path is one of groups there.
func hostedAt(git, kind string) (address, repository string) {
	scheme, host := schemeOf(git)
	path := ""
	switch u, err := url.Parse(git); {
	case scheme == "ssh" && !strings.Contains(git, "://"):
		_, path, _ = strings.Cut(git, ":")
		scheme = "https"
	case err != nil:
		return "", ""
	case scheme == "ssh":
		scheme, path = "https", u.Path
	case scheme == "https" || scheme == "http":
		host, path = u.Host, u.Path
	default:
		return "", ""
	}
	parts := strings.Split(strings.Trim(strings.TrimSuffix(strings.Trim(path, "/"), ".git"), "/"), "/")
	if len(parts) < 2 {
		return "", ""
	}
	named := len(parts) - 2
	if kind == KindGitLab {
		named = 0
	}
	below := (&url.URL{Scheme: scheme, Host: host}).JoinPath(parts[:named]...)
	return strings.TrimSuffix(below.String(), "/"), strings.Join(parts[named:], "/")
}

func checkForgeURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return nil
	case err != nil:
		return errors.New("want https://host")
	case u.User != nil:
		return errors.New("credentials do not belong in the address; want them in forge.tokenFile")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return errors.New("want https://host")
	}
	return nil
}
