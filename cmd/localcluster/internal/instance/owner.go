package instance

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"syscall"
	"time"
)

// AwaitEnd returns when process pid is gone, or with ctx. A process that has another start time
// than at first is a different one; one that is dead and not yet waited for counts as gone.
func AwaitEnd(ctx context.Context, pid int, every time.Duration) {
	first := startTime(pid)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for first != dead && syscall.Kill(pid, 0) != syscall.ESRCH && startTime(pid) == first {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

const dead = "dead"

// startTime is the process's start in clock ticks, "" where /proc does not tell.
func startTime(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	// The name, in parentheses, may hold anything; state is the field after it, start the 20th.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return ""
	}
	if string(fields[0]) == "Z" {
		return dead
	}
	return string(fields[19])
}
