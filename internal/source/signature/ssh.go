package signature

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"chaperone.dev/chaperone/internal/source"
)

const (
	sshBegin  = "-----BEGIN SSH SIGNATURE-----"
	sshEnd    = "-----END SSH SIGNATURE-----"
	sshMagic  = "SSHSIG"
	namespace = "git"
	wrapAt    = 70 // as ssh-keygen does
)

// envelope is what follows the magic in a signature (PROTOCOL.sshsig of OpenSSH).
type envelope struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

// signedText is what is really signed.
func signedText(hash string, payload []byte) ([]byte, error) {
	var sum []byte
	switch hash {
	case "sha256":
		s := sha256.Sum256(payload)
		sum = s[:]
	case "sha512":
		s := sha512.Sum512(payload)
		sum = s[:]
	default:
		return nil, fmt.Errorf("is of an unknown sum %.20q", hash)
	}
	return append([]byte(sshMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Sum                       []byte
	}{namespace, "", hash, sum})...), nil
}

func (k Keyring) verifySSH(payload []byte, armored string, now time.Time) source.Signature {
	e, key, err := readEnvelope(armored)
	if err == nil {
		err = e.verify(key, payload)
	}
	if err != nil {
		return bad("its SSH signature %v", err)
	}
	result := source.Signature{Key: ssh.FingerprintSHA256(key)}
	at, dated := committed(payload)
	if !dated {
		return bad(notAsGitHas + "it has no date")
	}
	why := fmt.Sprintf("it is signed with the SSH key %s, which is not known", result.Key)
	result.State = source.SignatureUnknown
	for _, line := range k.ssh {
		if string(line.key) != string(e.PublicKey) {
			continue
		}
		state, reason := line.counts(at, now)
		if state == source.SignatureGood {
			return source.Signature{State: state, Key: result.Key, Signer: line.principals}
		}
		if result.State == source.SignatureUnknown {
			result.State, result.Signer = state, line.principals
			why = fmt.Sprintf("it is signed with the SSH key %s, which %s", result.Key, reason)
		}
	}
	result.Detail = why
	return result
}

func readEnvelope(armored string) (envelope, ssh.PublicKey, error) {
	var e envelope
	if !alone(armored, sshBegin, sshEnd) {
		return e, nil, errors.New("is not one block")
	}
	body := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(armored, sshBegin), "\n"), sshEnd)
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.ReplaceAll(body, "\n", ""))
	inner, found := strings.CutPrefix(string(raw), sshMagic)
	if err != nil || !found || ssh.Unmarshal([]byte(inner), &e) != nil {
		return e, nil, errors.New("cannot be read")
	}
	switch {
	case e.Version != 1:
		return e, nil, fmt.Errorf("is of version %d; want 1", e.Version)
	case e.Namespace != namespace:
		return e, nil, fmt.Errorf("is made for %.40q; want %q", e.Namespace, namespace)
	case e.Reserved != "":
		return e, nil, errors.New("holds what is not known")
	}
	key, err := ssh.ParsePublicKey(e.PublicKey)
	if err != nil {
		return e, nil, errors.New("names a key that cannot be read")
	}
	if _, certificate := key.(*ssh.Certificate); certificate {
		return e, nil, errors.New("is made with a certificate, which is not supported; want the key itself")
	}
	return e, key, nil
}

func (e envelope) verify(key ssh.PublicKey, payload []byte) error {
	text, err := signedText(e.Hash, payload)
	if err != nil {
		return err
	}
	var made ssh.Signature
	if err := ssh.Unmarshal(e.Signature, &made); err != nil {
		return errors.New("cannot be read")
	}
	switch {
	case made.Format == ssh.KeyAlgoRSA:
		return errors.New("is of a weak sum (SHA-1)")
	case len(made.Rest) > 0 && !strings.HasPrefix(key.Type(), "sk-"):
		return errors.New("holds more than it says")
	case key.Verify(text, &made) != nil:
		return errors.New("is not of this commit")
	}
	return nil
}

// signSSH makes an armored signature.
func signSSH(signer ssh.Signer, payload []byte, rand io.Reader) (string, error) {
	const hash = "sha512"
	text, err := signedText(hash, payload)
	if err != nil {
		return "", err
	}
	var made *ssh.Signature
	if with, chooses := signer.(ssh.AlgorithmSigner); chooses && signer.PublicKey().Type() == ssh.KeyAlgoRSA {
		made, err = with.SignWithAlgorithm(rand, text, ssh.KeyAlgoRSASHA512)
	} else {
		made, err = signer.Sign(rand, text)
	}
	if err != nil {
		return "", errors.New("the key does not sign")
	}
	body := base64.StdEncoding.EncodeToString(append([]byte(sshMagic), ssh.Marshal(envelope{
		Version: 1, PublicKey: signer.PublicKey().Marshal(), Namespace: namespace, Hash: hash, Signature: ssh.Marshal(made),
	})...))
	var b strings.Builder
	b.WriteString(sshBegin + "\n")
	for len(body) > wrapAt {
		b.WriteString(body[:wrapAt] + "\n")
		body = body[wrapAt:]
	}
	b.WriteString(body + "\n" + sshEnd + "\n")
	return b.String(), nil
}
