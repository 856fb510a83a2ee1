package swift

import (
	"context"
	"iter"

	"github.com/ncw/swift/v2"

	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/httpstore"
)

// pageSize is how many objects are asked for at once. Services give up to
// 10,000, but an operator may set less; so a page ends the list when it is
// empty, not when it is short.
const pageSize = 1000

// List implements [blob.Store]. It holds a page in memory.
func (s *Store) List(ctx context.Context, scope blob.Scope, after id.Pack) iter.Seq2[blob.Object, error] {
	return func(yield func(blob.Object, error) bool) {
		for {
			objects, err := s.next(ctx, scope, after)
			if err != nil {
				yield(blob.Object{}, err)
				return
			}
			if len(objects) == 0 {
				return
			}
			for _, o := range objects {
				if !yield(o, nil) {
					return
				}
			}
			after = objects[len(objects)-1].Key.Pack
		}
	}
}

// next returns the next objects, none at the end.
func (s *Store) next(ctx context.Context, scope blob.Scope, after id.Pack) (objects []blob.Object, err error) {
	opts := &swift.ObjectsOpts{Prefix: httpstore.Prefix(scope), Limit: s.page}
	if !after.IsZero() {
		opts.Marker = httpstore.Name(blob.Key{Scope: scope, Pack: after})
	}
	err = s.call(ctx, "list packs", func(ctx context.Context, c *swift.Connection, _ func()) error {
		objects = objects[:0]
		found, err := c.Objects(ctx, s.config.Container, opts)
		if err != nil {
			return err
		}
		for _, o := range found {
			pack, err := httpstore.ParseName(scope, o.Name)
			if err != nil {
				return err
			}
			objects = append(objects, blob.Object{Key: blob.Key{Scope: scope, Pack: pack}, Size: o.Bytes, Modified: o.LastModified})
		}
		return nil
	})
	return objects, err
}
