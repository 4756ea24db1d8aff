package inventory

import (
	"bytes"
	"encoding/json"
	"fmt"

	"chaperone.dev/chaperone/internal/manifest"
)

// ShardBytes keeps a shard, with the object around it, under the megabyte that
// the API server accepts and etcd's limit of a request.
const ShardBytes = 900 << 10

// Bounds of what is read back: far above any real inventory, far below what
// would hurt the daemon.
const (
	maxShards  = 64
	maxEntries = 100_000
)

// Encode writes the entries, sorted, one a line, in shards that are each at
// most limit bytes long. There is always at least one.
func (i Inventory) Encode(limit int) ([][]byte, error) {
	shards := [][]byte{{}}
	for _, e := range i.Entries() {
		line, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("%s: encode inventory entry: %w", e.ID, err)
		}
		line = append(line, '\n')
		if len(line) > limit {
			return nil, fmt.Errorf("%s: encode inventory entry: %d bytes, want at most %d", e.ID, len(line), limit)
		}
		last := len(shards) - 1
		if len(shards[last])+len(line) > limit {
			shards = append(shards, nil)
			last++
		}
		shards[last] = append(shards[last], line...)
	}
	if len(shards) > maxShards {
		return nil, fmt.Errorf("encode inventory: %d shards, want at most %d", len(shards), maxShards)
	}
	return shards, nil
}

// Decode reads what Encode wrote. An entry that cannot be read is an error: a
// part of an inventory must not pass for the whole.
func Decode(shards [][]byte) (Inventory, error) {
	if len(shards) > maxShards {
		return Inventory{}, fmt.Errorf("read inventory: %d shards, want at most %d", len(shards), maxShards)
	}
	entries := map[manifest.ID]Entry{}
	for n, shard := range shards {
		if err := decodeShard(shard, entries); err != nil {
			return Inventory{}, fmt.Errorf("read inventory: shard %d: %w", n, err)
		}
	}
	return Inventory{entries: entries}, nil
}

func decodeShard(shard []byte, entries map[manifest.ID]Entry) error {
	for number, line := range bytes.Split(bytes.TrimSuffix(shard, []byte("\n")), []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("line %d: %w", number+1, err)
		}
		if e.Kind == "" || e.Name == "" {
			return fmt.Errorf("line %d: want kind and name", number+1)
		}
		if _, twice := entries[e.ID]; twice {
			return fmt.Errorf("line %d: %s is listed twice", number+1, e.ID)
		}
		if len(entries) >= maxEntries {
			return fmt.Errorf("line %d: more than %d entries", number+1, maxEntries)
		}
		entries[e.ID] = e
	}
	return nil
}
