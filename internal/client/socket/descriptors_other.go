//go:build !unix

package socket

import (
	"errors"
	"net"
	"os"
)

// CanJoin reports whether this system can hand open files to another process.
const CanJoin = false

// streams is how many files go with a command.
const streams = 3

func sendFiles(*net.UnixConn, []byte, [streams]*os.File) error { return errors.ErrUnsupported }

func receiveFiles(*net.UnixConn, []byte) (int, [streams]*os.File, error) {
	return 0, [streams]*os.File{}, errors.ErrUnsupported
}
