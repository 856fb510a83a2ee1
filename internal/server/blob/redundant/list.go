package redundant

import (
	"context"
	"iter"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
)

// List implements [blob.Store]. A pack is there where enough stores list its
// parts. As many stores may fail to list as parts may be lost.
func (s *Store) List(ctx context.Context, scope blob.Scope, after id.Pack) iter.Seq2[blob.Object, error] {
	return func(yield func(blob.Object, error) bool) {
		l := &lister{s: s, ctx: ctx}
		defer l.stop()
		for _, m := range s.members {
			if err := l.add(m, scope, after); err != nil {
				yield(blob.Object{}, err)
				return
			}
		}
		for len(l.sources) > 0 {
			o, here, err := l.next()
			if err != nil {
				yield(blob.Object{}, err)
				return
			}
			if here && !yield(o, nil) {
				return
			}
		}
	}
}

// lister merges the lists of the stores.
type lister struct {
	s       *Store
	ctx     context.Context
	sources []*source
	failed  int
}

// source is the list of one store.
type source struct {
	m    *member
	next func() (blob.Object, error, bool)
	stop func()
	head blob.Object
}

func (l *lister) stop() {
	for _, s := range l.sources {
		s.stop()
	}
}

func (l *lister) add(m *member, scope blob.Scope, after id.Pack) error {
	next, stop := iter.Pull2(m.Store.List(l.ctx, scope, after))
	s := &source{m: m, next: next, stop: stop}
	more, err := l.advance(s)
	if more {
		l.sources = append(l.sources, s)
	}
	return err
}

// advance moves a list to its next object, and reports whether there is one.
func (l *lister) advance(s *source) (bool, error) {
	var err error
	var more bool
	if s.head, err, more = s.next(); more && err == nil {
		return true, nil
	}
	s.stop()
	if err == nil {
		return false, nil
	}
	if l.failed++; l.ctx.Err() != nil || l.failed > l.s.c.Layout.Parity {
		return false, fault.Errorf(kindOf(l.ctx, err), "list packs: %w", s.m.named(err))
	}
	return false, nil
}

// next returns the first object of all lists, and whether enough of it is there.
func (l *lister) next() (o blob.Object, here bool, err error) {
	o = l.sources[0].head
	for _, s := range l.sources[1:] {
		if s.head.Key.Compare(o.Key) < 0 {
			o = s.head
		}
	}
	holders := map[*member]bool{}
	left := l.sources[:0]
	for _, s := range l.sources {
		more := true
		if s.head.Key == o.Key {
			holders[s.m] = true
			var failed error
			if more, failed = l.advance(s); failed != nil {
				err = failed
			}
		}
		if more {
			left = append(left, s)
		}
	}
	l.sources = left
	if err != nil {
		return o, false, err
	}
	row, err := l.s.place(l.ctx, o.Key)
	if fault.Is(err, fault.NotFound) {
		return o, false, nil
	}
	n := 0
	for _, number := range row.Stores {
		if m, err := l.s.member(number); err == nil && holders[m] {
			n++
		}
	}
	o.Size = row.Size
	return o, n >= row.Data, err
}
