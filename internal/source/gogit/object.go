package gogit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
	lru "github.com/hashicorp/golang-lru/v2"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

// Limits bound what one question may cost. Zero means the default.
type Limits struct {
	Blob        int64 // bytes of one file that a snapshot reads; default 16 MiB
	TreeEntries int   // names in one directory; default 50,000
	Object      int64 // bytes of one object taken into the mirror; default 512 MiB
	Pack        int64 // bytes of one fetch; default 2 GiB
	History     int   // commits that one question looks at; default 10,000
	Depth       int   // commits in a row that are fetched with a new head; default 200

	inflated int64 // bytes that one fetch may become; 0 is by what it weighs
}

func (l Limits) orDefaults() Limits {
	l.Blob = orDefault(l.Blob, 16<<20)
	l.TreeEntries = orDefault(l.TreeEntries, 50_000)
	l.Object = orDefault(l.Object, 512<<20)
	l.Pack = orDefault(l.Pack, 2<<30)
	l.History = orDefault(l.History, 10_000)
	l.Depth = orDefault(l.Depth, defaultDepth)
	return l
}

func orDefault[T int | int64](value, fallback T) T {
	if value > 0 {
		return value
	}
	return fallback
}

const (
	maxCommitBytes   = 4 << 20
	bytesPerEntry    = 320
	objectCacheBytes = 32 << 20
	cachedTrees      = 4096
	cachedEntries    = 4096 // of a tree with more than that, few are kept
	cachedWide       = 2
	cachedCommits    = 16384
)

var (
	errAbsent   = errors.New("object is not there")
	errDamaged  = errors.New("object is damaged")
	errTooLarge = errors.New("too large")
)

// objects reads Git objects, and checks each against its own hash: what is
// rendered is what the commit says, whatever happened to the disk.
type objects struct {
	limits Limits

	// mu guards storage: go-git fills its indexes and its table of open packs
	// while it reads.
	mu      sync.Mutex
	storage *filesystem.Storage

	trees   *lru.Cache[plumbing.Hash, []node]
	wide    *lru.Cache[plumbing.Hash, []node] // trees with many entries
	commits *lru.Cache[plumbing.Hash, commit]
	lineage lineage
	missing *missing // files that were left out; nil: all are there
	beneath *objects // where those are that are not here; nil: nowhere

	boundary boundary // where the history ends for now

	// damaged is set when an object that must be there is not, or is not
	// itself: the mirror then has to be made anew.
	damaged atomic.Bool
}

func newObjects(limits Limits) (*objects, error) {
	trees, err := lru.New[plumbing.Hash, []node](cachedTrees)
	if err != nil {
		return nil, err
	}
	wide, err := lru.New[plumbing.Hash, []node](cachedWide)
	if err != nil {
		return nil, err
	}
	commits, err := lru.New[plumbing.Hash, commit](cachedCommits)
	if err != nil {
		return nil, err
	}
	return &objects{limits: limits.orDefaults(), trees: trees, wide: wide, commits: commits}, nil
}

func openStorage(dir string) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(osfs.New(dir), cache.NewObjectLRU(objectCacheBytes),
		filesystem.Options{KeepDescriptors: true, AlternatesFS: osfs.New("/")})
}

// use replaces the storage, for readers that are under way as well.
func (o *objects) use(storage *filesystem.Storage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.storage != nil {
		_ = o.storage.Close()
	}
	o.storage = storage
	o.damaged.Store(false)
}

// replace puts a new mirror in the place of the present one; readers wait.
func (o *objects) replace(m *mirror) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.storage != nil {
		_ = o.storage.Close()
		o.storage = nil
	}
	if err := m.promote(); err != nil {
		return fmt.Errorf("replace mirror: %w", err)
	}
	o.storage = openStorage(m.path())
	o.damaged.Store(false)
	o.commits.Purge() // what was there may not be there any more
	o.trees.Purge()
	return nil
}

// read returns one object's content.
func (o *objects) read(kind plumbing.ObjectType, hash plumbing.Hash, limit int64) ([]byte, error) {
	content, err := o.readUnchecked(kind, hash, limit)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, hash, err)
	}
	if plumbing.ComputeHash(kind, content) != hash {
		o.damaged.Store(true)
		return nil, fmt.Errorf("%s %s: %w", kind, hash, errDamaged)
	}
	return content, nil
}

func (o *objects) readUnchecked(kind plumbing.ObjectType, hash plumbing.Hash, limit int64) ([]byte, error) {
	content, err := o.readHere(kind, hash, limit)
	if o.beneath != nil && errors.Is(err, errAbsent) {
		return o.beneath.readUnchecked(kind, hash, limit)
	}
	return content, err
}

func (o *objects) readHere(kind plumbing.ObjectType, hash plumbing.Hash, limit int64) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	size, err := o.size(hash)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%w: %d bytes, of which %d are allowed", errTooLarge, size, limit)
	}
	encoded, err := o.storage.EncodedObject(kind, hash)
	if err != nil {
		return nil, o.storageError(err)
	}
	reader, err := encoded.Reader()
	if err != nil {
		return nil, o.storageError(err)
	}
	defer reader.Close()
	content, err := io.ReadAll(io.LimitReader(reader, limit))
	if err != nil {
		return nil, o.storageError(err)
	}
	return content, nil
}

// size is called with mu held.
func (o *objects) size(hash plumbing.Hash) (int64, error) {
	if o.storage == nil {
		return 0, errAbsent
	}
	size, err := o.storage.EncodedObjectSize(hash)
	return size, o.storageError(err)
}

// storageError tells an object that is not there from everything else, which
// can only be damage.
func (o *objects) storageError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, plumbing.ErrObjectNotFound):
		return errAbsent
	}
	o.damaged.Store(true)
	return fmt.Errorf("%w: %v", errDamaged, err)
}

// lost marks that an object which another one names is not there.
func (o *objects) lost(err error) error {
	if errors.Is(err, errAbsent) {
		o.damaged.Store(true)
	}
	return err
}

// commit is a commit with its tree.
type commit struct {
	source.Commit
	hash plumbing.Hash
	tree plumbing.Hash
}

func (c commit) parents() []plumbing.Hash {
	all := make([]plumbing.Hash, len(c.Parents))
	for i, parent := range c.Parents {
		all[i] = plumbing.NewHash(string(parent))
	}
	return all
}

func (c commit) firstParent() (plumbing.Hash, bool) {
	if len(c.Parents) == 0 {
		return plumbing.ZeroHash, false
	}
	return plumbing.NewHash(string(c.Parents[0])), true
}

func revisionOf(hash plumbing.Hash) source.Revision { return source.FromHash(hash) }

// commit reads a commit that somebody asked for.
func (o *objects) commit(revision source.Revision) (commit, error) {
	if _, err := source.ParseRevision(string(revision)); err != nil {
		return commit{}, fmt.Errorf("%w: %w", source.ErrUnknownRevision, err)
	}
	c, err := o.commitAt(plumbing.NewHash(string(revision)))
	if errors.Is(err, errAbsent) {
		return commit{}, fmt.Errorf("%s: %w", revision, source.ErrUnknownRevision)
	}
	return c, err
}

// present reads a commit that is here.
func (o *objects) present(hash plumbing.Hash) (commit, error) {
	if c, found := o.commits.Get(hash); found {
		return c, nil
	}
	content, err := o.read(plumbing.CommitObject, hash, maxCommitBytes)
	if err != nil {
		return commit{}, err
	}
	var decoded object.Commit
	if err := decoded.Decode(memoryObject(plumbing.CommitObject, content)); err != nil {
		return commit{}, fmt.Errorf("commit %s: %w", hash, err)
	}
	c := commit{hash: hash, tree: decoded.TreeHash, Commit: source.Commit{
		Revision:  revisionOf(hash),
		Author:    person(decoded.Author),
		Committer: person(decoded.Committer),
		Message:   strings.ToValidUTF8(decoded.Message, "\uFFFD"),
	}}
	for _, parent := range decoded.ParentHashes {
		c.Parents = append(c.Parents, revisionOf(parent))
	}
	o.commits.Add(hash, c)
	return c, nil
}

// object is a commit as it is stored, which must be read as git reads it.
func (o *objects) object(c commit) ([]byte, error) {
	content, err := o.read(plumbing.CommitObject, c.hash, maxCommitBytes)
	return content, o.lost(err)
}

func memoryObject(kind plumbing.ObjectType, content []byte) *plumbing.MemoryObject {
	m := &plumbing.MemoryObject{}
	m.SetType(kind)
	_, _ = m.Write(content)
	return m
}

func person(s object.Signature) source.Person {
	return source.Person{Name: strings.ToValidUTF8(s.Name, "\uFFFD"), Email: strings.ToValidUTF8(s.Email, "\uFFFD"), When: s.When}
}

// blob reads one file's content.
func (o *objects) blob(hash plumbing.Hash) ([]byte, error) {
	return o.blobOr(hash, func() error { return o.obtain(hash) })
}

// blobOr is blob for a file that bring fetches if it was left out.
func (o *objects) blobOr(hash plumbing.Hash, bring func() error) ([]byte, error) {
	content, err := o.read(plumbing.BlobObject, hash, o.limits.Blob)
	if o.missing != nil && errors.Is(err, errAbsent) {
		if err := bring(); err != nil {
			return nil, err
		}
		content, err = o.read(plumbing.BlobObject, hash, o.limits.Blob)
	}
	if errors.Is(err, errTooLarge) {
		return nil, fault.Terminal("", "", err)
	}
	return content, o.lost(err)
}

func (o *objects) blobSize(hash plumbing.Hash, bring func() error) (int64, error) {
	size, err := o.sizeOf(hash)
	if o.missing != nil && errors.Is(err, errAbsent) {
		if err := bring(); err != nil {
			return 0, err
		}
		size, err = o.sizeOf(hash)
	}
	return size, o.lost(err)
}

func (o *objects) sizeOf(hash plumbing.Hash) (int64, error) {
	o.mu.Lock()
	size, err := o.size(hash)
	o.mu.Unlock()
	if o.beneath != nil && errors.Is(err, errAbsent) {
		return o.beneath.sizeOf(hash)
	}
	return size, err
}

// checkEvery is how many commits a walk looks at between two looks at its
// context.
const checkEvery = 64

func cancelled(ctx context.Context, step int) error {
	if step%checkEvery == 0 {
		return ctx.Err()
	}
	return nil
}
