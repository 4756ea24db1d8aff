// Package prometheus gives tests a real Prometheus. It guarantees that each test
// has a server of its own on 127.0.0.1, that anything can be written there as
// though it had been scraped at any time of the last two days, and that the
// server is gone soon after the test is, however that ended.
package prometheus

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"

	"chaperone.dev/chaperone/internal/testkit/program"
)

// Program is what runs. The variable may name one that is built already.
var Program = program.Program{Name: "localprometheus", Env: "CHAPERONE_LOCALPROMETHEUS"}

// Server is a running Prometheus.
type Server struct {
	URL string // http://127.0.0.1:PORT
}

// Start starts a server with that prometheus.yml, of which targets that the file
// names itself are scraped; "" scrapes nothing.
func Start(t testing.TB, config string) *Server {
	t.Helper()
	built, err := Program.Build(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "prometheus")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	reader, owner, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	cmd := exec.Command(built.Path)
	cmd.Env = append(os.Environ(), "LOCALPROMETHEUS_OWNER=3", "LOCALPROMETHEUS_DIR="+dir)
	cmd.ExtraFiles = []*os.File{reader}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = owner.Close() // it ends, and removes its directory
		_ = cmd.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = owner.Close()
		_ = cmd.Wait()
		t.Fatalf("prometheus did not start: %v\n%s", err, complaints.String())
	}
	return &Server{URL: strings.TrimSpace(address)}
}

// Series is a series with its samples.
type Series struct {
	Labels  map[string]string // with __name__
	Samples []Sample
}

// Sample is a value at a time.
type Sample struct {
	At    time.Time
	Value float64
}

// Stale is the value by which Prometheus knows that a series has ended.
var Stale = math.Float64frombits(0x7ff0000000000002)

// Write brings samples in by remote write, version 1.
func (s *Server) Write(t testing.TB, all ...Series) {
	t.Helper()
	var request []byte
	for _, series := range all {
		request = appendBytes(request, 1, series.encoded())
	}
	post, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, request)))
	if err != nil {
		t.Fatal(err)
	}
	post.Header.Set("Content-Encoding", "snappy")
	post.Header.Set("Content-Type", "application/x-protobuf")
	post.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	response, err := http.DefaultClient.Do(post)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		t.Fatalf("prometheus took no samples: %s %s", response.Status, said)
	}
}

// encoded is a TimeSeries of prometheus.WriteRequest.
func (s Series) encoded() []byte {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		b = appendBytes(b, 1, appendBytes(appendBytes(nil, 1, []byte(name)), 2, []byte(s.Labels[name])))
	}
	for _, sample := range s.Samples {
		value := binary.LittleEndian.AppendUint64([]byte{1<<3 | 1}, math.Float64bits(sample.Value))
		b = appendBytes(b, 2, binary.AppendUvarint(append(value, 2<<3), uint64(sample.At.UnixMilli())))
	}
	return b
}

func appendBytes(b []byte, field byte, value []byte) []byte {
	return append(binary.AppendUvarint(append(b, field<<3|2), uint64(len(value))), value...)
}

// Named is a series of that name with labels in pairs.
func Named(name string, labels ...string) Series {
	s := Series{Labels: map[string]string{"__name__": name}}
	for i := 0; i+1 < len(labels); i += 2 {
		s.Labels[labels[i]] = labels[i+1]
	}
	return s
}

// Every has a sample at each step from one time to before another.
func (s Series) Every(step time.Duration, from, to time.Time, value func(time.Time) float64) Series {
	for at := from; at.Before(to); at = at.Add(step) {
		s.Samples = append(s.Samples, Sample{at, value(at)})
	}
	return s
}

// String names a series as a query would.
func (s Series) String() string {
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		if name != "__name__" {
			labels = append(labels, fmt.Sprintf("%s=%q", name, s.Labels[name]))
		}
	}
	return s.Labels["__name__"] + "{" + strings.Join(labels, ",") + "}"
}
