package redundant

import (
	"bytes"
	"context"
	"iter"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/meta"
)

// List implements [blob.Store]. A pack is there where enough stores list its
// parts. Where stores do not answer, and a pack may be there or not for it,
// the list fails there rather than pass it over.
func (s *Store) List(ctx context.Context, scope blob.Scope, after id.Pack) iter.Seq2[blob.Object, error] {
	return func(yield func(blob.Object, error) bool) {
		l := &lister{s: s, ctx: ctx, sources: map[meta.StoreID]*source{}}
		defer l.stop()
		for _, m := range s.everyone() {
			if m.state() == meta.StoreRetired {
				continue
			}
			next, stop := iter.Pull2(m.Store.List(ctx, scope, after))
			l.sources[m.ID] = &source{m: m, next: next, stop: stop}
		}
		at := packKey(blob.Key{Scope: scope, Pack: after})
		for {
			page, err := s.page(ctx, at)
			if err != nil {
				yield(blob.Object{}, fault.Errorf(kindOf(ctx, err), "list packs: %w", err))
				return
			}
			for _, row := range page {
				if row.Key.Organization != scope.Organization || row.Key.Workspace != scope.Workspace {
					return
				}
				o, here, err := l.find(row)
				if (err != nil || here) && !yield(o, err) || err != nil {
					return
				}
			}
			if len(page) == 0 {
				return
			}
			at = page[len(page)-1].Key
		}
	}
}

// pageSize is how many rows are read at once; each may have some kilobytes of
// checksums.
const pageSize = 100

// page returns the rows behind a key.
func (s *Store) page(ctx context.Context, after meta.PackKey) (page []meta.Placement, err error) {
	err = s.rows.Read(ctx, func(tx meta.Tx) error {
		page, err = tx.Placements().List(after, pageSize)
		return err
	})
	return page, err
}

// lister reads the lists of the stores along the rows.
type lister struct {
	s       *Store
	ctx     context.Context
	sources map[meta.StoreID]*source
}

// source is the list of one store.
type source struct {
	m      *member
	next   func() (blob.Object, error, bool)
	stop   func()
	head   blob.Object // what was read last, if anything
	ended  bool
	failed error
}

func (l *lister) stop() {
	for _, s := range l.sources {
		s.stop()
	}
}

// has reports whether a list has a pack. Those that are asked for ascend.
func (s *source) has(p id.Pack) (blob.Object, bool, error) {
	for s.failed == nil && !s.ended && bytes.Compare(s.head.Key.Pack[:], p[:]) < 0 {
		var more bool
		if s.head, s.failed, more = s.next(); !more {
			s.ended = true
		}
	}
	if s.failed != nil {
		return s.head, false, s.m.named(s.failed)
	}
	return s.head, !s.ended && s.head.Key.Pack == p, nil
}

// find reports whether enough of a pack is there.
func (l *lister) find(row meta.Placement) (o blob.Object, here bool, err error) {
	n, errs := 0, []error{}
	for _, number := range row.Stores {
		source := l.sources[number]
		if source == nil {
			if _, err := l.s.member(number); err != nil && !fault.Is(err, fault.NotFound) {
				errs = append(errs, err)
			}
			continue
		}
		there, ok, err := source.has(row.Key.Pack)
		if err != nil {
			errs = append(errs, err)
		}
		if ok {
			o.Modified = there.Modified
			n++
		}
	}
	o.Key, o.Size = blobKey(row.Key), row.Size
	if n < row.Data && n+len(errs) >= row.Data || l.ctx.Err() != nil {
		err := verdict(l.ctx, errs)
		return blob.Object{}, false, fault.Errorf(fault.KindOf(err), "list packs: %w", err)
	}
	return o, n >= row.Data, nil
}
