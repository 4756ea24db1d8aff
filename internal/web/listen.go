package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// listening is a handler behind an address, with a bound on everything that a
// client can take its time with.
type listening struct {
	address string
	server  *http.Server
	addr    net.Addr
	served  chan error
	most    int // connections at once; 0 is any number
}

func listen(address string, handler http.Handler, log *slog.Logger) *listening {
	return &listening{address: address, served: make(chan error, 1), server: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

// Start listens, and serves until Shutdown. It returns once connections are
// accepted; it is to be called once.
func (l *listening) Start() error {
	listener, err := net.Listen("tcp", l.address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", l.address, err)
	}
	l.addr = listener.Addr()
	if l.most > 0 {
		listener = &limited{Listener: listener, free: make(chan struct{}, l.most), closed: make(chan struct{})}
	}
	go func() { l.served <- l.server.Serve(listener) }()
	return nil
}

// Addr is where a started server listens; the port is the real one.
func (l *listening) Addr() net.Addr { return l.addr }

// Shutdown lets requests under way finish until ctx ends, and then cuts them
// off. A server that was never started is shut down already.
func (l *listening) Shutdown(ctx context.Context) error {
	err := l.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("shut down %s: %w", l.address, err), l.server.Close())
	}
	if l.addr == nil {
		return err
	}
	if served := <-l.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve %s: %w", l.address, served))
	}
	l.served <- http.ErrServerClosed // for another Shutdown
	return err
}

// limited accepts no more connections than there may be at once: others wait
// where they cost nothing.
type limited struct {
	net.Listener
	free   chan struct{} // holds one for each that is open
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	accepted, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &counted{Conn: accepted, gone: func() { <-l.free }}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type counted struct {
	net.Conn
	once sync.Once
	gone func()
}

func (c *counted) Close() error {
	c.once.Do(c.gone)
	return c.Conn.Close()
}
