package s3

import (
	"context"
	"iter"

	"github.com/minio/minio-go/v7"

	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/httpstore"
)

// pageSize is how many objects are asked for at once, which is the most that
// a service gives.
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
			for _, o := range objects {
				if !yield(o, nil) {
					return
				}
			}
			if len(objects) < s.page {
				return
			}
			after = objects[len(objects)-1].Key.Pack
		}
	}
}

// next returns the next objects, fewer than a full page at the end alone.
func (s *Store) next(ctx context.Context, scope blob.Scope, after id.Pack) (objects []blob.Object, err error) {
	opts := minio.ListObjectsOptions{Prefix: httpstore.Prefix(scope), Recursive: true, MaxKeys: s.page}
	if !after.IsZero() {
		opts.StartAfter = httpstore.Name(blob.Key{Scope: scope, Pack: after})
	}
	err = s.call(ctx, "list packs", func(ctx context.Context, alive func()) error {
		objects = objects[:0]
		for info := range s.core.ListObjectsIter(ctx, s.bucket, opts) {
			alive()
			if info.Err != nil {
				return info.Err
			}
			pack, err := httpstore.ParseName(scope, info.Key)
			if err != nil {
				return err
			}
			objects = append(objects, blob.Object{Key: blob.Key{Scope: scope, Pack: pack}, Size: info.Size, Modified: info.LastModified})
			if len(objects) == s.page {
				break
			}
		}
		return ctx.Err() // which ends the sequence without an error
	})
	return objects, err
}
