package gitserver

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSH serves one repository over SSH, to the owner of one key.
type SSH struct {
	Controls
	URL        string // ssh://git@127.0.0.1:port/…
	KeyFile    string // the client's private key
	KnownHosts string // names the server's key

	repo *Repo

	mu          sync.Mutex
	hostKey     ssh.Signer
	client      ssh.PublicKey
	listener    net.Listener
	connections map[net.Conn]bool
}

// ServeSSH starts a server that stops with the test.
func ServeSSH(t testing.TB, repo *Repo) *SSH {
	t.Helper()
	dir := t.TempDir()
	s := &SSH{
		KeyFile: filepath.Join(dir, "id_ed25519"), KnownHosts: filepath.Join(dir, "known_hosts"),
		repo: repo, connections: map[net.Conn]bool{},
	}
	s.hostKey, _ = newKey(t)
	client, private := newKey(t)
	s.client = client.PublicKey()
	if err := os.WriteFile(s.KeyFile, private, 0o600); err != nil {
		t.Fatal(err)
	}
	s.listen = func(listener net.Listener) {
		s.mu.Lock()
		s.listener = listener
		s.mu.Unlock()
		go s.accept(listener)
	}
	s.stop = s.close
	s.Up(t)
	t.Cleanup(s.Down)
	s.URL = "ssh://git@" + s.address + repo.Dir
	s.WriteKnownHosts(t)
	return s
}

// WriteKnownHosts writes the server's present key into the known_hosts file.
func (s *SSH) WriteKnownHosts(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	line := knownhosts.Line([]string{s.address}, s.hostKey.PublicKey())
	s.mu.Unlock()
	if err := os.WriteFile(s.KnownHosts, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ChangeHostKey makes the server another one, as its clients see it.
func (s *SSH) ChangeHostKey(t testing.TB) {
	t.Helper()
	key, _ := newKey(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hostKey = key
}

// OtherKey writes a private key that the server does not know.
func (s *SSH) OtherKey(t testing.TB) string {
	t.Helper()
	_, private := newKey(t)
	file := filepath.Join(t.TempDir(), "id_other")
	if err := os.WriteFile(file, private, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func newKey(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "test")
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

func (s *SSH) config() *ssh.ServerConfig {
	s.mu.Lock()
	defer s.mu.Unlock()
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), s.client.Marshal()) {
			s.count(Denied)
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(s.hostKey)
	return config
}

func (s *SSH) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.listener.Close()
	for conn := range s.connections {
		_ = conn.Close()
	}
}

func (s *SSH) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.connections[conn] = true
		s.mu.Unlock()
		go func() {
			defer func() {
				_ = conn.Close()
				s.mu.Lock()
				delete(s.connections, conn)
				s.mu.Unlock()
			}()
			s.connection(conn)
		}()
	}
}

func (s *SSH) connection(conn net.Conn) {
	s.wait(context.Background())
	server, channels, requests, err := ssh.NewServerConn(conn, s.config())
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // ends what runs for a client that is gone
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go s.session(ctx, server, channel, requests)
	}
}

func (s *SSH) session(ctx context.Context, server *ssh.ServerConn, channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	protocol := ""
	for request := range requests {
		var variable struct{ Name, Value string }
		if request.Type == "env" && ssh.Unmarshal(request.Payload, &variable) == nil && variable.Name == "GIT_PROTOCOL" {
			protocol = variable.Value
			_ = request.Reply(true, nil)
			continue
		}
		var payload struct{ Command string }
		if request.Type != "exec" || ssh.Unmarshal(request.Payload, &payload) != nil {
			_ = request.Reply(false, nil)
			continue
		}
		_ = request.Reply(true, nil)
		service, path, _ := strings.Cut(payload.Command, " ")
		if path != "'"+s.repo.Dir+"'" || service != "git-upload-pack" && service != "git-receive-pack" {
			_, _ = io.WriteString(channel.Stderr(), "no such repository\n")
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{1}))
			return
		}
		code, answered := s.run(ctx, strings.TrimPrefix(service, "git-"), protocol, channel)
		if !answered {
			_ = server.Close()
			return
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
		return
	}
}

// run is one git process. It reports false when the client must not hear of
// the outcome.
func (s *SSH) run(ctx context.Context, service, protocol string, channel ssh.Channel) (code uint32, answered bool) {
	pushing := service == "receive-pack"
	cmd := exec.CommandContext(ctx, "git", service, s.repo.Dir)
	cmd.Env = append(environment(), "GIT_PROTOCOL="+protocol)
	in := &countedInput{Reader: channel, several: strings.Contains(protocol, "version=2"), first: func() bool {
		if !pushing {
			s.count(Fetch)
			return true
		}
		s.count(Push)
		return !s.take(&s.failPush)
	}}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 1, true
	}
	out := &output{channel: channel}
	if pushing && s.take(&s.lose) {
		out.onlyRefs = true
	}
	if !pushing {
		s.count(ListRefs)
	}
	cmd.Stdout, cmd.Stderr = out, channel.Stderr()
	if err := cmd.Start(); err != nil {
		return 1, true
	}
	go func() {
		_, _ = io.Copy(stdin, in)
		_ = stdin.Close()
	}()
	err = cmd.Wait()
	if in.broken() || out.onlyRefs {
		return 0, false
	}
	if err != nil {
		return 1, true
	}
	return 0, true
}

// countedInput calls first when the client sends more than the flush packet
// that ends a conversation about refs alone, or asks for objects in one of several
// commands; false breaks the input off.
type countedInput struct {
	io.Reader
	first   func() bool
	several bool

	mu    sync.Mutex
	head  []byte
	known bool
	cut   bool
}

func (c *countedInput) broken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

func (c *countedInput) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known {
		return n, err
	}
	c.head = append(c.head, p[:n]...)
	if len(c.head) < 4 || c.several && !bytes.Contains(c.head, []byte("command=fetch")) {
		return n, err
	}
	c.known = true
	if string(c.head[:4]) == "0000" || c.first() {
		return n, err
	}
	c.cut = true
	return 0, io.EOF
}

// output passes git's answer on, or only the refs that it begins with.
type output struct {
	channel  io.Writer
	onlyRefs bool
	seen     []byte
	passed   bool
}

func (o *output) Write(p []byte) (int, error) {
	if !o.onlyRefs {
		return o.channel.Write(p)
	}
	if o.passed {
		return len(p), nil
	}
	o.seen = append(o.seen, p...)
	if bytes.HasSuffix(o.seen, []byte("\n0000")) {
		o.passed = true
		_, err := o.channel.Write(o.seen)
		return len(p), err
	}
	return len(p), nil
}
