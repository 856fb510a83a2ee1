//go:build !unix

package cli

import "os/exec"

// detached returns a program that is to go on by itself.
func detached(path string, args []string) *exec.Cmd { return &exec.Cmd{Path: path, Args: args} }
