package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"chaperone.dev/chaperone/internal/web"
	"chaperone.dev/chaperone/internal/webhook"
)

// hookPause is the shortest time between two looks that webhooks ask for: a
// forge that sends a hundred at once costs a look now, and one for the rest.
const hookPause = time.Second

// webhooks takes them while this replica leads. One that stands by does not even
// listen, so that a balancer goes to the one that can do something about it. The
// returned function ends it.
func (a *App) webhooks(ctx context.Context, look func()) (end func(), err error) {
	if a.config.Webhook.SecretFile == "" {
		return func() {}, nil
	}
	asked := make(chan struct{}, 1)
	server := web.NewHooks(web.HookOptions{
		Address: a.config.Webhook.Listen,
		Secrets: func() (webhook.Secrets, error) { return readSecrets(a.config.Webhook.SecretFile) },
		Look: func() {
			select {
			case asked <- struct{}{}:
			default: // one that is to come serves both
			}
		},
		Counted: a.hooks, Now: time.Now, Log: a.log,
	})
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("webhook.listen: %w", err)
	}
	a.log.Info("serving webhooks", "address", server.Addr().String(), "path", web.HookPath)
	if _, err := readSecrets(a.config.Webhook.SecretFile); err != nil {
		a.log.Warn("webhooks are turned away until their secret can be read", "err", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		spaced(ctx, asked, hookPause, look)
	}()
	return func() {
		cancel()
		<-ended
		bounded, stop := context.WithTimeout(context.Background(), 2*time.Second)
		defer stop()
		if err := server.Shutdown(bounded); err != nil {
			a.log.Debug("webhooks cut off", "err", err)
		}
	}, nil
}

// spaced looks when asked: at once, and then not before pause is over.
func spaced(ctx context.Context, asked <-chan struct{}, pause time.Duration, look func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
			look()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func readSecrets(name string) (webhook.Secrets, error) {
	content, err := readBounded(name, webhook.MaxFile)
	if err != nil {
		return webhook.Secrets{}, fmt.Errorf("webhook.secretFile: %w", err)
	}
	secrets, err := webhook.ParseSecrets(content)
	if err != nil {
		return webhook.Secrets{}, fmt.Errorf("webhook.secretFile: %s: %w", name, err)
	}
	return secrets, nil
}

// readBounded reads a byte more than there may be, so that its reader can tell.
func readBounded(name string, most int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, &fs.PathError{Op: "read", Path: name, Err: errors.New("want a file")})
	}
	return io.ReadAll(io.LimitReader(file, most+1))
}
