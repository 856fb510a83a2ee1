// Package socket is the way into the process that holds a device: a unix
// socket over which other processes of the same person have commands run there,
// with their own terminal and files, and speak the agent's API. It knows neither
// devices nor commands; what is asked for is done by whoever listens.
//
// Who gets in. The socket and the file that names it are private to their
// owner; the kernel has to say that the other side is the same user, where it
// can; and every connection begins with the 256-bit secret of that file, which is
// compared in constant time before anything else is read.
//
// Invariants:
//   - Only the process that has locked the folder makes the socket, removes one
//     that a killed process left, and takes it away again.
//   - A command was begun only if its sender was told so: whoever finds the
//     socket closing may try again without doing anything twice.
//   - A message is bounded, and whoever does not send in time is cut off.
package socket

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/secret"
)

const (
	// nameFile says, in the device's folder, where the socket is.
	nameFile = "socket.json"
	// socketFile is the socket, in the device's folder if the path is short enough.
	socketFile = "socket"
	// maxAddress is what fits into the kernel's address of a socket everywhere.
	maxAddress = 100
	// maxNameFile is more than the file is long.
	maxNameFile = 8 << 10
)

// What a connection is for; the first byte that is sent.
const (
	forCommand = 1
	forAPI     = 2
)

// accepted is the answer to a greeting.
const accepted = 1

// helloSize is the length of a greeting.
const helloSize = 1 + secretSize

const secretSize = 32

// Bounds.
const (
	// helloTime is how long a connection may take to say what it wants.
	helloTime = 10 * time.Second
	// maxMessage bounds a message; a command line can be as long as the
	// operating system's limit, which is 2 MiB at most places.
	maxMessage = 4 << 20
	// maxConnections is how many connections are served at once; more wait in
	// the operating system's queue. A person has a few terminals and a page.
	maxConnections = 128
)

// name is what stands in the file that names a socket.
type name struct {
	Address string `json:"address"`
	Secret  []byte `json:"secret"`
}

// ErrNobody is a folder whose socket nobody serves, or whose process is about
// to end: nothing was begun, and it may be tried again.
var ErrNobody = errors.New("nobody answers on the socket")

// readName reads the file that names a folder's socket.
func readName(folder string) (name, error) {
	var n name
	path := filepath.Join(folder, nameFile)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return n, ErrNobody
	}
	if err != nil {
		return n, fmt.Errorf("find socket: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxNameFile {
		return n, fault.Errorf(fault.Invalid, "find socket: %s is no file of this program", path)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return n, ErrNobody
	}
	if err != nil {
		return n, fmt.Errorf("find socket: %w", err)
	}
	if json.Unmarshal(text, &n) != nil || len(n.Secret) != secretSize || !filepath.IsAbs(n.Address) {
		return n, fault.Errorf(fault.Invalid, "find socket: %s cannot be read", path)
	}
	return n, nil
}

// publish writes the file that names a socket, as a whole. It is worthless
// after a crash, so it need not outlive one.
func (n name) publish(folder string) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	path := filepath.Join(folder, nameFile)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// newName chooses the address of a folder's socket and makes its secret. Where
// the folder's path is too long for the kernel, the socket gets a fresh private
// folder below short, which is removed with it.
func newName(folder, short string) (name, error) {
	n := name{Address: filepath.Join(folder, socketFile), Secret: make([]byte, secretSize)}
	rand.Read(n.Secret)
	if len(n.Address) <= maxAddress {
		return n, nil
	}
	dir, err := os.MkdirTemp(short, "parsec-")
	if err != nil {
		return n, err
	}
	n.Address = filepath.Join(dir, socketFile)
	if len(n.Address) > maxAddress {
		return n, errors.Join(fault.Errorf(fault.Invalid, "%s is too long a path for a socket", n.Address), os.Remove(dir))
	}
	return n, nil
}

// remove takes away a socket, and the folder that was made for it.
func (n name) remove(folder string) {
	// What cannot be removed is found stale, and harmless, by the next process.
	_ = os.Remove(n.Address)
	if filepath.Dir(n.Address) != folder {
		_ = os.Remove(filepath.Dir(n.Address))
	}
}

// clear removes what a process left that was killed. The caller holds the
// folder's lock, so nobody serves there.
func clear(folder string) error {
	n, err := readName(folder)
	if err == nil && filepath.Base(n.Address) == socketFile {
		n.remove(folder)
	}
	for _, left := range []string{nameFile, nameFile + ".new", socketFile} {
		if err := os.Remove(filepath.Join(folder, left)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove stale socket: %w", err)
		}
	}
	return nil
}

// hello returns what a connection begins with.
func (n name) hello(purpose byte) []byte { return append([]byte{purpose}, n.Secret...) }

// knows reports whether a greeting has the secret.
func knows(hello []byte, want secret.Bytes) bool {
	return len(hello) == helloSize && subtle.ConstantTimeCompare(hello[1:], want) == 1
}
