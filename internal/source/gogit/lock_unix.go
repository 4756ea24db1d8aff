//go:build unix

package gogit

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes a lock that the kernel gives back when the process ends,
// however it ends.
func tryLock(file *os.File) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
