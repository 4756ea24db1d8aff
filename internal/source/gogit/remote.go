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
	blobless    bool // files are left out of what is fetched, and come when they are read
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
		s.forget(err)
		err = s.problem(err)
		s.close()
		return nil, err
	}
	return s, nil
}

// forget: a token that is not accepted is not used in the next conversation.
func (s *session) forget(err error) {
	var no *problem
	if tokens := s.remote.credentials.Tokens; tokens != nil && errors.As(err, &no) && no.denied {
		tokens.Forget(string(s.login.token))
	}
}

func (s *session) begin(what service) (err error) {
	switch s.remote.location.transport {
	case overHTTP:
		if s.login, err = s.remote.credentials.login(s.watch.ctx); err != nil {
			return err
		}
		if what == uploadPack {
			if done, err := s.resume(); done {
				return err
			}
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
	s.advert, err = s.refs()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		if remarks := s.talk.remarks(); remarks != "" {
			return &problem{text: "the server says: " + remarks}
		}
		return errNoGitServer
	}
	return err
}

// refs are what the server says at the beginning: by itself, or when it is asked.
func (s *session) refs() (advert, error) {
	a, err := readAdvert(watchedReader{s.talk.advert, s.watch}, s.remote.branch, s.remote.also)
	if err != nil || !a.v2 {
		return a, err
	}
	if err := a.supported(); err != nil {
		return a, err
	}
	if s.talk.learned != nil {
		s.talk.learned(a.can)
	}
	if err := s.ask(&a, s.remote.branch, s.remote.also); err != nil || !a.tip.IsZero() {
		return a, err
	}
	return a, s.ask(&a, "refs/heads/") // whether there is any branch
}

// ask reads the refs whose names begin so.
func (s *session) ask(a *advert, names ...plumbing.ReferenceName) error {
	body, err := refsRequest(*a, names...)
	if err != nil {
		return err
	}
	answer, err := s.talk.say(body)
	if err != nil {
		return err
	}
	s.watch.progress()
	return a.readRefs(watchedReader{answer, s.watch}, s.remote.branch, s.remote.also)
}

// resume goes on with a server that was understood before, without its greeting.
// Whatever is wrong with that, a whole conversation says it better; but one that
// lets us in no more does not have to say so twice.
func (s *session) resume() (done bool, err error) {
	talk, can := s.remote.http.resume(s.watch.ctx, s.login)
	if talk == nil {
		return false, nil
	}
	s.talk = talk
	a := advert{v2: true, empty: true, can: can}
	if err = s.ask(&a, s.remote.branch, s.remote.also); err != nil || a.tip.IsZero() {
		talk.close()
		s.talk = nil
		s.remote.http.forget()
		var refused *problem
		return errors.As(err, &refused) && refused.denied, err
	}
	s.advert = a
	return true, nil
}

// problem is what came in the way. A token that was not accepted, at whatever
// point, is not used again: the next conversation has another.
func (s *session) problem(err error) error {
	var no *problem
	if tokens := s.remote.credentials.Tokens; tokens != nil && errors.As(err, &no) && no.denied {
		tokens.Forget(string(s.login.token))
	}
	return s.watch.problem(s.parent, s.login, err)
}

func (s *session) close() {
	if s.talk != nil {
		s.talk.close()
	}
	s.watch.stop()
}

// fetch returns the pack with want and everything that haves do not hold, whose
// history ends at the shallow ones.
func (s *session) fetch(want plumbing.Hash, haves, shallow []plumbing.Hash) (io.Reader, error) {
	if s.v2 {
		pack, _, err := s.fetchCommits([]plumbing.Hash{want}, haves, shallow, 0)
		return pack, err
	}
	body, err := fetchRequest(s.advert, want, haves, shallow)
	if err != nil {
		return nil, s.problem(err)
	}
	answer, err := s.say(body)
	if err != nil {
		return nil, err
	}
	return newSideband(answer), nil
}

// fetchObjects is fetch for anything that there is.
func (s *session) fetchObjects(wants, haves []plumbing.Hash) (io.Reader, error) {
	pack, _, err := s.fetchCommits(wants, haves, nil, 0)
	return pack, err
}

// canShallow reports whether the server gives the newest part of a history.
func (s *session) canShallow() bool { return s.v2 && s.can["fetch=shallow"] }

// fetchCommits asks for so many commits in a row, and all without depth, by one
// whose history ends at the shallow ones. It tells at which ones the history ends
// that comes.
func (s *session) fetchCommits(wants, haves, shallow []plumbing.Hash, depth int) (pack io.Reader, ends []plumbing.Hash, err error) {
	body, err := objectsRequest{wants, haves, shallow, depth, s.remote.blobless && s.can["fetch=filter"]}.encode(s.advert)
	if err != nil {
		return nil, nil, s.problem(err)
	}
	answer, err := s.say(body)
	if err != nil {
		return nil, nil, err
	}
	if ends, err = readSections(answer); err != nil {
		return nil, nil, s.problem(err)
	}
	return newPackOnly(answer), ends, nil
}

func (s *session) say(body []byte) (io.Reader, error) {
	answer, err := s.talk.say(body)
	if err != nil {
		return nil, s.problem(err)
	}
	s.watch.progress()
	return watchedReader{answer, s.watch}, nil
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
