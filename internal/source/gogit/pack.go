package gogit

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/memory"
)

const (
	// A fetch of at most so much becomes single objects instead of one more
	// pack: every pack is looked into for every object.
	looseObjects = 200
	looseBytes   = 8 << 20
	maxObjects   = 20_000_000
	// What compresses better than this is not text. Deltas are another matter:
	// a thousand versions of a large file are a few bytes each.
	maxInflation   = 200
	inflatesAnyway = 256 << 20
)

// objectWriter takes single objects.
type objectWriter interface {
	SetEncodedObject(plumbing.EncodedObject) (plumbing.Hash, error)
}

var errBadPack = errors.New("the pack that the server sent is damaged")

// receivePackInto takes a pack from the network into the repository in dir.
// Nothing of it is there until all of it has arrived and been checked.
func receivePackInto(dir string, loose objectWriter, r io.Reader, limits Limits) (packed bool, err error) {
	packs := filepath.Join(dir, "objects", "pack")
	if err := os.MkdirAll(packs, 0o700); err != nil {
		return false, err
	}
	file, err := os.CreateTemp(packs, "tmp_pack_*")
	if err != nil {
		return false, err
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}()
	sum, err := download(file, r, limits.Pack)
	if err != nil {
		return false, err
	}
	total, count, err := inspect(file, limits.Object)
	if err != nil {
		return false, err
	}
	if limits.inflated > 0 && total > limits.inflated {
		return false, &problem{text: fmt.Sprintf("the server sends what becomes %d bytes, of which %d are allowed", total, limits.inflated), large: true}
	}
	if count <= looseObjects && total <= looseBytes {
		return false, unpack(file, loose)
	}
	return true, install(file, filepath.Join(packs, fmt.Sprintf("pack-%x", sum)))
}

// download writes the pack and checks it against the sum at its end.
func download(file *os.File, r io.Reader, limit int64) (sum [sha1.Size]byte, err error) {
	size, err := io.Copy(file, io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return sum, err
	case size > limit:
		return sum, &problem{text: fmt.Sprintf("the server sends more than the %d bytes allowed for one fetch", limit), large: true}
	case size < sha1.Size:
		return sum, errBadPack
	}
	digest := sha1.New()
	if _, err := io.Copy(digest, io.NewSectionReader(file, 0, size-sha1.Size)); err != nil {
		return sum, err
	}
	if _, err := file.ReadAt(sum[:], size-sha1.Size); err != nil {
		return sum, err
	}
	if !bytes.Equal(digest.Sum(nil), sum[:]) {
		return sum, errBadPack
	}
	return sum, nil
}

// inspect looks at how large everything becomes before any of it is built.
func inspect(file *os.File, limit int64) (total int64, count uint32, err error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return 0, 0, err
	}
	scanner := packfile.NewScanner(file)
	_, count, err = scanner.Header()
	if err != nil || count > maxObjects {
		return 0, 0, errors.Join(errBadPack, err)
	}
	stat, err := file.Stat()
	if err != nil {
		return 0, 0, err
	}
	inflated, most := int64(0), inflatesAnyway+maxInflation*stat.Size()
	for range count {
		header, err := scanner.NextObjectHeader()
		if err != nil {
			return 0, 0, fmt.Errorf("%w: %w", errBadPack, err)
		}
		size := header.Length
		if inflated += size; inflated > most && size <= limit {
			return 0, 0, &problem{text: fmt.Sprintf("the server sends %d bytes that become more than %d times as many", stat.Size(), maxInflation), large: true}
		}
		if size <= limit {
			var start prefix
			if _, _, err := scanner.NextObject(&start); err != nil {
				return 0, 0, fmt.Errorf("%w: %w", errBadPack, err)
			}
			if header.Type.IsDelta() {
				size = start.deltaResult()
			}
		}
		if size > limit {
			return 0, 0, &problem{text: fmt.Sprintf("the history holds a file of %d bytes, of which %d are allowed", size, limit), large: true, huge: true}
		}
		total += size
	}
	return total, count, nil
}

// prefix keeps the first bytes written to it.
type prefix struct{ kept []byte }

func (p *prefix) Write(b []byte) (int, error) {
	room := 2*binary.MaxVarintLen64 - len(p.kept)
	p.kept = append(p.kept, b[:min(max(room, 0), len(b))]...)
	return len(b), nil
}

// deltaResult is the size that a delta says it makes.
func (p *prefix) deltaResult() int64 {
	_, n := binary.Uvarint(p.kept)
	if n <= 0 {
		return 0
	}
	size, _ := binary.Uvarint(p.kept[n:])
	return int64(min(size, 1<<62))
}

// unpack writes commits last, so that one that is there is there with all its
// files.
func unpack(file *os.File, loose objectWriter) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	all := memory.NewStorage()
	parser, err := packfile.NewParserWithStorage(packfile.NewScanner(file), all)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(); err != nil && !errors.Is(err, packfile.ErrEmptyPackfile) {
		return fmt.Errorf("%w: %w", errBadPack, err)
	}
	for _, kind := range []plumbing.ObjectType{plumbing.BlobObject, plumbing.TreeObject, plumbing.TagObject, plumbing.CommitObject} {
		iter, err := all.IterEncodedObjects(kind)
		if err != nil {
			return err
		}
		err = iter.ForEach(func(o plumbing.EncodedObject) error {
			_, err := loose.SetEncodedObject(o)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// install indexes the pack and gives it its name.
func install(file *os.File, name string) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	writer := new(idxfile.Writer)
	parser, err := packfile.NewParser(packfile.NewScanner(file), writer)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(); err != nil {
		return fmt.Errorf("%w: %w", errBadPack, err)
	}
	index, err := writer.Index()
	if err != nil {
		return err
	}
	err = writeFile(name+".idx", func(w io.Writer) error {
		_, err := idxfile.NewEncoder(w).Encode(index)
		return err
	})
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), name+".pack")
}

// writeFile replaces a file in one step.
func writeFile(name string, write func(io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(name), "tmp_*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	buffered := bufio.NewWriter(file)
	if err := errors.Join(write(buffered), buffered.Flush(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}

// packed is one object to send.
type packed struct {
	kind    plumbing.ObjectType
	content []byte
}

// writePack makes a pack of whole objects, without deltas.
func writePack(all []packed) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("PACK")
	_ = binary.Write(&b, binary.BigEndian, [2]uint32{2, uint32(len(all))})
	for _, o := range all {
		size := uint64(len(o.content))
		first := byte(o.kind)<<4 | byte(size&15)
		size >>= 4
		if size > 0 {
			first |= 0x80
		}
		b.WriteByte(first)
		if size > 0 {
			b.Write(binary.AppendUvarint(nil, size))
		}
		z := zlib.NewWriter(&b)
		if _, err := z.Write(o.content); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
	}
	sum := sha1.Sum(b.Bytes())
	b.Write(sum[:])
	return b.Bytes(), nil
}
