//go:build !linux

package demo

import "syscall"

// apart keeps a terminal's Ctrl-C from the process, which is ended in its turn.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
