package redundant

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/server/blob"
	"parsec/internal/server/meta"
)

// Get implements [blob.Store]. It reads a window at a time, which it has
// checked before the caller sees a byte of it.
func (s *Store) Get(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error) {
	const what = "read pack"
	row, err := s.place(ctx, key)
	if err != nil {
		return nil, fault.Errorf(fault.KindOf(err), "%s: %w", what, err)
	}
	if offset < 0 || length < 0 || offset > row.Size || length > row.Size-offset {
		return nil, fault.Errorf(fault.Invalid, "%s: bytes %d to %d of %d", what, offset, offset+length, row.Size)
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &reader{s: s, ctx: ctx, cancel: cancel, reads: s.reading(ctx, row), at: offset, end: offset + length}
	if length == 0 {
		return r, nil
	}
	if r.window, r.whole, err = r.next(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if r.at < r.end {
		r.ahead = make(chan fetched, 1) // and one is being read, and one handed out
		s.running.Go(r.fetch)
	}
	return r, nil
}

// reader reads a range. It reads ahead of its caller.
type reader struct {
	s      *Store
	ctx    context.Context
	cancel context.CancelFunc

	// These are of whoever fetches: of Get, and then of fetch.
	reads   *reads
	at, end int64 // what was not fetched

	// ahead has what comes next, and is closed behind the last; nil where
	// nothing comes.
	ahead         chan fetched
	window, whole []byte // what was not handed out, and the memory that it is in
	err           error  // what reading ended with
}

// fetched is a window, or why there is none.
type fetched struct {
	window, whole []byte
	err           error
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, fault.Errorf(fault.Canceled, "read pack: %w", err)
	}
	if len(r.window) == 0 {
		if err := r.turn(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.window)
	r.window = r.window[n:]
	return n, nil
}

// turn gives back the window that was read, and takes the next one.
func (r *reader) turn() error {
	r.s.spare(r.whole)
	r.whole = nil
	if r.err != nil {
		return r.err
	}
	if r.ahead == nil {
		return io.EOF
	}
	next, more := <-r.ahead
	if err := r.ctx.Err(); !more && err != nil {
		return fault.Errorf(fault.Canceled, "read pack: %w", err)
	}
	if !more {
		return io.EOF
	}
	r.window, r.whole, r.err = next.window, next.whole, next.err
	return r.err
}

// fetch fetches what is left of the range, ahead of its reader.
func (r *reader) fetch() {
	defer close(r.ahead)
	for r.at < r.end {
		var f fetched
		f.window, f.whole, f.err = r.next()
		select {
		case r.ahead <- f:
		case <-r.ctx.Done():
			return
		}
		if f.err != nil {
			return
		}
	}
}

// Close implements [io.Closer].
func (r *reader) Close() error {
	r.cancel()
	if r.ahead != nil {
		for f := range r.ahead { // until whoever fetches has ended
			r.s.spare(f.whole)
		}
	}
	r.reads.close()
	r.s.spare(r.whole)
	r.window, r.whole, r.err = nil, nil, fault.Errorf(fault.Failed, "read pack: the reader is closed")
	return nil
}

// next fetches the next window, which lies in one part. whole is the memory
// that it is in.
func (r *reader) next() (window, whole []byte, err error) {
	row := r.reads.row
	each := partSize(row.Size, row.Data)
	part := r.at / each
	begin, end := r.at-part*each, min(each, r.end-part*each)
	first, until := begin/chunkSize, chunks(end)
	last := min(until, first+windowChunks)
	end = min(end, last*chunkSize)
	get := func(first, last int64) ([]byte, error) { return r.reads.window(r.ctx, int(part), first, last, until) }
	b, err := piecemeal(first, last, get)
	if err != nil && r.ctx.Err() == nil {
		// Its parts may have been moved since the row was read.
		if now, failed := r.s.place(r.ctx, blobKey(row.Key)); failed == nil && !slices.Equal(now.Stores, row.Stores) {
			r.reads.close()
			r.reads = r.s.reading(r.ctx, now)
			b, err = piecemeal(first, last, get)
		}
	}
	if err != nil {
		return nil, nil, fault.Errorf(kindOf(r.ctx, err), "read pack: %w", err)
	}
	window = b[begin-first*chunkSize : end-first*chunkSize]
	r.at += int64(len(window))
	return window, b, nil
}

// rotten is a failure that has to do with wrong bytes.
type rotten struct{ error }

// Unwrap is for package errors.
func (r rotten) Unwrap() error { return r.error }

// piecemeal gets chunks at once, and one by one where some of them are rotten:
// what is wrong in one place of a part does not spoil the rest of it.
func piecemeal(first, last int64, get func(first, last int64) ([]byte, error)) (all []byte, err error) {
	all, err = get(first, last)
	if _, bad := errors.AsType[rotten](err); !bad || last-first == 1 {
		return all, err
	}
	for ; first < last; first++ {
		b, err := get(first, first+1)
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return all, nil
}

// window returns chunks of a data part, from whoever has them first. More of
// the part is going to be wanted, to before the chunk until.
func (r *reads) window(ctx context.Context, part int, first, last, until int64) ([]byte, error) {
	var ways []way
	if r.row.Data == 1 {
		for _, i := range r.preferred(first) {
			ways = append(ways, func(ctx context.Context) ([]byte, error) { return r.part(ctx, i, first, last, until) })
		}
	} else {
		ways = []way{
			func(ctx context.Context) ([]byte, error) { return r.part(ctx, part, first, last, until) },
			func(ctx context.Context) ([]byte, error) { return r.rebuild(ctx, part, first, last, until) },
		}
		if m, err := r.s.member(r.row.Stores[part]); err != nil || !m.well() {
			slices.Reverse(ways)
		}
	}
	found, err := r.s.race(ctx, 1, ways)
	if err != nil {
		return nil, err
	}
	return found[slices.IndexFunc(found, func(b []byte) bool { return b != nil })], nil
}

// preferred returns the copies in the order in which they are asked for chunks
// from first on: the one first that is about to send them.
func (r *reads) preferred(first int64) []int {
	all := r.s.order(r.row, -1)
	r.mu.Lock()
	defer r.mu.Unlock()
	for at, i := range all {
		if t := r.open[i]; t != nil && t.next == first {
			return slices.Insert(slices.Delete(all, at, at+1), 0, i)
		}
	}
	return all
}

// order returns the parts but one, the ones first whose stores are well.
func (s *Store) order(row meta.Placement, but int) (well []int) {
	var others []int
	for _, i := range rand.Perm(len(row.Stores)) {
		m, err := s.member(row.Stores[i])
		switch {
		case i == but:
		case err == nil && m.well():
			well = append(well, i)
		default:
			others = append(others, i)
		}
	}
	return append(well, others...)
}

// rebuild computes chunks of a part from the same chunks of others.
func (r *reads) rebuild(ctx context.Context, part int, first, last, until int64) ([]byte, error) {
	s, row := r.s, r.row
	order := s.order(row, part)
	var ways []way
	for _, i := range order {
		ways = append(ways, func(ctx context.Context) ([]byte, error) { return r.part(ctx, i, first, last, until) })
	}
	if row.Data == 1 {
		found, err := s.race(ctx, 1, ways)
		if err != nil {
			return nil, err
		}
		return found[slices.IndexFunc(found, func(b []byte) bool { return b != nil })], nil
	}
	found, err := s.race(ctx, row.Data, ways)
	if err != nil {
		return nil, err
	}
	shards, wanted := make([][]byte, len(row.Stores)), make([]bool, len(row.Stores))
	for k, i := range order {
		shards[i] = found[k]
	}
	wanted[part] = true
	coder, err := s.codecFor(Layout{Data: row.Data, Parity: row.Parity})
	if err == nil {
		err = coder.ReconstructSome(shards, wanted)
	}
	if err != nil {
		return nil, err
	}
	for k, i := range order {
		if found[k] != nil {
			s.spare(found[k])
			shards[i] = nil
		}
	}
	if !fits(shards[part], sumsOf(row, part, first, last)) {
		return nil, fault.Errorf(fault.Integrity, "rebuild part %d of pack %s: it does not fit its checksums", part, row.Key.Pack)
	}
	return shards[part], nil
}

// part reads chunks of a part from its store, and checks them. What turns out
// to be missing or wrong is noticed.
func (r *reads) part(ctx context.Context, part int, first, last, until int64) ([]byte, error) {
	s, row := r.s, r.row
	m, err := s.member(row.Stores[part])
	if err != nil {
		return nil, err
	}
	begin := s.c.Now()
	b, err := r.ask(ctx, m, part, first, last, until)
	// Who was called off is slow only where it had its time, and where it was
	// not the caller who left.
	if !fault.Is(err, fault.Canceled) || context.Cause(ctx) == errOvertaken && s.c.Now().Sub(begin) >= s.c.Hedge {
		m.note(err)
	}
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Integrity:
		if err != nil {
			s.notice(meta.Repair{Key: row.Key, Store: m.ID})
		}
	}
	return b, m.named(err)
}

func (s *Store) notice(r meta.Repair) {
	select {
	case s.noticed <- r:
	default:
	}
}

// errOvertaken is why a call ends whose answer is not needed any more.
var errOvertaken = errors.New("another way was faster")

// way is one of several ways to get something.
type way func(context.Context) ([]byte, error)

// race tries as many ways as have to succeed, and another one whenever one
// failed or time has passed. It returns what each way found, where it did.
func (s *Store) race(ctx context.Context, need int, ways []way) ([][]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errOvertaken)
	type result struct {
		way   int
		found []byte
		err   error
	}
	results := make(chan result, len(ways)) // what is overtaken is not waited for
	started := 0
	start := func() {
		if i := started; i < len(ways) {
			started++
			s.running.Go(func() {
				b, err := ways[i](ctx)
				results <- result{i, b, err}
			})
		}
	}
	for range need {
		start()
	}
	hedge := time.NewTicker(s.c.Hedge)
	defer hedge.Stop()
	found, errs := make([][]byte, len(ways)), []error{}
	for need > 0 && need <= len(ways)-len(errs)-count(found) {
		select {
		case r := <-results:
			if r.err != nil {
				errs = append(errs, r.err)
				start()
				continue
			}
			found[r.way] = r.found
			need--
		case <-hedge.C:
			start()
		case <-ctx.Done():
			return nil, verdict(ctx, nil)
		}
	}
	if need == 0 {
		return found, nil
	}
	err := verdict(ctx, errs)
	if slices.ContainsFunc(errs, func(err error) bool {
		_, bad := errors.AsType[rotten](err)
		return bad || fault.Is(err, fault.Integrity)
	}) {
		err = rotten{err}
	}
	return nil, err
}

// count returns how many were found.
func count(found [][]byte) (n int) {
	for _, b := range found {
		if b != nil {
			n++
		}
	}
	return n
}
