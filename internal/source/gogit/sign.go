package gogit

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/source/signature"
)

// Signing names the files of the private key that commits are signed with,
// OpenPGP's or SSH's. They are read anew for each commit, so that a rotated key
// signs from the next one on. Without a key file nothing is signed.
type Signing struct {
	KeyFile        string
	PassphraseFile string // "" for a key that is not locked
}

// sign makes a commit object of the payload of one.
type sign func(payload []byte, now time.Time) (signed []byte, err error)

// Key reads the key that signs.
func (s Signing) Key() (*signature.Key, error) {
	content, err := readSmall(s.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("signing key file: %w", err)
	}
	passphrase, err := readPassphrase(s.PassphraseFile)
	if err != nil {
		return nil, err
	}
	key, err := signature.ParseKey(content, passphrase)
	if err != nil {
		return nil, fmt.Errorf("signing key file %s: %w", s.KeyFile, err)
	}
	return key, nil
}

// sign is nil where there is nothing to sign with.
func (s Signing) sign() sign {
	if s.KeyFile == "" {
		return nil
	}
	return func(payload []byte, now time.Time) ([]byte, error) {
		key, err := s.Key()
		if err != nil {
			return nil, err
		}
		armored, err := key.Sign(payload, now, rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("signing key file %s: %w", s.KeyFile, err)
		}
		return signature.Signed(payload, armored)
	}
}

func readPassphrase(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	return readLine("passphrase file", name)
}

// readLine is one line, of which only the end of the line is no part.
func readLine(what, name string) ([]byte, error) {
	content, err := readSmall(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	line := bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
	if len(line) == 0 {
		return nil, fmt.Errorf("%s %s is empty", what, name)
	}
	if bytes.ContainsAny(line, "\n\r\x00") {
		return nil, fmt.Errorf("%s %s holds more than one line: want the secret alone", what, name)
	}
	return line, nil
}

// signsAs is how commits made here are signed: by the key that is given, or as
// Git's configuration has it for this repository, by Git's own programs.
func (l *Local) signsAs(given Signing, author Author) sign {
	if given.KeyFile != "" {
		return given.sign()
	}
	if value, set := l.setting("--type=bool", "commit.gpgSign"); !set || value != "true" {
		return nil
	}
	return func(payload []byte, _ time.Time) ([]byte, error) {
		ctx, cancel := context.WithTimeout(context.Background(), maxSigning)
		defer cancel()
		armored, err := l.program(ctx, payload, author)
		if err != nil {
			return nil, fmt.Errorf("sign commit, as commit.gpgSign of Git's configuration has it: %w", err)
		}
		return signature.Signed(payload, armored)
	}
}

// maxSigning leaves time to type a passphrase, or to touch a key.
const maxSigning = 2 * time.Minute

// program signs as git does: by gpg, or by ssh-keygen.
func (l *Local) program(ctx context.Context, payload []byte, author Author) (string, error) {
	key, given := l.setting("user.signingKey")
	switch format, _ := l.setting("gpg.format"); format {
	case "", "openpgp":
		if !given {
			key = fmt.Sprintf("%s <%s>", author.Name, author.Email)
		}
		return run(ctx, payload, l.settingOr("gpg", "gpg.openpgp.program", "gpg.program"), "-bsau", key)
	case "ssh":
		if !given {
			return "", errors.New("user.signingKey is not set; want the file of the key, or its public line")
		}
		return l.sshKeygen(ctx, payload, key)
	default:
		return "", fmt.Errorf("gpg.format is %.20q; want openpgp or ssh", format)
	}
}

func (l *Local) sshKeygen(ctx context.Context, payload []byte, key string) (string, error) {
	args := []string{"-Y", "sign", "-n", "git", "-f"}
	line, literal := strings.CutPrefix(key, "key::")
	if !literal && !strings.HasPrefix(key, "ssh-") {
		return run(ctx, payload, l.settingOr("ssh-keygen", "gpg.ssh.program"), append(args, expandHome(key))...)
	}
	// The public line: its private part is with the agent.
	file, err := os.CreateTemp("", "chaperone-key-*.pub")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	if _, err := fmt.Fprintln(file, line); err != nil {
		return "", errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return "", err
	}
	return run(ctx, payload, l.settingOr("ssh-keygen", "gpg.ssh.program"), append(args, file.Name(), "-U")...)
}

func expandHome(name string) string {
	if rest, found := strings.CutPrefix(name, "~/"); found {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return name
}

// setting asks Git, which knows all the places that its configuration has, and
// takes none from a repository that is somebody else's.
func (l *Local) setting(args ...string) (string, bool) {
	cmd := exec.Command("git", append([]string{"config"}, args...)...)
	cmd.Env, cmd.Dir = gitEnvironment(), l.gitDir
	if l.workTree != "" {
		cmd.Dir = l.workTree
	}
	out, err := cmd.Output()
	return strings.TrimSuffix(string(out), "\n"), err == nil
}

func (l *Local) settingOr(fallback string, names ...string) string {
	for _, name := range names {
		if value, set := l.setting(name); set && value != "" {
			return expandHome(value)
		}
	}
	return fallback
}

// run has a program sign; it may ask for a passphrase on the terminal.
func run(ctx context.Context, payload []byte, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	said := &limitedBuffer{limit: maxRemarks}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(payload), said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	armored, readErr := io.ReadAll(io.LimitReader(out, maxSecretBytes))
	if err := errors.Join(readErr, cmd.Wait()); err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, login{}.clean(said.String()))
	}
	return string(armored), nil
}
