package redundant

import (
	"bytes"
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
	r := &reader{s: s, ctx: ctx, row: row, at: offset, end: offset + length}
	if length == 0 {
		return r, nil
	}
	return r, r.fill()
}

// reader reads a range.
type reader struct {
	s       *Store
	ctx     context.Context
	row     meta.Placement
	at, end int64
	window  []byte // what lies before at and was not handed out
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, fault.Errorf(fault.Canceled, "read pack: %w", err)
	}
	if len(r.window) == 0 {
		if r.at == r.end {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.window)
	r.window = r.window[n:]
	return n, nil
}

// Close implements [io.Closer].
func (r *reader) Close() error { return nil }

// fill reads the next window, which lies in one part.
func (r *reader) fill() error {
	each := partSize(r.row.Size, r.row.Data)
	part := r.at / each
	begin, end := r.at-part*each, min(each, r.end-part*each)
	first := begin / chunkSize
	last := min(chunks(end), first+windowChunks)
	end = min(end, last*chunkSize)
	get := func(first, last int64) ([]byte, error) { return r.s.window(r.ctx, r.row, int(part), first, last) }
	b, err := piecemeal(first, last, get)
	if err != nil && r.ctx.Err() == nil {
		// Its parts may have been moved since the row was read.
		if row, failed := r.s.place(r.ctx, blobKey(r.row.Key)); failed == nil && !slices.Equal(row.Stores, r.row.Stores) {
			r.row = row
			b, err = piecemeal(first, last, get)
		}
	}
	if err != nil {
		return fault.Errorf(kindOf(r.ctx, err), "read pack: %w", err)
	}
	r.window = b[begin-first*chunkSize : end-first*chunkSize]
	r.at += int64(len(r.window))
	return nil
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

// window returns chunks of a data part, from whoever has them first.
func (s *Store) window(ctx context.Context, row meta.Placement, part int, first, last int64) ([]byte, error) {
	var ways []way
	if row.Data == 1 {
		for _, i := range s.order(row, -1) {
			ways = append(ways, func(ctx context.Context) ([]byte, error) { return s.part(ctx, row, i, first, last) })
		}
	} else {
		ways = []way{
			func(ctx context.Context) ([]byte, error) { return s.part(ctx, row, part, first, last) },
			func(ctx context.Context) ([]byte, error) { return s.rebuild(ctx, row, part, first, last) },
		}
		if m, err := s.member(row.Stores[part]); err != nil || !m.well() {
			slices.Reverse(ways)
		}
	}
	found, err := s.race(ctx, 1, ways)
	if err != nil {
		return nil, err
	}
	return found[slices.IndexFunc(found, func(b []byte) bool { return b != nil })], nil
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
func (s *Store) rebuild(ctx context.Context, row meta.Placement, part int, first, last int64) ([]byte, error) {
	order := s.order(row, part)
	var ways []way
	for _, i := range order {
		ways = append(ways, func(ctx context.Context) ([]byte, error) { return s.part(ctx, row, i, first, last) })
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
	if !bytes.Equal(sums([][]byte{shards[part]}), sumsOf(row, part, first, last)) {
		return nil, fault.Errorf(fault.Integrity, "rebuild part %d of pack %s: it does not fit its checksums", part, row.Key.Pack)
	}
	return shards[part], nil
}

// part reads chunks of a part from its store, and checks them. What turns out
// to be missing or wrong is noticed.
func (s *Store) part(ctx context.Context, row meta.Placement, part int, first, last int64) ([]byte, error) {
	m, err := s.member(row.Stores[part])
	if err != nil {
		return nil, err
	}
	begin := s.c.Now()
	b, err := s.ask(ctx, m, row, part, first, last)
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

// ask reads chunks of a part. A part that is too short is as bad as a wrong one.
func (s *Store) ask(ctx context.Context, m *member, row meta.Placement, part int, first, last int64) ([]byte, error) {
	begin, end := first*chunkSize, min(last*chunkSize, partSize(row.Size, row.Data))
	r, err := m.Store.Get(ctx, blobKey(row.Key), begin, end-begin)
	if fault.Is(err, fault.Invalid) {
		return nil, fault.Errorf(fault.Integrity, "part %d of pack %s is too short", part, row.Key.Pack)
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, end-begin)
	_, err = io.ReadFull(r, b)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fault.Errorf(kindOf(ctx, err), "read part %d of pack %s: %w", part, row.Key.Pack, err)
	}
	if want := sumsOf(row, part, first, last); want != nil && !bytes.Equal(sums([][]byte{b}), want) {
		return nil, fault.Errorf(fault.Integrity, "part %d of pack %s does not fit its checksums", part, row.Key.Pack)
	}
	return b, nil
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
