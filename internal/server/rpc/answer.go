package rpc

import (
	"io"
	"net/http"
	"time"
)

// answer is the response of one request. It counts what is sent, and gives
// each write its own time, so that a client who reads too slowly is cut off
// and one who only reads for long is not.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	// extended is when the deadline was last moved.
	extended time.Time
	status   int
	bytes    int64
}

func newAnswer(w http.ResponseWriter, stall time.Duration) *answer {
	a := &answer{ResponseWriter: w, control: http.NewResponseController(w), stall: stall}
	a.extend()
	return a
}

// extend moves the deadline of writing, but not for every small write.
func (a *answer) extend() {
	now := time.Now()
	if now.Sub(a.extended) < a.stall/16 {
		return
	}
	a.extended = now
	// A writer without deadlines, as in some tests, has nothing to stall on.
	_ = a.control.SetWriteDeadline(now.Add(a.stall))
}

// WriteHeader notes the status and passes it on.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.extend()
	a.ResponseWriter.WriteHeader(status)
}

// Write counts the bytes and passes them on.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	a.extend()
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

// Flush sends what is buffered.
func (a *answer) Flush() {
	a.extend()
	_ = a.control.Flush() // a writer that cannot flush does not buffer
}

// Unwrap returns the writer below, for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// body is the body of one request. Each read has its own time, against
// clients that send a byte now and then.
type body struct {
	io.ReadCloser
	control  *http.ResponseController
	stall    time.Duration
	extended time.Time
	// bytes counts what was read.
	bytes int64
	// whole says that nothing more is expected.
	whole bool
}

// Read reads some bytes within the time of one read.
func (b *body) Read(p []byte) (int, error) {
	b.extend()
	n, err := b.ReadCloser.Read(p)
	b.bytes += int64(n)
	if err == io.EOF {
		b.rest()
	}
	return n, err
}

// extend moves the deadline of reading, but not for every small read.
func (b *body) extend() {
	if now := time.Now(); now.Sub(b.extended) >= b.stall/16 {
		b.extended = now
		_ = b.control.SetReadDeadline(now.Add(b.stall)) // as for writing
	}
}

// rest takes the deadline away once all is read: from there on the server
// itself watches the connection, and would take a passed deadline for a client
// that left.
func (b *body) rest() {
	b.whole, b.extended = true, time.Time{}
	_ = b.control.SetReadDeadline(time.Time{})
}

// finish gives what was not read its time: the server reads over a rest of the
// body before it sends the answer, which gets its own time behind that.
func (b *body) finish() {
	if b.whole {
		return
	}
	now := time.Now()
	_ = b.control.SetReadDeadline(now.Add(b.stall))
	_ = b.control.SetWriteDeadline(now.Add(2 * b.stall))
}
