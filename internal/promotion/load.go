package promotion

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/strictyaml"
)

// Dir is where the environment files of a source stand.
const Dir = "environments"

// EvidenceDir is what stands beside the environments of a pipeline, and is none:
// signed statements about images. See package evidence.
const EvidenceDir = "evidence"

// MaxFiles bounds the environments of one source.
const MaxFiles = 10_000

// Load reads environments/<pipeline>/<name>.yaml from a snapshot. A file that
// is wrong becomes a Fault, a pipeline whose directory nobody could read is
// Unreadable; only what makes the whole unreadable is an error, and then
// nothing is known: neither which environments there are, nor which are gone.
func Load(fsys fs.FS) (Set, error) {
	l := loader{fsys: fsys, drafts: map[ID]draft{}, set: Set{Environments: map[ID]Environment{}, Faults: map[ID]Fault{}, Unreadable: map[string]error{}}}
	if err := l.readAll(); err != nil {
		return Set{}, fmt.Errorf("load environments: %w", err)
	}
	if l.files == 0 {
		return Set{}, fault.Terminal("load environments", "", errors.Join(append([]error{ErrNoEnvironments}, l.set.Misplaced...)...))
	}
	l.refuseDisputed()
	for _, pipeline := range l.pipelines() {
		l.link(pipeline)
	}
	return l.set, nil
}

type loader struct {
	fsys   fs.FS
	files  int
	drafts map[ID]draft
	set    Set
}

func (l *loader) readAll() error {
	pipelines, err := fs.ReadDir(l.fsys, Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", Dir, err)
	}
	for _, entry := range pipelines {
		name := path.Join(Dir, entry.Name())
		switch {
		case entry.IsDir():
			err := l.readPipeline(entry.Name())
			if fault.IsTerminal(err) && l.files <= MaxFiles {
				l.unreadable(entry.Name(), err)
				continue
			}
			if err != nil {
				return err
			}
		case looksLikeEnvironment(entry):
			l.misplaced(name, "want it in the directory of its pipeline, "+path.Join(Dir, "<pipeline>", stem(entry.Name())+".yaml"))
		}
	}
	return nil
}

func (l *loader) readPipeline(pipeline string) error {
	dir := path.Join(Dir, pipeline)
	entries, err := fs.ReadDir(l.fsys, dir)
	if err != nil {
		return fmt.Errorf("read %s: %w", dir, err)
	}
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), "."):
		case entry.IsDir() && entry.Name() == EvidenceDir:
		case entry.IsDir():
			l.misplaced(name, "directories below a pipeline are not read; want "+path.Join(dir, "<name>.yaml"))
		case path.Ext(entry.Name()) == ".yaml":
			if err := l.readFile(ID{Pipeline: pipeline, Name: stem(entry.Name())}, name, entry); err != nil {
				return err
			}
		case looksLikeEnvironment(entry):
			l.misplaced(name, "want it named "+stem(entry.Name())+".yaml")
		}
	}
	return nil
}

func (l *loader) readFile(id ID, file string, entry fs.DirEntry) error {
	if l.files++; l.files > MaxFiles {
		return fault.Terminal("read", file, fmt.Errorf("more than %d environment files; want fewer, or another source", MaxFiles))
	}
	d, err := readDraft(l.fsys, id, file, entry.Type(), false)
	var invalid invalidFile
	switch {
	case errors.As(err, &invalid):
		l.invalid(id, invalid.err)
	case err != nil:
		return err
	default:
		l.drafts[id] = d
	}
	return nil
}

// ErrInvalidFile is what LoadFile's error matches when the file is there and
// does not decode.
var ErrInvalidFile = errors.New("invalid environment file")

// LoadFile reads the file of one environment alone, for walking history: found
// is false where a snapshot has none. An error that does not match
// ErrInvalidFile means that nothing is known. Other environments are not looked
// at, so After may name one that does not exist; and where Data is not said it is
// DataNone, as in the past.
func LoadFile(fsys fs.FS, id ID) (e Environment, found bool, err error) {
	file := path.Join(Dir, id.Pipeline, id.Name+".yaml")
	if err := checkID(id); err != nil {
		return Environment{}, false, invalidFile{fmt.Errorf("%s: %w", file, err)}
	}
	stat, err := fs.Lstat(fsys, file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && stat.IsDir() {
		return Environment{}, false, nil
	}
	if err != nil {
		return Environment{}, false, fmt.Errorf("read %s: %w", file, err)
	}
	d, err := readDraft(fsys, id, file, stat.Mode().Type(), true)
	if err != nil {
		return Environment{}, errors.Is(err, ErrInvalidFile), err
	}
	return d.Environment, true, nil
}

// invalidFile tells a file that is wrong from one that cannot be read.
type invalidFile struct{ err error }

func (e invalidFile) Error() string        { return e.err.Error() }
func (e invalidFile) Unwrap() error        { return e.err }
func (e invalidFile) Is(target error) bool { return target == ErrInvalidFile }

func readDraft(fsys fs.FS, id ID, file string, kind fs.FileMode, history bool) (draft, error) {
	if err := checkID(id); err != nil {
		return draft{}, invalidFile{fmt.Errorf("%s: %w", printable(file), err)}
	}
	if !kind.IsRegular() {
		return draft{}, invalidFile{fmt.Errorf("%s: want a regular file, not a link or a submodule", printable(file))}
	}
	content, err := read(fsys, file)
	if errors.Is(err, errTooLong) || fault.IsTerminal(err) {
		return draft{}, invalidFile{fmt.Errorf("%s: %w", printable(file), err)}
	}
	if err != nil {
		return draft{}, fmt.Errorf("read %s: %w", file, err)
	}
	d, err := decode(id, file, content, history)
	if err != nil {
		return draft{}, invalidFile{err}
	}
	return d, nil
}

// maxRead is well above what the decoder takes, which has more to say.
const maxRead = 16 * strictyaml.MaxBytes

var errTooLong = errors.New("too long")

// read stops one byte past the bound, which the decoder refuses, and does not
// begin where the file is larger by far: a source may not even hand it out.
func read(fsys fs.FS, file string) (content []byte, err error) {
	stat, err := fs.Stat(fsys, file)
	if err != nil {
		return nil, err
	}
	if stat.Size() > maxRead {
		return nil, fmt.Errorf("%w: it has %d bytes; want at most %d in the file of an environment", errTooLong, stat.Size(), strictyaml.MaxBytes)
	}
	f, err := fsys.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, strictyaml.MaxBytes+1))
}

func (l *loader) invalid(id ID, err error) {
	l.set.Faults[id] = Fault{Reason: InvalidEnvironment, Err: err}
}

func (l *loader) misplaced(file, advice string) {
	if len(l.set.Misplaced) < MaxFiles {
		l.set.Misplaced = append(l.set.Misplaced, fmt.Errorf("%s: %s", printable(file), printable(advice)))
	}
}

// unreadable forgets what was read of a pipeline before it could not be read.
func (l *loader) unreadable(pipeline string, err error) {
	maps.DeleteFunc(l.drafts, func(id ID, _ draft) bool { return id.Pipeline == pipeline })
	maps.DeleteFunc(l.set.Faults, func(id ID, _ Fault) bool { return id.Pipeline == pipeline })
	if text := err.Error(); printable(text) != text {
		err = errors.New(printable(text))
	}
	l.set.Unreadable[pipeline] = err
}

// printable quotes a name that would garble the line it is printed on.
func printable(name string) string {
	if utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return name
	}
	return strconv.QuoteToGraphic(name)
}

func looksLikeEnvironment(entry fs.DirEntry) bool {
	if strings.HasPrefix(entry.Name(), ".") {
		return false
	}
	switch strings.ToLower(path.Ext(entry.Name())) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return !entry.Type().IsRegular() // a link or a submodule in place of a pipeline
}

func stem(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }
