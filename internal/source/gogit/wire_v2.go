package gogit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
)

// Version 2 of Git's protocol (gitprotocol-v2) tells only the refs that are
// asked for, gives single objects by their names, and can leave out the files
// of a history. A server that does not know it answers in the version before.
const (
	askVersion2 = "version=2"
	version2    = "version 2"
	delimiter   = "0001"
	// withoutFiles leaves out every file: commits and directories come, and
	// files when they are read.
	withoutFiles = "filter blob:none\n"
	// maxCapabilities is many more than there are.
	maxCapabilities = 1000
)

// readCapabilities reads what a server understands that answers in version 2.
func readCapabilities(lines *pktline.Scanner) (advert, error) {
	a := advert{v2: true, empty: true, can: map[string]bool{}}
	for lines.Scan() {
		line := strings.TrimSpace(string(lines.Bytes()))
		if line == "" {
			return a, nil
		}
		if len(a.can) > maxCapabilities {
			return advert{}, errNoGitServer
		}
		name, values, _ := strings.Cut(line, "=")
		a.can[name] = true
		for _, value := range strings.Fields(values) {
			a.can[name+"="+value] = true
		}
	}
	if err := lines.Err(); err != nil {
		return advert{}, serverSays(err)
	}
	return advert{}, io.ErrUnexpectedEOF
}

// supported tells why no conversation is possible with this server.
func (a advert) supported() error {
	switch {
	case a.can["object-format=sha256"] && !a.can["object-format=sha1"]:
		return errSHA256
	case !a.can["ls-refs"] || !a.can["fetch"]:
		return errNoGitServer
	}
	return nil
}

// command begins a request in version 2.
func (a advert) command(name string) (*bytes.Buffer, *pktline.Encoder, error) {
	b := &bytes.Buffer{}
	e := pktline.NewEncoder(b)
	err := errors.Join(e.Encodef("command=%s\n", name), e.Encodef("%s\n", agent))
	if a.can["object-format=sha1"] {
		err = errors.Join(err, e.EncodeString("object-format=sha1\n"))
	}
	b.WriteString(delimiter)
	return b, e, err
}

// refsRequest asks for what begins with the names given; servers list thousands.
func refsRequest(a advert, names ...plumbing.ReferenceName) ([]byte, error) {
	b, e, err := a.command("ls-refs")
	for _, name := range names {
		if name != "" {
			err = errors.Join(err, e.Encodef("ref-prefix %s\n", name))
		}
	}
	if err = errors.Join(err, e.Flush()); err != nil {
		return nil, fmt.Errorf("ask for refs: %w", err)
	}
	return b.Bytes(), nil
}

// readRefs takes from the answer what the advert of an older version begins with.
func (a *advert) readRefs(r io.Reader, branch, also plumbing.ReferenceName) error {
	lines := pktline.NewScanner(&refsReader{r, maxAdvert})
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			return nil
		}
		hash, rest, found := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		name, _, _ := strings.Cut(rest, " ") // attributes may follow
		if !found {
			return errNoGitServer
		}
		if err := a.add([]byte(hash+" "+name), branch, also); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return serverSays(err)
	}
	return io.ErrUnexpectedEOF
}

// objectsRequest asks for wants and all that belongs to them and to no have.
type objectsRequest struct {
	wants, haves []plumbing.Hash
	shallow      []plumbing.Hash // commits that we have without their parents
	depth        int             // commits in a row; 0 is all
	blobless     bool            // without files, unless a want is one
}

func (r objectsRequest) encode(a advert) ([]byte, error) {
	b, e, err := a.command("fetch")
	err = errors.Join(err, e.EncodeString("no-progress\n"), e.EncodeString("ofs-delta\n"))
	if r.blobless {
		err = errors.Join(err, e.EncodeString(withoutFiles))
	}
	for word, hashes := range map[string][]plumbing.Hash{"want": r.wants, "have": r.haves, "shallow": r.shallow} {
		for _, hash := range hashes {
			err = errors.Join(err, e.Encodef("%s %s\n", word, hash))
		}
	}
	if r.depth > 0 {
		err = errors.Join(err, e.Encodef("deepen %d\n", r.depth))
	}
	err = errors.Join(err, e.EncodeString("done\n"), e.Flush())
	if err != nil {
		return nil, fmt.Errorf("ask for objects: %w", err)
	}
	return b.Bytes(), nil
}

// readSections reads what stands before the pack: where the history ends that is
// about to come. Of what version 2 has besides, nothing was asked for.
func readSections(r io.Reader) (ends []plumbing.Hash, err error) {
	p := packets{r: r}
	line, err := p.next()
	if err == nil && line == "shallow-info" {
		if ends, err = p.shallowInfo(); err != nil {
			return nil, err
		}
		line, err = p.next()
	}
	switch {
	case err != nil:
		return nil, err
	case line != "packfile":
		return nil, errNoGitServer
	}
	return ends, nil
}

// packets reads lines of version 2, whose delimiter the version before does not
// have. It reads nothing that follows them.
type packets struct {
	r       io.Reader
	payload [maxPacket]byte
}

const (
	packetHeader = 4
	maxPacket    = 65_516
	// A line that ends a section, as next returns it: no other is empty.
	sectionEnd = ""
)

func (p *packets) next() (string, error) {
	var header [packetHeader]byte
	if _, err := io.ReadFull(p.r, header[:]); errors.Is(err, io.EOF) {
		return "", io.ErrUnexpectedEOF
	} else if err != nil {
		return "", err
	}
	if string(header[:]) == delimiter {
		return sectionEnd, nil
	}
	size, err := strconv.ParseUint(string(header[:]), 16, 16)
	if err != nil || size <= packetHeader || size > maxPacket+packetHeader {
		return "", errNoGitServer
	}
	payload := p.payload[:size-packetHeader]
	if _, err := io.ReadFull(p.r, payload); err != nil {
		return "", errors.Join(io.ErrUnexpectedEOF, err)
	}
	line := strings.TrimSuffix(string(payload), "\n")
	if said, found := strings.CutPrefix(line, "ERR "); found {
		return "", &problem{text: "the server says: " + said, refused: true}
	}
	if line == sectionEnd {
		return "", errNoGitServer
	}
	return line, nil
}

// shallowInfo reads its section. What ends no more is seen when it is there.
func (p *packets) shallowInfo() (ends []plumbing.Hash, err error) {
	for said := 0; ; said++ {
		line, err := p.next()
		if err != nil || line == sectionEnd {
			return ends, err
		}
		if said >= 2*maxEnds {
			return nil, errManyEnds
		}
		word, hash, _ := strings.Cut(line, " ")
		if !plumbing.IsHash(hash) || word != "shallow" && word != "unshallow" {
			return nil, errNoGitServer
		}
		if word == "shallow" {
			ends = append(ends, plumbing.NewHash(hash))
		}
	}
}
