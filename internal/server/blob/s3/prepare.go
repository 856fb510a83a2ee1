package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"

	"github.com/minio/minio-go/v7"

	"parsec/internal/base/fault"
	"parsec/internal/server/blob"
	"parsec/internal/server/httpstore"
)

// probe is the name of an empty object by which the store learns whether the
// service honours conditions, and that it may write. It is no pack's name.
const probe = "parsec-probe"

// prepare makes the bucket ready, once.
func (s *Store) prepare(ctx context.Context) error {
	if s.isPrepared() {
		return ctx.Err()
	}
	select {
	case <-s.preparing:
		defer func() { s.preparing <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.isPrepared() {
		return nil
	}
	if err := s.try(ctx, func(ctx context.Context, _ func()) error { return s.makeBucket(ctx) }); err != nil {
		return err
	}
	conditional, err := s.honoursConditions(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared, s.conditional = true, conditional
	return nil
}

func (s *Store) makeBucket(ctx context.Context) error {
	there, err := s.core.BucketExists(ctx, s.bucket)
	if err != nil || there {
		return err
	}
	err = s.core.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{Region: s.region})
	if code := minio.ToErrorResponse(err).Code; code == "BucketAlreadyOwnedByYou" || code == "BucketAlreadyExists" && s.mine(ctx) {
		return nil // made by another process meanwhile
	}
	return err
}

// mine reports whether the bucket is one that the store may use.
func (s *Store) mine(ctx context.Context) bool {
	there, err := s.core.BucketExists(ctx, s.bucket)
	return err == nil && there
}

// honoursConditions stores the probe twice, under the condition that it is not
// there. A service that lets the second pass does not look.
func (s *Store) honoursConditions(ctx context.Context) (bool, error) {
	for range 2 {
		err := s.try(ctx, func(ctx context.Context, alive func()) error {
			return s.putProbe(ctx, alive)
		})
		switch {
		case fault.Is(err, fault.Conflict):
			return true, nil
		case err != nil && fault.KindOf(err) == fault.Failed:
			return false, nil // the condition is refused as such
		case err != nil:
			return false, err
		}
	}
	return false, nil
}

func (s *Store) putProbe(ctx context.Context, alive func()) error {
	return s.put(ctx, probe, content{sha256: httpstore.SHA256(nil)}, alive, true)
}

func (s *Store) isPrepared() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prepared
}

func (s *Store) isConditional() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conditional
}

// has reports whether the object has the content, by reading it.
func (s *Store) has(ctx context.Context, key blob.Key, content content, alive func()) (bool, error) {
	if content.size == 0 {
		return true, nil // its size was compared already
	}
	r, err := httpstore.NewReader(ctx, s.patience, 0, content.size, func(ctx context.Context, from, to int64) (io.ReadCloser, error) {
		body, err := s.open(ctx, key, from, to)
		return body, translate(err)
	})
	if err != nil {
		return false, err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(h, progress(alive)), r); err != nil {
		return false, err
	}
	return bytes.Equal(h.Sum(nil), content.sha256), nil
}

// progress is a writer that tells of each write.
type progress func()

// Write implements [io.Writer].
func (p progress) Write(b []byte) (int, error) {
	p()
	return len(b), nil
}
