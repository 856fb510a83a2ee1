package httpstore

import (
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"sync"
)

// Size returns how many bytes parts have.
func Size(parts [][]byte) (n int64) {
	for _, part := range parts {
		n += int64(len(part))
	}
	return n
}

// MD5 returns that of parts, the sum by which object stores know an object.
func MD5(parts [][]byte) []byte { return sum(md5.New(), parts) }

// SHA256 returns that of parts.
func SHA256(parts [][]byte) []byte { return sum(sha256.New(), parts) }

func sum(h hash.Hash, parts [][]byte) []byte {
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

// Body reads parts one behind the other without joining them. An HTTP client
// may go on reading a request's body after it has returned an error; after
// Stop a Body reads no part any more.
type Body struct {
	alive func()

	mu      sync.Mutex // guards the rest, and is held while a part is read
	parts   [][]byte
	part    int // the part where the next byte is
	at      int // and its place there
	stopped bool
}

// NewBody returns a body of parts, which tells of each read.
func NewBody(parts [][]byte, alive func()) *Body { return &Body{parts: parts, alive: alive} }

var errStopped = errors.New("the request has ended")

// Read implements [io.Reader].
func (b *Body) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return 0, errStopped
	}
	b.alive()
	for n < len(p) && b.part < len(b.parts) {
		c := copy(p[n:], b.parts[b.part][b.at:])
		n += c
		if b.at += c; b.at == len(b.parts[b.part]) {
			b.part, b.at = b.part+1, 0
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Seek implements [io.Seeker] for the beginning, which is where a client that
// sends a body again goes.
func (b *Body) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekStart {
		return 0, errors.ErrUnsupported
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.part, b.at = 0, 0
	return 0, nil
}

// Stop ends all reading of the parts. When it has returned they are the
// caller's again.
func (b *Body) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
}
