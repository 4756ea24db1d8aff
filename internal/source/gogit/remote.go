package gogit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// remote is one branch of a repository somewhere, with how to reach it.
type remote struct {
	location    location
	credentials Credentials
	branch      plumbing.ReferenceName
	also        plumbing.ReferenceName // a second one to look at; may be empty
	timeout     time.Duration
	http        *httpClient
}

func newRemote(url, branch string, credentials Credentials, timeout time.Duration) (*remote, error) {
	place, err := parseLocation(url)
	if err != nil {
		return nil, err
	}
	ref, err := branchRef(branch)
	if err != nil {
		return nil, err
	}
	if place.transport == overSSH && (credentials.SSHKeyFile == "" || credentials.KnownHostsFile == "") {
		return nil, fmt.Errorf("repository %s: SSH needs a key file and a known_hosts file, which are not both given; "+
			"the server's key must be known beforehand, it is never taken on trust", place)
	}
	return &remote{location: place, credentials: credentials, branch: ref, timeout: timeout, http: newHTTPClient()}, nil
}

func (r *remote) close() { r.http.close() }

// with looks at a second branch besides. It is closed with r.
func (r *remote) with(also plumbing.ReferenceName) *remote {
	both := *r
	both.also = also
	return &both
}

// object is how errors name the remote.
func (r *remote) object() string {
	return fmt.Sprintf("%s (%s)", r.location, r.branch.Short())
}

// session is one conversation whose refs have been read.
type session struct {
	advert
	remote *remote
	parent context.Context
	watch  *watch
	talk   *conversation
	login  login
}

func (r *remote) open(ctx context.Context, what service) (*session, error) {
	s := &session{remote: r, parent: ctx, watch: newWatch(ctx, r.timeout)}
	err := s.begin(what)
	if err != nil {
		err = s.problem(err)
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) begin(what service) (err error) {
	switch s.remote.location.transport {
	case overHTTP:
		if s.login, err = s.remote.credentials.login(); err != nil {
			return err
		}
		s.talk, err = s.remote.http.dial(s.watch.ctx, s.remote.location.base, what, s.login)
	case overSSH:
		s.talk, err = dialSSH(s.watch.ctx, s.remote.location, what, s.remote.credentials)
	default:
		s.talk, err = dialFile(s.watch.ctx, s.remote.location.path, what)
	}
	if err != nil {
		return err
	}
	s.watch.progress()
	s.advert, err = readAdvert(watchedReader{s.talk.advert, s.watch}, s.remote.branch, s.remote.also)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		if remarks := s.talk.remarks(); remarks != "" {
			return &problem{text: "the server says: " + remarks}
		}
		return errNoGitServer
	}
	return err
}

func (s *session) problem(err error) error { return s.watch.problem(s.parent, s.login, err) }

func (s *session) close() {
	if s.talk != nil {
		s.talk.close()
	}
	s.watch.stop()
}

// fetch returns the pack with want and everything that haves do not hold.
func (s *session) fetch(want plumbing.Hash, haves []plumbing.Hash) (io.Reader, error) {
	body, err := fetchRequest(s.advert, want, haves)
	if err != nil {
		return nil, s.problem(err)
	}
	answer, err := s.talk.say(body)
	if err != nil {
		return nil, s.problem(err)
	}
	s.watch.progress()
	return newSideband(watchedReader{answer, s.watch}), nil
}

// push asks to move a branch from one commit to another, if it is there; to
// zero deletes it. An error leaves open whether it moved.
func (s *session) push(ref plumbing.ReferenceName, from, to plumbing.Hash, pack []byte) (report, error) {
	body, err := pushRequest(s.advert, ref, from, to, pack)
	if err != nil {
		return report{}, s.problem(err)
	}
	answer, err := s.talk.say(body)
	if err != nil {
		return report{}, s.problem(err)
	}
	s.watch.progress()
	result, err := readReport(watchedReader{answer, s.watch}, ref)
	if err != nil {
		return report{}, s.problem(err)
	}
	result.reason = s.login.clean(result.reason)
	return result, nil
}
