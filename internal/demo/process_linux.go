package demo

import "syscall"

// apart keeps a terminal's Ctrl-C from the process, which is ended in its turn;
// and ends it should this process be killed.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
