package redundant

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"

	"parsec/internal/base/fault"
	"parsec/internal/server/meta"
)

// windowSize is how many bytes of a part are read, checked and handed on at
// once: few enough to be in a processor's cache all the while.
const windowSize = windowChunks * chunkSize

// reads is what is under way to read of one pack. It keeps the answer of each
// store open from one window to the next, so that a range is one request to a
// store however long it is, and the store may send ahead. What is left open
// is closed with [reads.close].
type reads struct {
	s   *Store
	ctx context.Context // covers what is left open between windows
	row meta.Placement

	mu     sync.Mutex // guards the rest
	open   map[int]*tail
	closed bool
}

// tail is what a store has still to give of a part: chunks from next to until.
type tail struct {
	ctx         context.Context
	cancel      context.CancelFunc
	body        io.ReadCloser // nil until it was asked for
	next, until int64
}

func (t *tail) close() (err error) {
	if t.body != nil {
		err = t.body.Close()
	}
	t.cancel()
	return err
}

// reading returns what reads a pack that lies as the row says. ctx covers all
// of it.
func (s *Store) reading(ctx context.Context, row meta.Placement) *reads {
	return &reads{s: s, ctx: ctx, row: row, open: map[int]*tail{}}
}

// close ends reading. What is still being read elsewhere, as it was overtaken,
// is closed there.
func (r *reads) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.open {
		_ = t.close() // what was read stands, and was checked
	}
	r.open, r.closed = nil, true
}

// take returns the answer that gives chunks of a part from first on: what is
// left of the last one, or another one, to before the chunk until.
func (r *reads) take(part int, first, until int64) *tail {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.open[part]
	delete(r.open, part)
	if t != nil && t.next == first {
		return t
	}
	if t != nil {
		_ = t.close()
	}
	ctx, cancel := context.WithCancel(r.ctx)
	return &tail{ctx: ctx, cancel: cancel, next: first, until: until}
}

// keep leaves an answer open for the next window, unless there is one already.
func (r *reads) keep(part int, t *tail) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.open[part] != nil {
		_ = t.close()
		return
	}
	r.open[part] = t
}

// ask reads chunks of a part from its store, and checks them. A part that is
// too short is as bad as a wrong one. More of the part is going to be wanted,
// to before the chunk until.
func (r *reads) ask(ctx context.Context, m *member, part int, first, last, until int64) ([]byte, error) {
	b, err := r.unchecked(ctx, m, part, first, last, until)
	if fault.Is(err, fault.Invalid) {
		return nil, fault.Errorf(fault.Integrity, "part %d of pack %s is too short", part, r.row.Key.Pack)
	}
	if err != nil {
		return nil, fault.Errorf(kindOf(ctx, err), "read part %d of pack %s: %w", part, r.row.Key.Pack, err)
	}
	if want := sumsOf(r.row, part, first, last); want != nil && !fits(b, want) {
		r.drop(part)
		r.s.spare(b)
		return nil, fault.Errorf(fault.Integrity, "part %d of pack %s does not fit its checksums", part, r.row.Key.Pack)
	}
	return b, nil
}

// unchecked reads chunks of a part into a window. The answer may outlive this
// call, but while something is awaited from it here it ends with ctx.
func (r *reads) unchecked(ctx context.Context, m *member, part int, first, last, until int64) ([]byte, error) {
	t := r.take(part, first, until)
	unwatch := context.AfterFunc(ctx, t.cancel)
	b, err := r.some(t, m, last)
	if overtaken := !unwatch(); err != nil || overtaken || last >= t.until {
		if err = errors.Join(err, t.close()); err != nil {
			r.s.spare(b)
			return nil, err
		}
		return b, nil
	}
	t.next = last
	r.keep(part, t)
	return b, nil
}

// some reads an answer up to a chunk, after it has asked for it if nobody has.
func (r *reads) some(t *tail, m *member, last int64) (b []byte, err error) {
	size := partSize(r.row.Size, r.row.Data)
	begin := t.next * chunkSize
	if t.body == nil {
		if t.body, err = m.Store.Get(t.ctx, blobKey(r.row.Key), begin, min(t.until*chunkSize, size)-begin); err != nil {
			return nil, err
		}
	}
	b = r.s.window(int(min(last*chunkSize, size) - begin))
	_, err = io.ReadFull(t.body, b)
	return b, err
}

// drop closes what is left of an answer that is not worth going on with.
func (r *reads) drop(part int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.open[part]; t != nil {
		_ = t.close()
		delete(r.open, part)
	}
}

// window returns memory for so many bytes, at most those of a window.
func (s *Store) window(size int) []byte {
	if b, ok := s.windows.Get().(*[windowSize]byte); ok {
		return b[:size]
	}
	return new([windowSize]byte)[:size]
}

// spare takes back the memory of a window that nobody reads any more.
func (s *Store) spare(b []byte) {
	if cap(b) == windowSize {
		s.windows.Put((*[windowSize]byte)(b[:windowSize]))
	}
}

// fits reports whether chunks are what their checksums say.
func fits(b, sums []byte) bool {
	for ; len(b) > 0 && len(sums) >= sumSize; sums = sums[sumSize:] {
		n := min(len(b), chunkSize)
		if sum := sha256.Sum256(b[:n]); !bytes.Equal(sum[:sumSize], sums[:sumSize]) {
			return false
		}
		b = b[n:]
	}
	return len(b) == 0 && len(sums) == 0
}
