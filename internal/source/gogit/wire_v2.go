package gogit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
)

// readCapabilities reads what a server understands that answers in version 2.
func readCapabilities(lines *pktline.Scanner) (advert, error) {
	a := advert{v2: true, empty: true, can: map[string]bool{}}
	for lines.Scan() {
		line := strings.TrimSpace(string(lines.Bytes()))
		if line == "" {
			return a, nil
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

// objectsRequest asks for wants and all that belongs to them and to no have;
// blobless, without files, unless a want is one.
func objectsRequest(a advert, wants, haves []plumbing.Hash, blobless bool) ([]byte, error) {
	b, e, err := a.command("fetch")
	err = errors.Join(err, e.EncodeString("no-progress\n"), e.EncodeString("ofs-delta\n"))
	if blobless {
		err = errors.Join(err, e.EncodeString(withoutFiles))
	}
	for _, want := range wants {
		err = errors.Join(err, e.Encodef("want %s\n", want))
	}
	for _, have := range haves {
		err = errors.Join(err, e.Encodef("have %s\n", have))
	}
	err = errors.Join(err, e.EncodeString("done\n"), e.Flush())
	if err != nil {
		return nil, fmt.Errorf("ask for objects: %w", err)
	}
	return b.Bytes(), nil
}
