package rego

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// endOfArchive is how long the zeros are that end an archive.
const endOfArchive = 1024

// unpack calls each for every entry of an archive. One that is too long, or that
// does not end as archives do, is refused: rules might be missing.
func unpack(packed []byte, limits Limits, each func(*tar.Header, io.Reader) error) error {
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	// Headers count too, so the bound on the stream is wider than on contents.
	counted := &countingReader{from: unpacked, most: 2 * limits.Bytes}
	stream := tar.NewReader(counted)
	for {
		if _, err := io.Copy(io.Discard, stream); err != nil { // what each left of the entry before
			return err
		}
		before := counted.n
		header, err := stream.Next()
		if errors.Is(err, io.EOF) {
			return atEnd(counted, before)
		}
		if err != nil {
			return err
		}
		if err := each(header, stream); err != nil {
			return err
		}
	}
}

// atEnd wants the end that archives have, and nothing after it.
func atEnd(counted *countingReader, before int64) error {
	if counted.n-before < endOfArchive {
		return errors.New("the archive has no end; it may have been cut off")
	}
	for buffer := make([]byte, 4096); ; {
		n, err := counted.Read(buffer)
		if len(bytes.Trim(buffer[:n], "\x00")) > 0 {
			return errors.New("there is more after the archive's end; want one archive")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// countingReader fails where more is read than it may give: an end would hide
// what comes after.
type countingReader struct {
	from    io.Reader
	n, most int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if r.n += int64(n); r.n > r.most {
		return n, fmt.Errorf("more than %d bytes when unpacked", r.most)
	}
	return n, err
}
