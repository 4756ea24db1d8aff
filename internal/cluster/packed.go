package cluster

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"

	"chaperone.dev/chaperone/internal/manifest"
)

// packed is an object as it was seen, compressed: there are as many as there
// are objects owned, for as long as the daemon runs.
type packed []byte

// rooms are what objects are compressed in. The compressor wants room for the
// worst case, and its answer would keep all of that.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

func pack(o *manifest.Object) (packed, error) {
	text, err := o.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	room := rooms.Get().(*[]byte)
	defer rooms.Put(room)
	if most := s2.MaxEncodedLen(len(text)); cap(*room) < most {
		*room = make([]byte, most)
	}
	return bytes.Clone(s2.Encode((*room)[:cap(*room)], text)), nil
}

func (p packed) object() (*manifest.Object, error) {
	text, err := s2.Decode(nil, p)
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	o := &manifest.Object{}
	if err := o.UnmarshalJSON(text); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return o, nil
}
