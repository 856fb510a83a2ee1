package redundant_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/reedsolomon"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
)

var _ blob.Store = (*ram)(nil)

// ram is a store in memory, whose objects the model may look at, lose and let
// rot. It waits for no disk, so that thousands of histories are tried in the
// time of a few, and for nothing outside, so that time can be virtual.
type ram struct {
	mu      sync.Mutex // guards objects
	objects map[blob.Key][]byte
}

func newRAM() *ram { return &ram{objects: map[blob.Key][]byte{}} }

// peek returns what lies under a key; nil for nothing.
func (r *ram) peek(key blob.Key) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.objects[key]
}

// poke puts something else under a key; nil loses it.
func (r *ram) poke(key blob.Key, content []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if content == nil {
		delete(r.objects, key)
		return
	}
	r.objects[key] = content
}

func ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return fault.Errorf(fault.Canceled, "%w", ctx.Err())
	}
	return nil
}

func (r *ram) Put(ctx context.Context, key blob.Key, parts [][]byte) error {
	if err := ended(ctx); err != nil {
		return err
	}
	content := append([]byte{}, bytes.Join(parts, nil)...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if was, ok := r.objects[key]; ok && !bytes.Equal(was, content) {
		return fault.Errorf(fault.Conflict, "another content")
	}
	r.objects[key] = content
	return nil
}

func (r *ram) Get(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	content, ok := r.objects[key]
	r.mu.Unlock()
	if !ok {
		return nil, fault.Errorf(fault.NotFound, "no object")
	}
	if offset < 0 || length < 0 || offset > int64(len(content)) || length > int64(len(content))-offset {
		return nil, fault.Errorf(fault.Invalid, "bytes %d to %d of %d", offset, offset+length, len(content))
	}
	return io.NopCloser(&ramReader{ctx, bytes.NewReader(content[offset : offset+length])}), nil
}

type ramReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *ramReader) Read(p []byte) (int, error) {
	if err := ended(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func (r *ram) Size(ctx context.Context, key blob.Key) (int64, error) {
	if err := ended(ctx); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	content, ok := r.objects[key]
	if !ok {
		return 0, fault.Errorf(fault.NotFound, "no object")
	}
	return int64(len(content)), nil
}

func (r *ram) Delete(ctx context.Context, key blob.Key) error {
	if err := ended(ctx); err != nil {
		return err
	}
	r.poke(key, nil)
	return nil
}

func (r *ram) List(ctx context.Context, scope blob.Scope, after id.Pack) iter.Seq2[blob.Object, error] {
	return func(yield func(blob.Object, error) bool) {
		r.mu.Lock()
		all := maps.Clone(r.objects)
		r.mu.Unlock()
		for _, key := range slices.SortedFunc(maps.Keys(all), blob.Key.Compare) {
			if key.Scope != scope || bytes.Compare(key.Pack[:], after[:]) <= 0 {
				continue
			}
			if err := ended(ctx); err != nil {
				yield(blob.Object{}, err)
				return
			}
			if !yield(blob.Object{Key: key, Size: int64(len(all[key])), Modified: time.Now()}, nil) {
				return
			}
		}
	}
}

func (r *ram) Close() error { return nil }

// partsOf cuts a pack as the layout says, by other means than the store does.
func partsOf(t interface{ Fatal(...any) }, content []byte, data, parity int) (all [][]byte) {
	if data == 1 {
		return slices.Repeat([][]byte{content}, 1+parity)
	}
	each := (len(content) + data - 1) / data
	padded := append(slices.Clone(content), make([]byte, each*data-len(content))...)
	for i := range data + parity {
		if i < data {
			all = append(all, padded[i*each:(i+1)*each])
		} else {
			all = append(all, make([]byte, each))
		}
	}
	if each == 0 {
		return all
	}
	codec, err := reedsolomon.New(data, parity)
	if err == nil {
		err = codec.Encode(all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}
