package gogit

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
)

// service is what a conversation is about.
type service string

const (
	uploadPack  service = "git-upload-pack"
	receivePack service = "git-receive-pack"
)

const (
	maxAdvert  = 64 << 20 // bytes of refs; a forge lists every pull request there
	maxReport  = 1 << 20
	maxBeside  = 64 << 20 // of what a server says besides a pack, kept or not
	maxRemarks = 8 << 10  // of what a server says besides
	agent      = "agent=chaperone"
)

// conversation is one connection, as Git's protocol sees it: the server names
// its refs, we say one thing, the server answers.
type conversation struct {
	advert io.Reader
	say    func(body []byte) (io.Reader, error) // several times in version 2
	close  func()
	// learned is told what the server can; nil: nobody remembers.
	learned func(can map[string]bool)
	// remarks is what the server said beside the protocol, if there is such.
	remarks func() string
}

// advert is what a server offers: one branch of it, maybe a second one, and
// what it understands.
type advert struct {
	tip   plumbing.Hash            // zero if there is no such branch
	also  plumbing.Hash            // likewise
	below []plumbing.ReferenceName // what is there, where the second one names a folder; bounded
	empty bool                     // no branch at all
	v2    bool                     // the server speaks version 2; its refs are asked for
	can   map[string]bool
}

var (
	errNoGitServer = errors.New("answers, but not as a Git server does")
	errNoSideband  = errors.New("the Git server is too old: it lacks side-band-64k")
	errSHA256      = errors.New("the repository has SHA-256 objects, which are not supported")
)

// readAdvert keeps the branches that matter; servers list thousands.
func readAdvert(r io.Reader, branch, also plumbing.ReferenceName) (advert, error) {
	a := advert{empty: true, can: map[string]bool{}}
	lines := pktline.NewScanner(&refsReader{r, maxAdvert})
	preamble := false
	for lines.Scan() {
		line := lines.Bytes()
		switch {
		case bytes.HasPrefix(line, []byte("# ")): // over HTTP, and a flush after it
			preamble = true
			continue
		case len(line) == 0 && preamble:
			preamble = false
			continue
		case strings.TrimSpace(string(line)) == version2:
			return readCapabilities(lines)
		case len(line) == 0: // the end, or all that there is of an empty repository
			return a, nil
		}
		if err := a.add(line, branch, also); err != nil {
			return advert{}, err
		}
	}
	if err := lines.Err(); err != nil {
		return advert{}, serverSays(err)
	}
	return advert{}, io.ErrUnexpectedEOF
}

func (a *advert) add(line []byte, branch, also plumbing.ReferenceName) error {
	line, capabilities, first := bytes.Cut(line, []byte{0})
	if first {
		for _, c := range strings.Fields(string(capabilities)) {
			a.can[c] = true
		}
		if a.can["object-format=sha256"] {
			return errSHA256
		}
	}
	hash, name, found := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
	if hash == "shallow" {
		return nil
	}
	var id plumbing.Hash
	if !found || len(hash) != 2*len(id) {
		return errNoGitServer
	}
	if _, err := hex.Decode(id[:], []byte(hash)); err != nil {
		return errNoGitServer
	}
	a.empty = a.empty && id.IsZero()
	switch name {
	case branch.String():
		a.tip = id
	case also.String():
		a.also = id
	default:
		if folder := also.String(); strings.HasSuffix(folder, "/") && strings.HasPrefix(name, folder) && len(a.below) < maxBelow {
			a.below = append(a.below, plumbing.ReferenceName(name))
		}
	}
	return nil
}

// maxBelow bounds how many branches of a folder are looked at.
const maxBelow = 100

// refsReader tells refs without end from ones that are cut off.
type refsReader struct {
	io.Reader
	left int
}

func (r *refsReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, &problem{text: fmt.Sprintf("the server lists refs of more than the %d bytes allowed", maxAdvert)}
	}
	n, err := r.Reader.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// serverSays makes a refusal within the protocol a problem.
func serverSays(err error) error {
	var said *pktline.ErrorLine
	if errors.As(err, &said) {
		return &problem{text: "the server says: " + said.Text}
	}
	if errors.Is(err, pktline.ErrInvalidPktLen) {
		return errNoGitServer
	}
	return err
}

func fetchRequest(a advert, want plumbing.Hash, haves, shallow []plumbing.Hash) ([]byte, error) {
	if !a.can["side-band-64k"] {
		return nil, errNoSideband
	}
	ask := []string{"side-band-64k", agent}
	for _, c := range []string{"ofs-delta", "no-progress", "multi_ack_detailed"} {
		if a.can[c] {
			ask = append(ask, c)
		}
	}
	var b bytes.Buffer
	e := pktline.NewEncoder(&b)
	err := e.Encodef("want %s %s\n", want, strings.Join(ask, " "))
	for _, end := range shallow {
		err = errors.Join(err, e.Encodef("shallow %s\n", end))
	}
	err = errors.Join(err, e.Flush())
	for _, have := range haves {
		err = errors.Join(err, e.Encodef("have %s\n", have))
	}
	err = errors.Join(err, e.EncodeString("done\n"))
	return b.Bytes(), err
}

// pushRequest deletes the branch if to is zero; no pack goes with that.
func pushRequest(a advert, ref plumbing.ReferenceName, from, to plumbing.Hash, pack []byte) ([]byte, error) {
	if !a.can["side-band-64k"] || !a.can["report-status"] {
		return nil, errNoSideband
	}
	if to.IsZero() && !a.can["delete-refs"] {
		return nil, &problem{text: "the Git server lets no branch be deleted", denied: true}
	}
	var b bytes.Buffer
	e := pktline.NewEncoder(&b)
	err := e.Encodef("%s %s %s\x00 report-status side-band-64k %s", from, to, ref, agent)
	err = errors.Join(err, e.Flush())
	b.Write(pack)
	return b.Bytes(), err
}

// sideband reads what the server sends for us, and keeps a little of what it
// says besides.
type sideband struct {
	lines   *pktline.Scanner
	rest    []byte
	beside  int // bytes that were not for us
	remarks limitedBuffer
	strict  bool // nothing but bands
}

// newPackOnly reads what comes in version 2 after its sections.
func newPackOnly(r io.Reader) *sideband {
	s := newSideband(r)
	s.strict = true
	return s
}

func newSideband(r io.Reader) *sideband {
	return &sideband{lines: pktline.NewScanner(r), remarks: limitedBuffer{limit: maxRemarks}}
}

func (s *sideband) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if !s.lines.Scan() {
			if err := s.lines.Err(); err != nil {
				return 0, serverSays(err)
			}
			return 0, io.ErrUnexpectedEOF
		}
		line := s.lines.Bytes()
		if len(line) == 0 {
			return 0, io.EOF
		}
		if line[0] != 1 {
			if s.beside += len(line) + 4; s.beside > maxBeside {
				return 0, &problem{text: fmt.Sprintf("the server says more than the %d bytes allowed besides the pack", maxBeside)}
			}
		}
		switch line[0] {
		case 1:
			s.rest = line[1:]
		case 2:
			_, _ = s.remarks.Write(line[1:])
		case 3:
			return 0, &problem{text: fmt.Sprintf("the server says: %s", line[1:])}
		default:
			// Which of our commits the server knows, before the pack.
			if s.strict || !bytes.HasPrefix(line, []byte("ACK ")) && !bytes.HasPrefix(line, []byte("NAK")) {
				return 0, errNoGitServer
			}
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// report is the server's word on a push.
type report struct {
	accepted bool
	reason   string
}

// readReport fails if the server's word did not arrive: nobody knows then
// whether the push happened.
func readReport(r io.Reader, ref plumbing.ReferenceName) (report, error) {
	band := newSideband(r)
	lines := pktline.NewScanner(io.LimitReader(band, maxReport))
	var result report
	known := false
	for lines.Scan() && len(lines.Bytes()) > 0 {
		line := strings.TrimSpace(string(lines.Bytes()))
		status, rest, _ := strings.Cut(line, " ")
		name, reason, _ := strings.Cut(rest, " ")
		switch {
		case status == "unpack" && rest != "ok":
			result.reason = "unpack: " + rest
		case status == "ok" && name == ref.String():
			result.accepted, known = true, true
		case status == "ng" && name == ref.String():
			result.reason = strings.TrimSpace(result.reason + " " + reason)
			known = true
		}
	}
	if err := lines.Err(); err != nil {
		return report{}, serverSays(err)
	}
	if !known {
		return report{}, io.ErrUnexpectedEOF
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(band, maxReport)) // remarks that follow
	if remarks := strings.TrimSpace(band.remarks.String()); !result.accepted && remarks != "" {
		result.reason += ": " + remarks
	}
	return result, nil
}

// limitedBuffer drops what is too much instead of failing.
type limitedBuffer struct {
	bytes.Buffer
	limit int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	room := max(0, b.limit-b.Len())
	b.Buffer.Write(p[:min(room, len(p))])
	return len(p), nil
}

// watchedReader tells a watch of every byte.
type watchedReader struct {
	io.Reader
	watch *watch
}

func (r watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.watch.progress()
	}
	if err != nil && err != io.EOF && r.watch.ctx.Err() != nil {
		err = context.Cause(r.watch.ctx)
	}
	return n, err
}
