package wire

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"slices"
	"sync"
)

// What is remembered of answers.
const (
	maxKept     = 64
	maxKeptBody = 512 << 10 // bytes of one
)

// Remember asks again only whether an answer has changed, where the forge says how
// to: on GitHub that costs nothing of the limit. It is a Config's Base, and so
// sees requests signed: who has another token gets nothing of what was answered
// to this one.
func Remember(base http.RoundTripper) http.RoundTripper {
	return &remembering{base: base, kept: map[string]*known{}}
}

type remembering struct {
	base  http.RoundTripper
	mu    sync.Mutex
	kept  map[string]*known // by address
	order []string          // the one asked last is the last
}

// known is an answer; it is never changed.
type known struct {
	tag    string
	signer [sha256.Size]byte
	header http.Header
	body   []byte
}

func (m *remembering) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet {
		return m.base.RoundTrip(request)
	}
	address, signer := request.URL.String(), signerOf(request)
	before := m.find(address)
	if before != nil && before.signer != signer {
		before = nil
	}
	if before != nil {
		request = request.Clone(request.Context())
		request.Header.Set("If-None-Match", before.tag)
	}
	response, err := m.base.RoundTrip(request)
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode == http.StatusNotModified && before != nil:
		response.Body.Close()
		return before.again(response), nil
	case response.StatusCode == http.StatusOK && response.Header.Get("ETag") != "":
		return m.keep(address, signer, response)
	}
	return response, nil
}

// signerOf tells tokens apart without keeping them.
func signerOf(request *http.Request) [sha256.Size]byte {
	return sha256.Sum256([]byte(request.Header.Get("Authorization") + "\n" + request.Header.Get("Private-Token") + "\n" + request.Header.Get("Accept")))
}

func (k *known) again(response *http.Response) *http.Response {
	response.StatusCode, response.Status = http.StatusOK, "200 OK"
	response.Header, response.Body, response.ContentLength = k.header.Clone(), io.NopCloser(bytes.NewReader(k.body)), int64(len(k.body))
	return response
}

func (m *remembering) find(address string) *known {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.kept[address]
	if k != nil {
		m.used(address)
	}
	return k
}

func (m *remembering) used(address string) {
	m.order = append(slices.DeleteFunc(m.order, func(a string) bool { return a == address }), address)
}

// keep reads an answer, and hands it on whole.
func (m *remembering) keep(address string, signer [sha256.Size]byte, response *http.Response) (*http.Response, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxKeptBody+1))
	if err != nil || len(body) > maxKeptBody {
		// What has been read, and then whatever comes.
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(body), ended{err}, response.Body), response.Body}
		return response, nil
	}
	response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(body))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[address] = &known{tag: response.Header.Get("ETag"), signer: signer, header: response.Header.Clone(), body: body}
	m.used(address)
	if len(m.order) > maxKept {
		delete(m.kept, m.order[0])
		m.order = m.order[1:]
	}
	return response, nil
}

// ended gives the error that reading came to, if it did.
type ended struct{ err error }

func (e ended) Read([]byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return 0, io.EOF
}
