// Package instance is the directory of one local cluster, seen from outside and from inside.
//
// Whoever serves a directory holds a lock on it for as long as the process lives, so that the
// process ID written there is never taken for another process's, and a directory that this
// program did not make is never removed.
package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Info is what `up` prints and `status` repeats.
type Info struct {
	Dir          string  `json:"dir"`
	Kubeconfig   string  `json:"kubeconfig"`
	Proxy        string  `json:"proxy"`
	PID          int     `json:"pid"`
	Version      string  `json:"version"`
	StartSeconds float64 `json:"start_seconds"`
}

// record is what the directory remembers.
type record struct {
	Info
	Ready  bool   `json:"ready"`
	APIURL string `json:"api_url"`
}

const (
	recordFile = "localcluster.json"
	lockFile   = "lock"
	LogFile    = "localcluster.log"
)

// ErrNone says that the directory holds no local cluster.
var ErrNone = errors.New("no local cluster")

// Held is a directory that this process serves.
type Held struct {
	dir  string
	lock *os.File
	rec  record
}

// Prepare makes dir, which must be new, empty, or a stopped cluster's. It is fresh unless there
// is a cluster to go on with.
func Prepare(dir string) (fresh bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, fmt.Errorf("cluster directory: %w", err)
	}
	info, running, _, err := Status(dir)
	if running {
		return false, fmt.Errorf("%s is served by process %d already", dir, info.PID)
	}
	if err == nil {
		return false, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, fmt.Errorf("cluster directory: %w", err)
	}
	if len(entries) > 0 {
		return false, fmt.Errorf("%s is neither empty nor a local cluster's: name another directory", dir)
	}
	return true, write(dir, record{Info: Info{Dir: dir}})
}

// Hold takes the lock of a prepared directory.
func Hold(dir string) (*Held, error) {
	rec, err := read(dir)
	if err != nil {
		return nil, err
	}
	lock, err := tryLock(dir)
	for range 20 { // whoever asks for the status holds the lock for a moment
		if lock != nil || err != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
		lock, err = tryLock(dir)
	}
	if err != nil {
		return nil, err
	}
	if lock == nil {
		return nil, fmt.Errorf("%s is served by process %d already", dir, rec.PID)
	}
	rec.PID, rec.Ready = os.Getpid(), false
	return &Held{dir: dir, lock: lock, rec: rec}, write(dir, rec)
}

// Addresses are host:port of the API server and the proxy of an earlier run, "" at first. Using
// them again keeps kubeconfigs valid.
func (h *Held) Addresses() (api, proxy string) {
	return trimScheme(h.rec.APIURL), trimScheme(h.rec.Proxy)
}

func trimScheme(url string) string {
	for _, scheme := range []string{"https://", "http://"} {
		if len(url) > len(scheme) && url[:len(scheme)] == scheme {
			return url[len(scheme):]
		}
	}
	return ""
}

// Publish writes down that the cluster is ready.
func (h *Held) Publish(info Info, apiURL string) error {
	info.Dir, info.PID = h.dir, os.Getpid()
	h.rec = record{Info: info, Ready: true, APIURL: apiURL}
	return write(h.dir, h.rec)
}

// Release gives the lock up.
func (h *Held) Release() error { return unlock(h.lock) }

// Remove deletes the directory; the lock goes with it.
func (h *Held) Remove() error { return errors.Join(os.RemoveAll(h.dir), unlock(h.lock)) }

// Status of the cluster in dir: its info, and whether its process runs and is ready.
func Status(dir string) (info Info, running, ready bool, err error) {
	rec, err := read(dir)
	if err != nil {
		return Info{}, false, false, err
	}
	lock, err := tryLock(dir)
	if err != nil {
		return rec.Info, false, false, err
	}
	if lock != nil {
		return rec.Info, false, false, unlock(lock)
	}
	return rec.Info, true, rec.Ready, nil
}

// Stop ends the process that serves dir, politely for the time of patience and then not, and
// removes dir unless keep.
func Stop(dir string, patience time.Duration, keep bool) error {
	if _, err := read(dir); err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for signal := syscall.SIGTERM; ; time.Sleep(20 * time.Millisecond) {
		lock, err := tryLock(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the process removed it while it ended
		}
		if err != nil {
			return err
		}
		if lock != nil {
			return errors.Join(finish(dir, keep), unlock(lock))
		}
		rec, err := read(dir) // anew: it is written after the lock is taken
		if err != nil {
			continue
		}
		if time.Now().After(deadline) {
			signal = syscall.SIGKILL
		}
		if rec.PID > 0 && signal != 0 {
			if err := syscall.Kill(rec.PID, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("stop process %d: %w", rec.PID, err)
			}
			signal = 0 // said once; the loop goes on until the lock is free
		}
	}
}

func finish(dir string, keep bool) error {
	if keep {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove cluster directory: %w", err)
	}
	return nil
}

// tryLock is nil where another process holds the lock.
func tryLock(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock cluster directory: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return file, nil
	}
	_ = file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock cluster directory %s: %w", dir, err)
}

// unlock gives the lock back at once. Closing alone leaves it to a child that is
// being started at that moment, until it has become another program.
func unlock(file *os.File) error {
	return errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
}

func read(dir string) (record, error) {
	var rec record
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return rec, fmt.Errorf("%s: %w", dir, ErrNone)
	}
	if err != nil {
		return rec, fmt.Errorf("cluster directory: %w", err)
	}
	if err := json.Unmarshal(data, &rec); err != nil {
		return rec, fmt.Errorf("%s: not a local cluster's: %w", filepath.Join(dir, recordFile), err)
	}
	return rec, nil
}

// write replaces the record as a whole, so that a reader never sees half of it.
func write(dir string, rec record) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("cluster directory: %w", err)
	}
	temporary := filepath.Join(dir, recordFile+".new")
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("cluster directory: %w", err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, recordFile)); err != nil {
		return fmt.Errorf("cluster directory: %w", err)
	}
	return nil
}
