package signature

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"chaperone.dev/chaperone/internal/source"
)

const (
	pgpBegin = "-----BEGIN PGP SIGNATURE-----"
	pgpEnd   = "-----END PGP SIGNATURE-----"
	keyBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	lockMark = "-----BEGIN PGP PRIVATE KEY BLOCK-----"
)

// readPGP takes one block of keys after the other, as `cat` joins them, or one
// keyring that is not armored.
func readPGP(content []byte) (openpgp.EntityList, error) {
	if len(content) > maxKeyring {
		return nil, fmt.Errorf("larger than %d bytes", maxKeyring)
	}
	if bytes.Contains(content, []byte(lockMark)) {
		return nil, errors.New("it holds a private key, which does not belong there; want `gpg --export --armor`")
	}
	blocks := bytes.SplitAfter(content, []byte("-----END PGP PUBLIC KEY BLOCK-----"))
	if !bytes.Contains(content, []byte(keyBegin)) {
		return readKeys(bytes.NewReader(content))
	}
	var all openpgp.EntityList
	for i, block := range blocks {
		if len(bytes.TrimSpace(block)) == 0 {
			continue
		}
		decoded, err := armor.Decode(bytes.NewReader(block))
		if err != nil || decoded.Type != openpgp.PublicKeyType {
			return nil, fmt.Errorf("block %d is no armored public key; want `gpg --export --armor`", i+1)
		}
		keys, err := readKeys(decoded.Body)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", i+1, err)
		}
		all = append(all, keys...)
	}
	return all, nil
}

func readKeys(r io.Reader) (openpgp.EntityList, error) {
	keys, err := openpgp.ReadKeyRing(r)
	if err != nil || len(keys) == 0 {
		return nil, errors.New("it holds no OpenPGP key that can be read; want `gpg --export`, with --armor or without")
	}
	for _, key := range keys {
		if key.PrivateKey != nil {
			return nil, errors.New("it holds a private key, which does not belong there; want `gpg --export`")
		}
	}
	return keys, nil
}

// strong are the sums that a signature may be of.
var strong = []crypto.Hash{crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}

func (k Keyring) verifyPGP(payload []byte, armored string, now time.Time) source.Signature {
	raw, made, err := readSignature(armored)
	if err != nil {
		return bad("its OpenPGP signature %v", err)
	}
	by := issuer(made)
	if made.CreationTime.After(now.Add(futureAllowed)) {
		return bad("its signature by key %s is of %s, which is still to come", by, made.CreationTime.UTC().Format(time.RFC3339))
	}
	_, signer, err := openpgp.VerifyDetachedSignature(k.pgp, bytes.NewReader(payload), bytes.NewReader(raw),
		&packet.Config{Time: func() time.Time { return now }})
	result := source.Signature{Key: by}
	if signer != nil {
		result.Key = fingerprint(signer)
		result.Signer = addresses(signer, now)
	}
	switch {
	case err == nil:
		result.State = source.SignatureGood
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		result.State, result.Detail = source.SignatureUnknown, fmt.Sprintf("it is signed with the OpenPGP key %s, which is not known", by)
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		result.State, result.Detail = source.SignatureExpired, fmt.Sprintf("it is signed with the OpenPGP key %s, which is revoked", result.Key)
	case errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrSignatureExpired):
		result.State, result.Detail = source.SignatureExpired, fmt.Sprintf("it is signed with the OpenPGP key %s, which has expired", result.Key)
	default:
		return source.Signature{State: source.SignatureBad, Key: by, Detail: fmt.Sprintf("its signature by the OpenPGP key %s is not of this commit", by)}
	}
	return result
}

// readSignature wants exactly one signature, of bytes as they are.
func readSignature(armored string) ([]byte, *packet.Signature, error) {
	if !alone(armored, pgpBegin, pgpEnd) {
		return nil, nil, errors.New("is not one block")
	}
	block, err := armor.Decode(strings.NewReader(armored))
	if err != nil {
		return nil, nil, errors.New("cannot be read")
	}
	raw, err := io.ReadAll(io.LimitReader(block.Body, maxArmored))
	if err != nil {
		return nil, nil, errors.New("cannot be read")
	}
	r := bytes.NewReader(raw)
	first, err := packet.Read(r)
	made, is := first.(*packet.Signature)
	switch {
	case err != nil || !is:
		return nil, nil, errors.New("cannot be read")
	case r.Len() > 0:
		return nil, nil, errors.New("is more than one")
	case made.SigType != packet.SigTypeBinary:
		return nil, nil, errors.New("is of another kind than a commit's")
	case !slices.Contains(strong, made.Hash):
		return nil, nil, fmt.Errorf("is of a weak sum (%v)", made.Hash)
	}
	return raw, made, nil
}

func issuer(s *packet.Signature) string {
	switch {
	case len(s.IssuerFingerprint) > 0:
		return strings.ToUpper(hex.EncodeToString(s.IssuerFingerprint))
	case s.IssuerKeyId != nil:
		return fmt.Sprintf("%016X", *s.IssuerKeyId)
	}
	return "without a name"
}

func fingerprint(e *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint))
}

// addresses are those that the key's owner gave it.
func addresses(e *openpgp.Entity, now time.Time) []string {
	var all []string
	for _, identity := range e.Identities {
		if identity.UserId != nil && !identity.Revoked(now) {
			all = append(all, identity.UserId.Email)
		}
	}
	slices.Sort(all)
	return literal(slices.Compact(all))
}
