package gogit

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// transport is how a repository is reached.
type transport int

const (
	overFile transport = iota
	overHTTP
	overSSH
)

// location is where a repository is. It never holds a secret, so that it can
// stand in any message.
type location struct {
	transport transport
	text      string // for people, and to tell whether a cache is of this source
	path      string // on disk, or on the SSH server
	host      string // host:port of the SSH server
	user      string // on the SSH server; empty if not given
	base      *url.URL
}

func (l location) String() string { return l.text }

var errSecretInURL = errors.New("the URL holds credentials, which would end up in messages and process lists: " +
	"take them out and name a token file (or an SSH key file) instead")

// parseLocation understands what git does: a path, file://, http(s)://, ssh://
// and host:path. It never repeats a text that it does not understand: there
// may be a password in it.
func parseLocation(text string) (location, error) {
	switch {
	case text == "":
		return location{}, errors.New("no repository given: want a path or a URL")
	case strings.Contains(text, "://"):
		return parseURL(text)
	case scpLike(text):
		return parseSCP(text)
	}
	path, err := filepath.Abs(text)
	if err != nil {
		return location{}, fmt.Errorf("repository %q: %w", text, err)
	}
	return location{transport: overFile, text: path, path: path}, nil
}

// scpLike: as git sees it, a colon before any slash makes a host.
func scpLike(text string) bool {
	colon := strings.IndexByte(text, ':')
	if colon < 0 || strings.ContainsRune(text[:colon], '/') {
		return false
	}
	_, err := os.Lstat(text)
	return err != nil
}

func parseSCP(text string) (location, error) {
	host, path, _ := strings.Cut(text, ":")
	user := ""
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		user, host = host[:at], host[at+1:]
	}
	if host == "" || path == "" || strings.ContainsAny(path, "@") && user == "" {
		return location{}, errors.New("the repository is neither a path nor a URL: want host:path, ssh://host/path, https://host/path or a directory")
	}
	return sshLocation(user, host, "22", path, text), nil
}

func sshLocation(user, host, port, path, text string) location {
	return location{transport: overSSH, text: text, path: path, host: net.JoinHostPort(host, port), user: user}
}

func parseURL(text string) (location, error) {
	u, err := url.Parse(text)
	if err != nil { // which repeats the text
		return location{}, errors.New("the repository's URL cannot be understood: want https://host/path, ssh://user@host/path or file:///path")
	}
	if _, hasPassword := u.User.Password(); hasPassword {
		return location{}, errSecretInURL
	}
	switch u.Scheme {
	case "http", "https":
		if u.User != nil || u.RawQuery != "" || u.Fragment != "" { // tokens travel there, too
			return location{}, errSecretInURL
		}
		if u.Host == "" {
			return location{}, fmt.Errorf("repository %s: no host", u.Redacted())
		}
		u.Path = strings.TrimRight(u.Path, "/")
		u.RawPath = ""
		return location{transport: overHTTP, text: u.String(), base: u}, nil
	case "ssh":
		if u.Hostname() == "" || strings.Trim(u.Path, "/") == "" || u.RawQuery != "" || u.Fragment != "" {
			return location{}, errors.New("the repository's URL names no host or no path: want ssh://user@host/path")
		}
		port := u.Port()
		if port == "" {
			port = "22"
		}
		return sshLocation(u.User.Username(), u.Hostname(), port, u.Path, text), nil
	case "file":
		if u.Host != "" && u.Host != "localhost" || u.Path == "" || u.User != nil {
			return location{}, errors.New("the repository's URL is not of this machine: want file:///path")
		}
		return location{transport: overFile, text: "file://" + u.Path, path: filepath.Clean(u.Path)}, nil
	}
	return location{}, fmt.Errorf("repositories over %q are not supported: want https, http, ssh or file", u.Scheme)
}

// branchRef is the full name of branch.
func branchRef(branch string) (plumbing.ReferenceName, error) {
	ref := plumbing.NewBranchReferenceName(branch)
	if branch == "" || strings.HasPrefix(branch, "refs/") || ref.Validate() != nil {
		return "", fmt.Errorf("branch %q: not a branch name, want one such as main", branch)
	}
	return ref, nil
}
