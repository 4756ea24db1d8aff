// Package shapes answers as GitHub and GitLab do, as far as the public
// documentation of their APIs shows: requests, answers, pages and refusals have
// the shapes from there, and what was written can be read again. It guarantees no
// more than that: neither of them was asked. Pages are small, so that each list
// has several.
package shapes

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/forge/contract"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/gitea"
)

const (
	homeID, forkID = 1296269, 1296270 // of the repositories
	mostOnPage     = 3
)

// Site is a forge with one repository, and a fork of it. It is a contract.World
// once Client is set.
type Site struct {
	*gitea.Front
	Client     controller.Forge
	Repository string // as the forge calls it
	TokenFile  string
	dialect    dialect

	mu       sync.Mutex
	count    int64
	now      time.Time
	tokens   map[string]string // whose a token is
	token    string            // in the file
	commits  map[string]bool
	branches map[string]string // by repository and name
	pulls    []*pull
	statuses []status // as they were set
}

// dialect is what one forge does in its own way.
type dialect struct {
	paths               [3]string
	memberOnlyApprovals bool // others cannot
}

type pull struct {
	number                    int64
	title, body, branch, base string
	fork                      bool
	heads                     []head // the newest last
	state                     forge.PullRequestState
	author, mergedBy, merge   string
	style                     contract.Style
	reviews                   []*review
	comments                  []*comment
	created, updated          time.Time
}

type head struct {
	sha string
	at  time.Time
}

func (p *pull) head() string { return p.heads[len(p.heads)-1].sha }

type review struct {
	id      int64
	by, at  string
	verdict forge.Verdict
	when    time.Time
}

type comment struct {
	id       int64
	by, text string
}

type status struct {
	id  int64
	of  string
	by  string
	raw string // the forge's own word for the state
	forge.Status
}

func newSite(t testing.TB, repository string, d dialect, handler func(*Site) http.Handler) *Site {
	t.Helper()
	s := &Site{
		Repository: repository, TokenFile: filepath.Join(t.TempDir(), "token"), dialect: d, now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		tokens: map[string]string{}, commits: map[string]bool{}, branches: map[string]string{},
	}
	s.branches[key(false, contract.Base)] = s.commit()
	s.Rotate(t)
	s.Front = gitea.NewFront(t, handler(s))
	return s
}

func key(fork bool, branch string) string { return fmt.Sprint(fork, " ", branch) }

// tick is the time, which has always gone on.
func (s *Site) tick() time.Time {
	s.now = s.now.Add(time.Second)
	return s.now
}

func (s *Site) next() int64 {
	s.count++
	return s.count
}

// commit makes one; its content is of no interest.
func (s *Site) commit() string {
	sum := sha1.Sum(fmt.Append(nil, s.Repository, s.next()))
	sha := hex.EncodeToString(sum[:])
	s.commits[sha] = true
	return sha
}

// who is behind a request; "" is nobody.
func (s *Site) who(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return s.tokens[token]
}

func (s *Site) pull(number int64) *pull {
	for _, p := range s.pulls {
		if p.number == number {
			return p
		}
	}
	return nil
}

func (s *Site) must(t testing.TB, number int64) *pull {
	t.Helper()
	p := s.pull(number)
	if p == nil {
		t.Fatalf("no pull request %d", number)
	}
	return p
}

// open opens a pull request; why is what stands in the way.
func (s *Site) open(by, branch, base, title, body string, fork bool) (p *pull, why string) {
	sha, from := s.branches[key(fork, branch)]
	_, to := s.branches[key(false, base)]
	for _, other := range s.pulls {
		if other.state == forge.Open && other.branch == branch && other.base == base && other.fork == fork {
			return other, "exists"
		}
	}
	switch {
	case !from || !to:
		return nil, "branch"
	case sha == s.branches[key(false, base)]:
		return nil, "same"
	}
	at := s.tick()
	p = &pull{number: int64(len(s.pulls) + 1), title: title, body: body, branch: branch, base: base, fork: fork, state: forge.Open,
		author: by, heads: []head{{sha, at}}, created: at, updated: at}
	s.pulls = append(s.pulls, p)
	return p, ""
}

func (s *Site) say(p *pull, by, text string) *comment {
	c := &comment{id: s.next(), by: by, text: text}
	p.comments = append(p.comments, c)
	p.updated = s.tick()
	return c
}

// Forge is the client's.
func (s *Site) Forge() controller.Forge { return s.Client }

// Faults are the front's.
func (s *Site) Faults() contract.Faults { return s }

// Login is the same as the role.
func (*Site) Login(who contract.Somebody) string { return string(who) }

// Paths are as the dialect has them.
func (s *Site) Paths() (pulls, comments, statuses string) {
	return s.dialect.paths[0], s.dialect.paths[1], s.dialect.paths[2]
}

// Token is what stands in TokenFile.
func (s *Site) Token() string { return s.token }

// Revoke takes every token back.
func (s *Site) Revoke(testing.TB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Rotate makes another token for the daemon.
func (s *Site) Rotate(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = "canary_" + rand.Text()
	s.tokens[s.token] = string(contract.Daemon)
	if err := os.WriteFile(s.TokenFile, []byte(s.token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Commit adds one, and moves the pull requests from there.
func (s *Site) Commit(_ testing.TB, by contract.Somebody, branch string) source.Revision {
	s.mu.Lock()
	defer s.mu.Unlock()
	fork := by == contract.Stranger
	sha := s.commit()
	s.branches[key(fork, branch)] = sha
	for _, p := range s.pulls {
		if p.state == forge.Open && p.branch == branch && p.fork == fork {
			p.heads = append(p.heads, head{sha, s.tick()})
		}
	}
	return source.Revision(sha)
}

// DeleteBranch closes the pull requests from there, as both forges do.
func (s *Site) DeleteBranch(_ testing.TB, branch string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.branches, key(false, branch))
	for _, p := range s.pulls {
		if p.state == forge.Open && p.branch == branch && !p.fork {
			p.state, p.updated = forge.Closed, s.tick()
		}
	}
}

// Open implements contract.World.
func (s *Site) Open(t testing.TB, by contract.Somebody, branch, title string) int64 {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	p, why := s.open(string(by), branch, contract.Base, title, "", by == contract.Stranger)
	if why != "" {
		t.Fatalf("open from %s: %s", branch, why)
	}
	return p.number
}

// Merge implements contract.World. What is rebased is already on the newest base
// here, and so goes on it as it is.
func (s *Site) Merge(t testing.TB, number int64, by contract.Somebody, style contract.Style) source.Revision {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.must(t, number)
	p.merge = p.head()
	if style != contract.Rebase {
		p.merge = s.commit()
	}
	p.state, p.mergedBy, p.style, p.updated = forge.Merged, string(by), style, s.tick()
	s.branches[key(false, p.base)] = p.merge
	return source.Revision(p.merge)
}

// Close implements contract.World.
func (s *Site) Close(t testing.TB, number int64, _ contract.Somebody) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.must(t, number)
	p.state, p.updated = forge.Closed, s.tick()
}

// Review implements contract.World.
func (s *Site) Review(t testing.TB, number int64, by contract.Somebody, verdict forge.Verdict) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.must(t, number)
	if by == contract.Stranger && s.dialect.memberOnlyApprovals {
		return
	}
	p.reviews = append(p.reviews, &review{id: s.next(), by: string(by), at: p.head(), verdict: verdict, when: s.tick()})
}

// Dismiss implements contract.World.
func (s *Site) Dismiss(t testing.TB, number int64, of contract.Somebody) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range slices.Backward(s.must(t, number).reviews) {
		if r.by == string(of) {
			r.verdict = forge.Dismissed
			return
		}
	}
	t.Fatalf("%s has not reviewed %d", of, number)
}

// Say implements contract.World.
func (s *Site) Say(t testing.TB, number int64, by contract.Somebody, text string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say(s.must(t, number), string(by), text)
}

// Comments implements contract.World.
func (s *Site) Comments(t testing.TB, number int64) []contract.Comment {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []contract.Comment
	for _, c := range s.must(t, number).comments {
		list = append(list, contract.Comment{By: c.by, Text: c.text})
	}
	return list
}

// PullRequests implements contract.World.
func (s *Site) PullRequests(testing.TB) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pulls)
}

// Statuses implements contract.World.
func (s *Site) Statuses(_ testing.TB, of source.Revision) []forge.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []forge.Status
	for _, each := range slices.Backward(s.statuses) {
		if each.of == string(of) {
			list = append(list, each.Status)
		}
	}
	return list
}
