package socket

import (
	"net"
	"os"

	"golang.org/x/sys/unix"

	"parsec/internal/base/fault"
)

// checkPeer refuses a process of another user, as the kernel names it.
func checkPeer(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	if int64(peer.Uid) != int64(os.Geteuid()) {
		return fault.Errorf(fault.Denied, "the process on the other side of the socket is another user's")
	}
	return nil
}
