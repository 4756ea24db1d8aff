package gogit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	stdknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"chaperone.dev/chaperone/internal/source/signature"
)

// dialSSH connects to a server whose key is in the known_hosts file, and to no
// other.
func dialSSH(ctx context.Context, place location, what service, credentials Credentials) (*conversation, error) {
	config, err := sshConfig(place, credentials)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", place.host)
	if err != nil {
		return nil, err
	}
	// Neither handshake nor session knows of contexts: closing the connection
	// ends both.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	end := func() {
		stop()
		_ = conn.Close()
	}
	secure, channels, requests, err := ssh.NewClientConn(conn, place.host, config)
	if err != nil {
		end()
		return nil, handshakeProblem(place, credentials, err)
	}
	talk, err := sshSession(ssh.NewClient(secure, channels, requests), place, what, end)
	if err != nil {
		end()
		return nil, err
	}
	return talk, nil
}

func sshConfig(place location, credentials Credentials) (*ssh.ClientConfig, error) {
	pem, err := readSmall(credentials.SSHKeyFile)
	if err != nil {
		return nil, fmt.Errorf("ssh key file: %w", err)
	}
	passphrase, err := readPassphrase(credentials.SSHPassphraseFile)
	if err != nil {
		return nil, err
	}
	signer, err := signature.ParseSSH(pem, passphrase)
	if err != nil {
		return nil, fmt.Errorf("ssh key file %s: %w", credentials.SSHKeyFile, err)
	}
	known, err := knownhosts.NewDB(credentials.KnownHostsFile)
	if err != nil {
		return nil, fmt.Errorf("known_hosts file: %w", err)
	}
	user := place.user
	if user == "" {
		user = credentials.Username
	}
	if user == "" {
		user = defaultSSHUser
	}
	return &ssh.ClientConfig{
		User:              user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   hostKeyCheck(known.HostKeyCallback(), credentials.KnownHostsFile),
		HostKeyAlgorithms: known.HostKeyAlgorithms(place.host),
	}, nil
}

// hostKeyCheck says what a person has to compare, and where to put it.
func hostKeyCheck(check ssh.HostKeyCallback, file string) ssh.HostKeyCallback {
	return func(host string, address net.Addr, key ssh.PublicKey) error {
		err := check(host, address, key)
		switch {
		case err == nil:
			return nil
		case knownhosts.IsHostKeyChanged(err):
			return &problem{text: fmt.Sprintf("the host key of %s is not %s, as %s has it, but %s %s: somebody may be in between; "+
				"replace it only after asking who runs the server", host, expected(err), file, key.Type(), ssh.FingerprintSHA256(key)), denied: true}
		case knownhosts.IsHostUnknown(err):
			return &problem{text: fmt.Sprintf("the host key of %s is not in %s: compare %s %s with what the server's owner says, and add it",
				host, file, key.Type(), ssh.FingerprintSHA256(key)), denied: true}
		}
		return err
	}
}

// expected are the keys that were known, a few of them.
func expected(err error) string {
	const shown = 4
	var mismatch *stdknownhosts.KeyError
	if !errors.As(err, &mismatch) {
		return "the known one"
	}
	var keys []string
	for _, known := range mismatch.Want[:min(shown, len(mismatch.Want))] {
		keys = append(keys, fmt.Sprintf("%s %s (line %d)", known.Key.Type(), ssh.FingerprintSHA256(known.Key), known.Line))
	}
	return strings.Join(keys, " or ")
}

func handshakeProblem(place location, credentials Credentials, err error) error {
	var known *problem
	if errors.As(err, &known) {
		return known
	}
	if strings.Contains(err.Error(), "unable to authenticate") { // only for the wording
		return &problem{text: fmt.Sprintf("%s does not accept the key in %s", place.host, credentials.SSHKeyFile), denied: true}
	}
	return err
}

func sshSession(client *ssh.Client, place location, what service, end func()) (*conversation, error) {
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	remarks := &sharedBuffer{limitedBuffer: limitedBuffer{limit: maxRemarks}}
	session.Stderr = remarks
	stdin, err := session.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if what == uploadPack {
		// A server that takes no such variable answers in the version before.
		_ = session.Setenv("GIT_PROTOCOL", askVersion2)
	}
	if err := session.Start(string(what) + " " + shellQuoted(place.path)); err != nil {
		return nil, err
	}
	return stream(closeOnce{stdin}, stdout, remarks, what == uploadPack, func() { _ = session.Wait() }, func() {
		_ = session.Close()
		_ = client.Close()
		end()
	}), nil
}

// closeOnce: a channel that the server closed already is closed.
type closeOnce struct{ io.WriteCloser }

func (c closeOnce) Close() error {
	if err := c.WriteCloser.Close(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// shellQuoted is how git quotes a path for the shell at the other end.
func shellQuoted(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}
