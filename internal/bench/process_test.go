package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cpuOf is the processor time that a process has had, of all its threads, in
// nanoseconds and not in ticks of ten milliseconds.
func cpuOf(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		tb.Fatalf("processor time of process %d cannot be read: %v", pid, err)
	}
	var sum time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has ended meanwhile
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// memory is what is resident of a process, in MiB. Pages of the program itself
// are the system's to drop, and shared; own leaves them out.
type memory struct{ now, own, peak float64 }

func memoryOf(tb testing.TB, pid int) (m memory) {
	tb.Helper()
	file := fmt.Sprintf("/proc/%d/status", pid)
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			m.now = kib / 1024
		case "RssAnon:":
			m.own = kib / 1024
		case "VmHWM:":
			m.peak = kib / 1024
		}
	}
	return m
}

// resident adds what is resident of the daemon.
func (s *samples) resident(w *world, when string) {
	m := memoryOf(w, w.daemon.pid())
	s.add(when+"resident-MiB", m.now)
	s.add(when+"own-MiB", m.own)
	s.add(when+"peak-MiB", m.peak)
}

// quiet waits until a process has next to nothing to do, as controllers have
// that still see to what was applied.
func quiet(tb testing.TB, pid int) {
	tb.Helper()
	if smoke() {
		return // what was before is no matter where the figures are none
	}
	const look, looks, little = 400 * time.Millisecond, 4, 0.12
	end := time.Now().Add(90 * time.Second)
	for calm, before := 0, cpuOf(tb, pid); calm < looks; {
		time.Sleep(look)
		now := cpuOf(tb, pid)
		if (now - before).Seconds() < little*look.Seconds() {
			calm++
		} else {
			calm = 0
		}
		before = now
		if time.Now().After(end) {
			tb.Logf("process %d does not come to rest", pid)
			return
		}
	}
}
