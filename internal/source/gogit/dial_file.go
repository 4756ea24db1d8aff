package gogit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// dialFile has git itself serve a repository on this machine, so that its
// hooks, locks and settings hold for us as for everybody.
func dialFile(ctx context.Context, path string, what service) (*conversation, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, errors.New("a repository on this machine is read through git, which is not in PATH")
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("repository %s: %w", path, pathError(err))
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, git, strings.TrimPrefix(string(what), "git-"), path)
	cmd.Env = gitEnvironment()
	if what == uploadPack {
		cmd.Env = append(cmd.Env, "GIT_PROTOCOL="+askVersion2)
	}
	cmd.WaitDelay = time.Second
	remarks := &sharedBuffer{limitedBuffer: limitedBuffer{limit: maxRemarks}}
	cmd.Stderr = remarks
	stdin, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	end := sync.OnceFunc(func() {
		// Closing the pipe ends a git that still writes; one that is through
		// with us may have hooks to run.
		_ = stdout.Close()
		impatient := time.AfterFunc(gitGrace, cancel)
		_ = cmd.Wait()
		impatient.Stop()
		cancel()
	})
	return stream(stdin, stdout, remarks, what == uploadPack, end, end), nil
}

// gitGrace is how long git may take to end after the last word.
const gitGrace = 5 * time.Second

// gitEnvironment drops what would steer git elsewhere: we may run in a hook.
func gitEnvironment() []string {
	steering := []string{
		"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
		"GIT_QUARANTINE_PATH", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_PROTOCOL",
	}
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(steering, name)
	})
}

// stream is a conversation over one pair of pipes. Its end says to a server
// that still waits for us that there is nothing more. wait returns when the
// other side is through and all its remarks are there. With more, something may be
// said again.
func stream(stdin io.WriteCloser, stdout io.Reader, remarks *sharedBuffer, more bool, wait, end func()) *conversation {
	said := false
	return &conversation{
		advert: stdout,
		say: func(body []byte) (io.Reader, error) {
			_, err := stdin.Write(body)
			if more {
				return stdout, err
			}
			said = true
			return stdout, errors.Join(err, stdin.Close())
		},
		close: func() {
			if !said {
				_, _ = io.WriteString(stdin, "0000")
				_ = stdin.Close()
			}
			end()
		},
		remarks: func() string {
			_, _ = io.Copy(io.Discard, io.LimitReader(stdout, maxReport))
			wait()
			return remarks.text()
		},
	}
}

// sharedBuffer is written by whoever copies a process's standard error.
type sharedBuffer struct {
	mu sync.Mutex
	limitedBuffer
}

func (b *sharedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.limitedBuffer.Write(p)
}

func (b *sharedBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(b.String())
}
