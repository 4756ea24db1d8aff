package evidence

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// Bounds of one file.
const (
	MaxBytes      = 4 << 20
	maxEnvelopes  = 16
	maxSignatures = 4
)

const inTotoType = "application/vnd.in-toto+json"

// envelope is a payload, and what is signed.
type envelope struct {
	payload    []byte
	message    []byte // the payload in its envelope's own encoding
	signatures [][]byte
	simple     bool // cosign's own payload, and no in-toto statement
}

// envelopes are the documents of a file, one after the other: DSSE envelopes,
// the bundles of Sigstore that hold one, and what `cosign download signature`
// prints.
func envelopes(content []byte) ([]envelope, error) {
	if len(content) > MaxBytes {
		return nil, fmt.Errorf("more than %d bytes", MaxBytes)
	}
	documents, err := newTree(content)
	if err != nil {
		return nil, err
	}
	var all []envelope
	for {
		document, err := documents.next()
		switch {
		case errors.Is(err, io.EOF) && len(all) == 0:
			return nil, errors.New("empty; want a DSSE envelope")
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		case len(all) == maxEnvelopes:
			return nil, fmt.Errorf("more than %d envelopes; want fewer in one file", maxEnvelopes)
		}
		e, err := openEnvelope(document)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
}

func openEnvelope(document any) (envelope, error) {
	var r reader
	whole := node{value: document}
	object, _ := document.(map[string]any)
	switch {
	case object["dsseEnvelope"] != nil:
		whole = r.field(whole, "dsseEnvelope")
	case object["Base64Signature"] != nil:
		return openSimple(whole)
	case object["payload"] == nil:
		return envelope{}, errors.New("want a DSSE envelope {payloadType, payload, signatures}, a Sigstore bundle with one, " +
			"or what `cosign download signature` prints")
	}
	e := envelope{payload: r.bytes(r.field(whole, "payload"))}
	payloadType := r.required(r.field(whole, "payloadType"))
	signatures := r.list(r.field(whole, "signatures"))
	if len(signatures) == 0 || len(signatures) > maxSignatures {
		r.refuse(r.field(whole, "signatures"), fmt.Sprintf("1 to %d of them", maxSignatures))
	}
	for _, signature := range signatures {
		e.signatures = append(e.signatures, r.bytes(r.field(signature, "sig")))
	}
	if r.err == nil && payloadType != inTotoType {
		return e, fmt.Errorf("payloadType: want %s, not %.100q", inTotoType, payloadType)
	}
	e.message = dsse.PAE(payloadType, e.payload)
	return e, r.err
}

// openSimple opens a plain image signature of cosign: it signs the payload as it
// is. Certificates and entries of logs beside it are not looked at: only a key
// that the policies know counts.
func openSimple(whole node) (envelope, error) {
	var r reader
	e := envelope{payload: r.bytes(r.field(whole, "Payload")), simple: true}
	e.signatures = [][]byte{r.bytes(r.field(whole, "Base64Signature"))}
	e.message = e.payload
	return e, r.err
}

// bytes of a text in base64; DSSE lets both alphabets be used.
func (r *reader) bytes(n node) []byte {
	text, _ := n.value.(string)
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		if decoded, err := encoding.DecodeString(text); err == nil && len(decoded) > 0 {
			return decoded
		}
	}
	r.refuse(n, "base64")
	return nil
}
