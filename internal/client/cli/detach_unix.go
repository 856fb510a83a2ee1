//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// detached returns a program that is to go on when this terminal is gone.
func detached(path string, args []string) *exec.Cmd {
	return &exec.Cmd{Path: path, Args: args, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
}
