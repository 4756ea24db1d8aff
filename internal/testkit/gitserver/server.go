package gitserver

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// Request is a kind of thing that a server is asked for.
type Request string

// What servers count.
const (
	ListRefs Request = "list refs" // what a poll without change costs
	Fetch    Request = "fetch"
	Push     Request = "push"
	Denied   Request = "denied" // wrong or missing credentials
)

// Controls is what every server can be told during a test.
type Controls struct {
	mu       sync.Mutex
	counts   map[Request]int
	delay    time.Duration
	lose     int
	failPush int

	address string
	listen  func(net.Listener) // serves until the listener is closed
	stop    func()             // closes the listener and every connection
}

// Count is how often a thing was asked for so far.
func (c *Controls) Count(r Request) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[r]
}

func (c *Controls) count(r Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[Request]int{}
	}
	c.counts[r]++
}

// Delay makes every answer wait.
func (c *Controls) Delay(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay = d
}

func (c *Controls) wait(ctx context.Context) {
	c.mu.Lock()
	d := c.delay
	c.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// LosePushAnswers lets the next n pushes happen and then drops the connection
// before the client hears of it.
func (c *Controls) LosePushAnswers(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose = n
}

// BreakPushes drops the connection of the next n pushes before they happen.
func (c *Controls) BreakPushes(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failPush = n
}

func (c *Controls) take(counter *int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *counter == 0 {
		return false
	}
	*counter--
	return true
}

// Down closes the server and its connections. Its address stays its own.
func (c *Controls) Down() { c.stop() }

// Up starts the server, again, at its address.
func (c *Controls) Up(t testing.TB) {
	t.Helper()
	if c.address == "" {
		c.address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp4", c.address)
	if err != nil {
		t.Fatal(err)
	}
	c.address = listener.Addr().String()
	c.listen(listener)
}
