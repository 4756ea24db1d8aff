package signature

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"golang.org/x/crypto/ssh"
)

// Key signs commits. It prints as nothing of what it is.
type Key struct {
	ssh ssh.Signer
	pgp *openpgp.Entity
}

// ErrLocked: a private key wants a passphrase, or another one.
var ErrLocked = errors.New("the key is locked")

// ParseKey reads a private key, of OpenPGP or SSH. The passphrase may be empty.
func ParseKey(content, passphrase []byte) (*Key, error) {
	if bytes.Contains(content, []byte(lockMark)) {
		return parsePGP(content, passphrase)
	}
	signer, err := ParseSSH(content, passphrase)
	if err != nil {
		return nil, err
	}
	return &Key{ssh: signer}, nil
}

// ParseSSH reads a private key of SSH.
func ParseSSH(content, passphrase []byte) (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(content)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		if len(passphrase) == 0 {
			return nil, fmt.Errorf("%w with a passphrase, which is not given", ErrLocked)
		}
		if signer, err = ssh.ParsePrivateKeyWithPassphrase(content, passphrase); err != nil {
			return nil, fmt.Errorf("%w, and not with this passphrase", ErrLocked)
		}
	}
	if err != nil { // whose text may quote the file
		return nil, errors.New("it does not hold a private key that can be read")
	}
	if bits := rsaBits(signer.PublicKey()); bits > 0 && bits < minRSA {
		return nil, fmt.Errorf("the key has %d bits; want at least %d", bits, minRSA)
	}
	return signer, nil
}

func rsaBits(key ssh.PublicKey) int {
	if wrapped, is := key.(ssh.CryptoPublicKey); is {
		if public, is := wrapped.CryptoPublicKey().(*rsa.PublicKey); is {
			return public.N.BitLen()
		}
	}
	return 0
}

func parsePGP(content, passphrase []byte) (*Key, error) {
	keys, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(content))
	if err != nil || len(keys) == 0 || keys[0].PrivateKey == nil {
		return nil, errors.New("it does not hold an OpenPGP private key that can be read; want `gpg --export-secret-keys --armor`")
	}
	if len(keys) > 1 {
		return nil, fmt.Errorf("it holds %d OpenPGP keys; want the one to sign with", len(keys))
	}
	key := keys[0]
	if len(passphrase) > 0 {
		if err := key.DecryptPrivateKeys(passphrase); err != nil {
			return nil, fmt.Errorf("%w, and not with this passphrase", ErrLocked)
		}
	}
	return &Key{pgp: key}, nil
}

// Fingerprint names the key, as those who are to list it look for it.
func (k *Key) Fingerprint() string {
	if k.ssh != nil {
		return ssh.FingerprintSHA256(k.ssh.PublicKey())
	}
	return fingerprint(k.pgp)
}

// String names the key, and shows nothing of it.
func (k *Key) String() string { return k.Fingerprint() }

// GoString is String.
func (k *Key) GoString() string { return k.Fingerprint() }

// Sign makes an armored signature of a commit object that has none.
func (k *Key) Sign(payload []byte, now time.Time, rand io.Reader) (string, error) {
	if k.ssh != nil {
		return signSSH(k.ssh, payload, rand)
	}
	config := &packet.Config{Time: func() time.Time { return now }, Rand: rand}
	key, found := k.pgp.SigningKey(now)
	switch {
	case !found || key.PrivateKey == nil || key.PrivateKey.Dummy():
		return "", fmt.Errorf("the OpenPGP key %s may not sign now: it has expired, is revoked, or is without its secret part", fingerprint(k.pgp))
	case key.PrivateKey.Encrypted:
		return "", fmt.Errorf("%w with a passphrase, which is not given", ErrLocked)
	}
	var b strings.Builder
	if err := openpgp.ArmoredDetachSign(&b, k.pgp, bytes.NewReader(payload), config); err != nil {
		return "", fmt.Errorf("the OpenPGP key %s does not sign", fingerprint(k.pgp))
	}
	return b.String(), nil
}
