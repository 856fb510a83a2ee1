// Package s3 keeps objects in a bucket of an S3 service. It implements package
// blob.
//
// A pack is one request: its bytes are streamed from where they are, with
// their SHA-256 in its head, so that the service refuses what was changed on
// the way, and with the condition that nothing has the name yet. Where a
// service does not honour the condition, which a first use finds out, the
// store looks before it writes and lets one caller at a time write a key; as
// packs are named at random, no other process writes the same one. An answer
// that was lost and another content look alike to the condition, so a refused
// write compares what is there.
//
// Objects are ORGANIZATION/WORKSPACE/PACK in the bucket, which is the store's
// alone. Durability is the service's: it acknowledges what it has.
package s3

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"parsec/internal/base/fault"
	"parsec/internal/server/blob"
	"parsec/internal/server/httpstore"
)

var _ blob.Store = (*Store)(nil)

// Store is a bucket.
type Store struct {
	name     string
	bucket   string
	region   string
	core     *minio.Core
	network  *http.Transport
	patience httpstore.Patience
	turns    httpstore.Turns

	// preparing has one item, which who prepares the bucket takes out.
	preparing chan struct{}

	page int // how many objects are asked for at once

	mu          sync.Mutex // guards the rest
	prepared    bool
	conditional bool // the service honours If-None-Match
}

// Open returns the store of a bucket, which it makes where it is missing. A
// service that does not answer is no error yet: the bucket is made ready with
// the first call that reaches it.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	network, err := c.network().Transport()
	if err != nil {
		return nil, err
	}
	client, err := minio.New(c.Host, &minio.Options{
		Creds:        credentials.NewStaticV4(c.Credentials.User, string(c.Credentials.Secret), ""),
		Secure:       !c.Insecure,
		Transport:    network,
		Region:       c.region(),
		BucketLookup: c.Style.lookup(),
		MaxRetries:   1, // package httpstore repeats
	})
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "open %s: %w", c, err)
	}
	s := &Store{
		name: c.String(), bucket: c.Bucket, region: c.region(), core: &minio.Core{Client: client},
		network: network, patience: c.Patience, preparing: make(chan struct{}, 1), page: pageSize,
	}
	s.preparing <- struct{}{}
	ctx, cancel := context.WithTimeout(ctx, httpstore.OpenTime)
	defer cancel()
	if err := s.prepare(ctx); err != nil && !fault.Is(err, fault.Unreachable) {
		return nil, fault.Errorf(fault.KindOf(err), "open %s: %w", c, err)
	}
	return s, nil
}

// String returns where the bucket is, without credentials.
func (s *Store) String() string { return s.name }

// GoString returns what String does.
func (s *Store) GoString() string { return s.name }

// call makes attempts, once the bucket is ready.
func (s *Store) call(ctx context.Context, what string, attempt func(ctx context.Context, alive func()) error) error {
	if err := s.prepare(ctx); err != nil {
		return httpstore.Wrap(what, err)
	}
	return httpstore.Wrap(what, s.try(ctx, attempt))
}

func (s *Store) try(ctx context.Context, attempt func(ctx context.Context, alive func()) error) error {
	return s.patience.Do(ctx, func(ctx context.Context, alive func()) error { return translate(attempt(ctx, alive)) })
}

// content is a pack's bytes and what is known of them.
type content struct {
	parts  [][]byte
	size   int64
	sha256 []byte
}

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, key blob.Key, parts [][]byte) error {
	const what = "store pack"
	done, err := s.turns.Take(ctx, key)
	if err != nil {
		return httpstore.Wrap(what, err)
	}
	defer done()
	content := content{parts, httpstore.Size(parts), httpstore.SHA256(parts)}
	return s.call(ctx, what, func(ctx context.Context, alive func()) error {
		if !s.isConditional() {
			err := s.compare(ctx, key, content, alive)
			if !fault.Is(err, fault.NotFound) {
				return err
			}
		}
		err := translate(s.put(ctx, httpstore.Name(key), content, alive, s.isConditional()))
		if fault.Is(err, fault.Conflict) {
			err = s.compare(ctx, key, content, alive)
			if fault.Is(err, fault.NotFound) {
				return fault.Errorf(fault.Unreachable, "the pack came and went meanwhile")
			}
		}
		return err
	})
}

func (s *Store) put(ctx context.Context, name string, content content, alive func(), conditional bool) error {
	body := httpstore.NewBody(content.parts, alive)
	defer body.Stop()
	// With its sum in the head, the body needs no signatures amid it, which
	// some services do not understand.
	opts := minio.PutObjectOptions{ContentType: "application/octet-stream", DisableContentSha256: true}
	if conditional {
		opts.SetMatchETagExcept("*")
	}
	_, err := s.core.PutObject(ctx, s.bucket, name, body, content.size, "", hex.EncodeToString(content.sha256), opts)
	return err
}

// compare returns nil where the object has the content, and conflict where it
// has another.
func (s *Store) compare(ctx context.Context, key blob.Key, content content, alive func()) error {
	info, err := s.core.StatObject(ctx, s.bucket, httpstore.Name(key), minio.StatObjectOptions{})
	if err != nil {
		return translate(err)
	}
	same := info.Size == content.size
	if same && !strings.EqualFold(info.ETag, hex.EncodeToString(httpstore.MD5(content.parts))) {
		// The tag of what the service encrypts is not its MD5.
		if same, err = s.has(ctx, key, content, alive); err != nil {
			return err
		}
	}
	if !same {
		return fault.Errorf(fault.Conflict, "pack %s has another content", key.Pack)
	}
	return nil
}

// Get implements [blob.Store].
func (s *Store) Get(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error) {
	const what = "read pack"
	if length == 0 || offset < 0 || length < 0 || offset+length < 0 {
		size, err := s.size(ctx, what, key)
		if err == nil && (length != 0 || offset < 0 || offset > size) {
			err = fault.Errorf(fault.Invalid, "%s: %d bytes from %d of %d", what, length, offset, size)
		}
		if err != nil {
			return nil, err
		}
		return io.NopCloser(strings.NewReader("")), nil
	}
	if err := s.prepare(ctx); err != nil {
		return nil, httpstore.Wrap(what, err)
	}
	r, err := httpstore.NewReader(ctx, s.patience, offset, length, func(ctx context.Context, from, to int64) (io.ReadCloser, error) {
		body, err := s.open(ctx, key, from, to)
		return body, translate(err)
	})
	if err != nil {
		return nil, httpstore.Wrap(what, err)
	}
	return r, nil
}

// open asks for a range that is not empty.
func (s *Store) open(ctx context.Context, key blob.Key, from, to int64) (io.ReadCloser, error) {
	var opts minio.GetObjectOptions
	if err := opts.SetRange(from, to-1); err != nil {
		return nil, err
	}
	body, _, header, err := s.core.GetObject(ctx, s.bucket, httpstore.Name(key), opts)
	if err != nil {
		return nil, err
	}
	if err := httpstore.CheckRange(header.Get("Content-Range"), from, to); err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return body, nil
}

// Size implements [blob.Store].
func (s *Store) Size(ctx context.Context, key blob.Key) (int64, error) {
	return s.size(ctx, "size pack", key)
}

func (s *Store) size(ctx context.Context, what string, key blob.Key) (size int64, err error) {
	err = s.call(ctx, what, func(ctx context.Context, _ func()) error {
		info, err := s.core.StatObject(ctx, s.bucket, httpstore.Name(key), minio.StatObjectOptions{})
		size = info.Size
		return err
	})
	return size, err
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, key blob.Key) error {
	return s.call(ctx, "delete pack", func(ctx context.Context, _ func()) error {
		err := translate(s.core.RemoveObject(ctx, s.bucket, httpstore.Name(key), minio.RemoveObjectOptions{}))
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		return err
	})
}

// Close implements [blob.Store].
func (s *Store) Close() error {
	s.network.CloseIdleConnections()
	return nil
}

// translate gives an error of the service its kind. What the service says
// beyond a code is left out.
func translate(err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) || answer.StatusCode == 0 {
		return httpstore.Away(err)
	}
	return fault.Errorf(kindOf(answer), "the store answered %s", describe(answer))
}

// kindOf returns the kind of an answer: by its code, which tells more than its
// status and is told with various ones, where it is known.
func kindOf(answer minio.ErrorResponse) fault.Kind {
	switch answer.Code {
	case minio.NoSuchKey:
		return fault.NotFound
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "XAdminUserNotFound":
		return fault.Denied
	case "ConditionalRequestConflict": // two at once: to be tried again
		return fault.Unreachable
	case "BadDigest", "XAmzContentSHA256Mismatch": // changed on the way: to be sent again
		return fault.Unreachable
	case "EntityTooLarge", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded":
		return fault.Full
	}
	kind := httpstore.StatusKind(answer.StatusCode)
	if kind == fault.NotFound { // what is lost is more than the object: the bucket
		return fault.Failed
	}
	return kind
}

func describe(answer minio.ErrorResponse) string {
	if answer.Code == "" || strings.ContainsAny(answer.Code, " \n") {
		return fmt.Sprint(answer.StatusCode)
	}
	return fmt.Sprintf("%d %s", answer.StatusCode, answer.Code)
}
