// Package gitea gives tests a real Gitea. It guarantees that one server runs for
// a test process, on a socket of its own, that each test has people and
// repositories of its own there and an address of its own on 127.0.0.1 whose
// faults trouble no other test, and that the server is gone soon after the
// process is, however that ended.
package gitea

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "code.gitea.io/sdk/gitea"

	"chaperone.dev/chaperone/internal/testkit/program"
)

// Program is what runs. The variable may name one that is built already.
var Program = program.Program{Name: "localforge", Tags: "sqlite sqlite_unlock_notify", Env: "CHAPERONE_LOCALFORGE"}

const (
	startWait = 2 * time.Minute
	adminName = "keeper"
	password  = "correct-horse-7"
)

// Server is a running Gitea.
type Server struct {
	socket string
	dialer net.Dialer
	http   *http.Client
	admin  *sdk.Client
	count  atomic.Int64
	owner  *os.File // the server ends when this does
}

var shared struct {
	sync.Mutex
	server *Server
}

// Start returns the server of this process, and starts it where there is none.
// The first one to ask waits for about two seconds.
func Start(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		s, err := start(t)
		if err != nil {
			t.Fatalf("gitea: %v", err)
		}
		shared.server = s
	}
	return shared.server
}

func start(t testing.TB) (*Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	built, err := Program.Build(t.Context(), t.Logf)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gitea") // short: a socket's path has 108 bytes
	if err != nil {
		return nil, err
	}
	s := &Server{socket: filepath.Join(dir, "socket")}
	s.http = &http.Client{Transport: s.transport(), Timeout: time.Minute}
	config := filepath.Join(dir, "app.ini")
	if err := os.WriteFile(config, []byte(settings(dir, s.socket)), 0o600); err != nil {
		return nil, err
	}
	ended, err := s.run(built.Path, dir, config)
	if err != nil {
		return nil, err
	}
	if err := s.wait(ctx, ended); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, lastWords(dir))
	}
	token, err := firstToken(ctx, built.Path, config)
	if err != nil {
		return nil, err
	}
	s.admin, err = s.client(token)
	return s, err
}

// transport goes to the server, whatever the address says.
func (s *Server) transport() *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return s.dialer.DialContext(ctx, "unix", s.socket)
	}}
}

func (s *Server) client(token string) (*sdk.Client, error) {
	return sdk.NewClient("http://gitea", sdk.SetHTTPClient(s.http), sdk.SetToken(token), sdk.SetGiteaVersion(""))
}

func (s *Server) run(binary, dir, config string) (ended <-chan error, err error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	s.owner = writer // closed by the system when this process ends
	logs, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer logs.Close()
	cmd := exec.Command(binary, "web", "--config", config)
	cmd.Dir, cmd.Env = dir, append(environment(), "LOCALFORGE_OWNER=3", "LOCALFORGE_DIR="+dir)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = logs, logs, []*os.File{reader}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	return gone, nil
}

// environment is without anybody's settings of Git and of Gitea. Gitea refuses
// root unless it is told twice; a container in which tests run may have no other.
func environment() []string {
	var kept []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT_") && !strings.HasPrefix(v, "GITEA") {
			kept = append(kept, v)
		}
	}
	return append(kept, "GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT=true", "GIT_CONFIG_NOSYSTEM=1")
}

func (s *Server) wait(ctx context.Context, ended <-chan error) error {
	for {
		response, err := s.http.Get("http://gitea/api/v1/version")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-ended:
			return errors.Join(errors.New("it ended before it answered"), err)
		case <-ctx.Done():
			return errors.New("it does not answer")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func lastWords(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, "output"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

func firstToken(ctx context.Context, binary, config string) (string, error) {
	cmd := exec.CommandContext(ctx, binary, "admin", "user", "create", "--config", config, "--admin", "--username", adminName,
		"--password", password, "--email", adminName+"@example.org", "--must-change-password=false", "--access-token")
	cmd.Env = environment()
	out, err := cmd.Output()
	words := strings.Fields(string(out))
	if err != nil || len(words) == 0 {
		return "", fmt.Errorf("create its administrator: %w\n%s", err, out)
	}
	return words[len(words)-1], nil
}

// settings are for one machine and a short life: nothing is sent anywhere, and
// passwords are hashed as cheaply as can be.
func settings(dir, socket string) string {
	return `APP_NAME = local forge
RUN_MODE = prod
WORK_PATH = ` + dir + `

[server]
PROTOCOL = http+unix
HTTP_ADDR = ` + socket + `
ROOT_URL = http://127.0.0.1/
LOCAL_ROOT_URL = http://unix/
DISABLE_SSH = true
OFFLINE_MODE = true
LFS_START_SERVER = false
GRACEFUL_HAMMER_TIME = 2s

[database]
DB_TYPE = sqlite3
SQLITE_JOURNAL_MODE = WAL

[security]
INSTALL_LOCK = true
SECRET_KEY = local
INTERNAL_TOKEN = local
PASSWORD_HASH_ALGO = pbkdf2$1$10

[service]
DISABLE_REGISTRATION = true

[log]
MODE = console
LEVEL = Warn

[cron]
ENABLED = false

[cron.update_checker]
ENABLED = false

[indexer]
ISSUE_INDEXER_TYPE = db

[queue]
TYPE = channel

[webhook]
ALLOWED_HOST_LIST = loopback

[session]
PROVIDER = memory

[actions]
ENABLED = false

[packages]
ENABLED = false

[oauth2]
ENABLED = false
`
}
