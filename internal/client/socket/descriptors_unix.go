//go:build unix

package socket

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"parsec/internal/base/fault"
)

// CanJoin reports whether this system can hand open files to another process.
const CanJoin = true

// streams is how many files go with a command.
const streams = 3

// sendFiles sends data with open files beside its first bytes.
func sendFiles(c *net.UnixConn, data []byte, files [streams]*os.File) error {
	var fds [streams]int
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	n, _, err := c.WriteMsgUnix(data, unix.UnixRights(fds[:]...), nil)
	if err != nil || n == len(data) {
		return err // a write of nothing fails too, where the other side has ended already
	}
	_, err = c.Write(data[n:])
	return err
}

// receiveFiles reads the first bytes of a message, and the files beside them.
func receiveFiles(c *net.UnixConn, data []byte) (n int, files [streams]*os.File, err error) {
	oob := make([]byte, unix.CmsgSpace(streams*4))
	n, oobn, flags, _, err := c.ReadMsgUnix(data, oob)
	if err != nil {
		return n, files, err
	}
	fds, err := rightsOf(oob[:oobn])
	if err != nil || len(fds) != streams || flags&unix.MSG_CTRUNC != 0 {
		for _, fd := range fds {
			err = errors.Join(err, unix.Close(fd))
		}
		return n, files, errors.Join(fault.Errorf(fault.Invalid, "a command comes with %d open files, not %d", len(fds), streams), err)
	}
	for i, name := range [streams]string{"standard input", "standard output", "standard error"} {
		files[i] = os.NewFile(uintptr(fds[i]), name)
	}
	return n, files, nil
}

func rightsOf(oob []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	var all []int
	for _, m := range messages {
		fds, bad := unix.ParseUnixRights(&m)
		all = append(all, fds...)
		err = errors.Join(err, bad)
	}
	return all, err
}
