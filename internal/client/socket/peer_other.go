//go:build !linux

package socket

import "net"

// checkPeer leaves it to the permissions of the socket's folder, and to the
// secret, who gets in.
func checkPeer(*net.UnixConn) error { return nil }
