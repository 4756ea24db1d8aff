package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// MaxFiles bounds the files of one folder.
const MaxFiles = 2000

// Folder is the evidence of one pipeline, listed and not read. The zero Folder is
// empty.
type Folder struct {
	Files   []File    // by name
	Refused []Refused // what stands there and is no file to read
	Sum     string    // names all of it; "" is that there is none
	fsys    fs.FS
}

// File is one of them. Equal hashes are equal contents.
type File struct{ Name, Hash string }

// Dir is where the evidence of a pipeline stands, beside its environments.
func Dir(pipeline string) string { return path.Join(promotion.Dir, pipeline, promotion.EvidenceDir) }

// List finds the evidence of a pipeline in a snapshot, by hashes: nothing is read
// but the directory.
func List(snapshot source.Snapshot, pipeline string) (Folder, error) {
	dir := Dir(pipeline)
	hash, err := snapshot.Hash(dir)
	switch {
	case err != nil:
		return Folder{}, fmt.Errorf("list evidence: %w", err)
	case hash == "":
		return Folder{}, nil
	case hash != source.Dir:
		return refusedWhole(dir, "want a directory of evidence"), nil
	}
	entries, err := fs.ReadDir(snapshot, dir)
	if err != nil {
		return Folder{}, fmt.Errorf("list evidence: %w", err)
	}
	folder := Folder{fsys: snapshot}
	sum := sha256.New()
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		ext := path.Ext(name)
		switch {
		case strings.HasPrefix(entry.Name(), ".") || ext != ".json" && ext != ".jsonl":
			continue
		case !entry.Type().IsRegular():
			folder.Refused = append(folder.Refused, Refused{File: name, Reason: "want a regular file"})
			continue
		case len(folder.Files) == MaxFiles:
			return refusedWhole(dir, fmt.Sprintf("more than %d files, and none is read; want what no environment needs taken away", MaxFiles)), nil
		}
		hash, err := snapshot.Hash(name)
		if err != nil {
			return Folder{}, fmt.Errorf("hash %s: %w", name, err)
		}
		folder.Files = append(folder.Files, File{name, hash})
		fmt.Fprintf(sum, "%q %q\n", name, hash) // never fails
	}
	for _, refused := range folder.Refused {
		fmt.Fprintf(sum, "%q\n", refused.File)
	}
	if len(folder.Files)+len(folder.Refused) > 0 {
		folder.Sum = hex.EncodeToString(sum.Sum(nil))
	}
	return folder, nil
}

// refusedWhole is evidence of which nothing counts.
func refusedWhole(dir, reason string) Folder {
	return Folder{Refused: []Refused{{File: dir, Reason: reason}}, Sum: reason}
}

// Read reads one of the files, up to one byte more than may be looked at.
func (f Folder) Read(file File) (content []byte, err error) {
	opened, err := f.fsys.Open(file.Name)
	if err != nil {
		return nil, fmt.Errorf("read evidence: %w", err)
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	return io.ReadAll(io.LimitReader(opened, MaxBytes+1))
}
