// Command localprometheus is a real Prometheus of one release, for tests:
// scraping, storage, queries and their API, without service discovery, rules,
// alerts and pages. It guarantees that nothing of it is left behind: it ends,
// and removes its directory, as soon as its owner's end of a pipe is closed,
// however the owner ended. It prints its address, and takes from the environment:
//
//	LOCALPROMETHEUS_OWNER  number of the file descriptor that the owner holds open
//	LOCALPROMETHEUS_DIR    directory of prometheus.yml and the data; removed at the end
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "localprometheus:", err)
		os.Exit(2)
	}
}

func run() error {
	dir, err := watchOwner()
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary directory; nobody is left to be told
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	p, err := start(ctx, dir, listener.Addr().String())
	if err != nil {
		return err
	}
	server := &http.Server{Handler: p.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Println("http://" + listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(fmt.Errorf("serve: %w", err), p.close())
	}
	return p.close()
}

// endGrace is for the storage to be closed when the owner has gone.
const endGrace = 10 * time.Second

// watchOwner ends the program with its owner, and tells which directory ends
// with it.
func watchOwner() (dir string, err error) {
	text, dir := os.Getenv("LOCALPROMETHEUS_OWNER"), os.Getenv("LOCALPROMETHEUS_DIR")
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return "", fmt.Errorf("LOCALPROMETHEUS_OWNER is %q; want a file descriptor above 2", text)
	}
	if dir == "" {
		return "", errors.New("LOCALPROMETHEUS_DIR is not set; want the directory of prometheus.yml")
	}
	syscall.CloseOnExec(fd)
	owner := os.NewFile(uintptr(fd), "owner")
	go func() {
		_, _ = io.Copy(io.Discard, owner)
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		time.Sleep(endGrace)
		_ = os.RemoveAll(dir)
		os.Exit(1)
	}()
	return dir, nil
}
