// Package swift keeps objects in a container of an OpenStack Swift service,
// by its own API, with the tokens of its tempauth (v1) or of Keystone (v3). It
// implements package blob.
//
// A pack is one request and one plain object, never a large object of
// segments: its bytes are streamed from where they are, with their MD5 in its
// head, so that the service refuses what was changed on the way, and with the
// condition that nothing has the name yet. The service checks the condition
// before it writes and not while it does, so the store lets one caller at a
// time write a key; as packs are named at random, no other process writes the
// same one. An answer that was lost and another content look alike to the
// condition, so a refused write compares what is there.
//
// Objects are ORGANIZATION/WORKSPACE/PACK in the container, which is the
// store's alone. Durability is the service's. Its listings may be behind by
// moments while its container servers are overloaded.
package swift

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/ncw/swift/v2"

	"parsec/internal/base/fault"
	"parsec/internal/server/blob"
	"parsec/internal/server/httpstore"
)

var _ blob.Store = (*Store)(nil)

// Store is a container.
type Store struct {
	config   Config
	network  *http.Transport
	patience httpstore.Patience
	turns    httpstore.Turns
	page     int // how many objects are asked for at once

	// renewing has one item, which who asks for a token or makes the container
	// takes out.
	renewing chan struct{}

	mu       sync.Mutex        // guards the rest
	session  *swift.Connection // with a token, or nil
	prepared bool              // the container is there
}

// Open returns the store of a container, which it makes where it is missing. A
// service that does not answer is no error yet: the container is made ready
// with the first call that reaches it.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	network, err := c.network().Transport()
	if err != nil {
		return nil, err
	}
	s := &Store{config: c, network: network, patience: c.Patience, page: pageSize, renewing: make(chan struct{}, 1)}
	s.renewing <- struct{}{}
	ctx, cancel := context.WithTimeout(ctx, httpstore.OpenTime)
	defer cancel()
	err = s.try(ctx, func(context.Context, *swift.Connection, func()) error { return nil })
	if err != nil && !fault.Is(err, fault.Unreachable) {
		return nil, fault.Errorf(fault.KindOf(err), "open %s: %w", c, err)
	}
	return s, nil
}

// String returns where the container is, without credentials.
func (s *Store) String() string { return s.config.String() }

// GoString returns what String does.
func (s *Store) GoString() string { return s.String() }

// attempt is one try at something, with a token.
type attempt func(ctx context.Context, c *swift.Connection, alive func()) error

func (s *Store) call(ctx context.Context, what string, a attempt) error {
	return httpstore.Wrap(what, s.try(ctx, a))
}

// try makes attempts, with a new token where the service does not know the
// one at hand any more.
func (s *Store) try(ctx context.Context, a attempt) error {
	return s.patience.Do(ctx, func(ctx context.Context, alive func()) error { return s.once(ctx, a, alive) })
}

func (s *Store) once(ctx context.Context, a attempt, alive func()) error {
	c, err := s.ready(ctx, nil)
	if err != nil {
		return translate(err)
	}
	err = a(ctx, c, alive)
	if !isStatus(err, http.StatusUnauthorized) {
		return translate(err)
	}
	alive()
	if c, err = s.ready(ctx, c); err != nil {
		return translate(err)
	}
	return translate(a(ctx, c, alive))
}

// content is what is known of a pack's bytes.
type content struct {
	size int64
	md5  string // in hexadecimal, as the service tells it
}

func contentOf(parts [][]byte) content {
	return content{httpstore.Size(parts), hex.EncodeToString(httpstore.MD5(parts))}
}

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, key blob.Key, parts [][]byte) error {
	const what = "store pack"
	done, err := s.turns.Take(ctx, key)
	if err != nil {
		return httpstore.Wrap(what, err)
	}
	defer done()
	content := contentOf(parts)
	return s.call(ctx, what, func(ctx context.Context, c *swift.Connection, alive func()) error {
		err := s.put(ctx, c, httpstore.Name(key), parts, content, alive)
		if isStatus(err, http.StatusPreconditionFailed) {
			return s.compare(ctx, c, key, content)
		}
		return err
	})
}

func (s *Store) put(ctx context.Context, c *swift.Connection, name string, parts [][]byte, content content, alive func()) error {
	body := httpstore.NewBody(parts, alive)
	defer body.Stop()
	_, err := c.ObjectPut(ctx, s.config.Container, name, body, false, content.md5, "application/octet-stream",
		swift.Headers{"If-None-Match": "*", "Content-Length": strconv.FormatInt(content.size, 10)})
	return err
}

// compare returns nil where the object has the content, and conflict where it
// has another. The tag of a plain object is its MD5.
func (s *Store) compare(ctx context.Context, c *swift.Connection, key blob.Key, content content) error {
	info, _, err := c.Object(ctx, s.config.Container, httpstore.Name(key))
	switch {
	case isStatus(err, http.StatusNotFound):
		return fault.Errorf(fault.Unreachable, "the pack came and went meanwhile")
	case err != nil:
		return err
	case info.Bytes != content.size || !strings.EqualFold(info.Hash, content.md5):
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
	r, err := httpstore.NewReader(ctx, s.patience, offset, length, func(ctx context.Context, from, to int64) (body io.ReadCloser, err error) {
		err = s.once(ctx, func(ctx context.Context, c *swift.Connection, _ func()) error {
			body, err = s.open(ctx, c, key, from, to)
			return err
		}, func() {})
		return body, err
	})
	if err != nil {
		return nil, httpstore.Wrap(what, err)
	}
	return r, nil
}

// open asks for a range that is not empty.
func (s *Store) open(ctx context.Context, c *swift.Connection, key blob.Key, from, to int64) (io.ReadCloser, error) {
	file, headers, err := c.ObjectOpen(ctx, s.config.Container, httpstore.Name(key), false, swift.Headers{"Range": fmt.Sprintf("bytes=%d-%d", from, to-1)})
	if err != nil {
		return nil, err
	}
	if err := httpstore.CheckRange(headers["Content-Range"], from, to); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Size implements [blob.Store].
func (s *Store) Size(ctx context.Context, key blob.Key) (int64, error) {
	return s.size(ctx, "size pack", key)
}

func (s *Store) size(ctx context.Context, what string, key blob.Key) (size int64, err error) {
	err = s.call(ctx, what, func(ctx context.Context, c *swift.Connection, _ func()) error {
		info, _, err := c.Object(ctx, s.config.Container, httpstore.Name(key))
		size = info.Bytes
		return err
	})
	return size, err
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, key blob.Key) error {
	return s.call(ctx, "delete pack", func(ctx context.Context, c *swift.Connection, _ func()) error {
		err := c.ObjectDelete(ctx, s.config.Container, httpstore.Name(key))
		if isStatus(err, http.StatusNotFound) {
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

// isStatus reports whether the service answered with a status.
func isStatus(err error, status int) bool {
	var answer *swift.Error
	return errors.As(err, &answer) && answer.StatusCode == status
}

// translate gives an error of the service its kind. What the service says
// beyond a status is left out.
func translate(err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var answer *swift.Error
	switch {
	case !errors.As(err, &answer):
		return httpstore.Away(err)
	case answer.StatusCode == http.StatusUnprocessableEntity:
		return fault.Errorf(fault.Unreachable, "the pack was changed on its way to the store, and refused")
	case answer.StatusCode < 100:
		return fault.Errorf(fault.Failed, "the answer of the store's authority has no address and token")
	}
	return fault.Errorf(httpstore.StatusKind(answer.StatusCode), "the store answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
}
