package transfer_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/seal"
	"parsec/internal/client/transfer"
	"parsec/internal/format/manifest"
	"parsec/internal/format/pack"
)

// memory is a server that keeps blocks in memory.
type memory struct {
	mu     sync.Mutex
	blocks map[id.Block][]byte
	packs  int
	fail   error
}

func (m *memory) Upload(_ context.Context, _ id.Workspace, blocks []pack.Block, bodies [][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.packs++
	body := bytes.Join(bodies, nil)
	for _, b := range blocks {
		sealed := body[:b.Length]
		if sha256.Sum256(sealed) != b.Digest {
			return errors.New("the digest is wrong")
		}
		m.blocks[b.ID] = sealed
		body = body[b.Length:]
	}
	if len(body) != 0 {
		return errors.New("bytes behind the last block")
	}
	return nil
}

func (m *memory) Download(_ context.Context, _ id.Workspace, blocks []id.Block, take func(id.Block, []byte) error) error {
	slices.SortFunc(blocks, func(a, b id.Block) int { return bytes.Compare(a[:], b[:]) })
	for _, b := range blocks {
		m.mu.Lock()
		sealed := bytes.Clone(m.blocks[b])
		m.mu.Unlock()
		if err := take(b, sealed); err != nil {
			return err
		}
	}
	return nil
}

type file struct {
	content []byte
	refs    []manifest.Ref
}

func someFiles() []*file {
	var files []*file
	for i, n := range []int{0, 1, 255, 256, 5000, 300_000, 512 << 10, 0, 0, 512<<10 - 1, 70_000} {
		f := &file{content: make([]byte, n)}
		rand.Read(f.content)
		f.content = append(f.content, byte(i))[:n]
		files = append(files, f)
	}
	return files
}

func upload(ctx context.Context, m *memory, place seal.Place, files []*file, consume func(context.Context, []*file) error) error {
	produce := func(_ context.Context, out *transfer.Outgoing[*file]) error {
		for _, f := range files {
			if n := len(f.content); n > 0 {
				room, err := out.Room(n)
				if err != nil {
					return err
				}
				f.refs = append(f.refs, out.Seal(room[:copy(room, f.content)]))
			}
			if err := out.Complete(f); err != nil {
				return err
			}
		}
		return nil
	}
	return transfer.Upload(ctx, transfer.Config{Pack: 600 << 10, Parallel: 2}, place, m, produce, consume)
}

func TestWhatGoesUpComesDown(t *testing.T) {
	m := &memory{blocks: map[id.Block][]byte{}}
	place := seal.Place{Workspace: id.New[id.Workspace]()}
	files := someFiles()
	var done []*file
	err := upload(t.Context(), m, place, files, func(_ context.Context, some []*file) error {
		done = append(done, some...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(done, files) {
		t.Fatalf("%d files were completed, or in another order; want %d", len(done), len(files))
	}
	if m.packs < 2 || m.packs > 6 {
		t.Errorf("%d packs for 2 MB in packs of 600 KiB", m.packs)
	}
	type target struct{ file, copy int }
	got := map[target][]byte{}
	var mu sync.Mutex
	err = transfer.Download(t.Context(), transfer.Config{Pack: 600 << 10, Parallel: 2}, place, m,
		func(_ context.Context, in *transfer.Incoming[target]) error {
			for i, f := range files {
				for _, ref := range f.refs {
					if err := errors.Join(in.Want(ref, target{i, 0}), in.Want(ref, target{i, 1})); err != nil {
						return err
					}
				}
			}
			return nil
		}, func(to target, content []byte, err error) error {
			mu.Lock()
			defer mu.Unlock()
			got[to] = bytes.Clone(content)
			return err
		})
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		for c := range 2 {
			if !bytes.Equal(got[target{i, c}], f.content) {
				t.Errorf("copy %d of file %d differs", c, i)
			}
		}
	}
}

func TestNothingIsConsumedBeforeItIsStored(t *testing.T) {
	m := &memory{blocks: map[id.Block][]byte{}}
	place := seal.Place{Workspace: id.New[id.Workspace]()}
	err := upload(t.Context(), m, place, someFiles(), func(_ context.Context, some []*file) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, f := range some {
			for _, ref := range f.refs {
				if m.blocks[ref.ID] == nil {
					return fmt.Errorf("block %s is not stored", ref.ID)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheFirstErrorEndsAnUpload(t *testing.T) {
	place := seal.Place{Workspace: id.New[id.Workspace]()}
	full := fault.Errorf(fault.Full, "no room")
	m := &memory{fail: full}
	none := func(context.Context, []*file) error { return nil }
	if err := upload(t.Context(), m, place, someFiles()[1:], none); !errors.Is(err, full) {
		t.Errorf("a failing store: got %v, want %v", err, full)
	}
	m = &memory{blocks: map[id.Block][]byte{}}
	refused := errors.New("refused")
	err := upload(t.Context(), m, place, someFiles(), func(context.Context, []*file) error { return refused })
	if !errors.Is(err, refused) {
		t.Errorf("a failing consumer: got %v, want %v", err, refused)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := upload(ctx, m, place, someFiles(), none); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled upload: got %v", err)
	}
}

func TestABlockThatIsNotTheSignedOneIsABrokenPromise(t *testing.T) {
	m := &memory{blocks: map[id.Block][]byte{}}
	place := seal.Place{Workspace: id.New[id.Workspace]()}
	files := someFiles()[4:5]
	if err := upload(t.Context(), m, place, files, func(context.Context, []*file) error { return nil }); err != nil {
		t.Fatal(err)
	}
	ref := files[0].refs[0]
	m.blocks[ref.ID][7] ^= 1
	err := transfer.Download(t.Context(), transfer.Config{}, place, m,
		func(_ context.Context, in *transfer.Incoming[int]) error { return in.Want(ref, 0) },
		func(_ int, _ []byte, err error) error { return errors.Join(err, errors.New("shown")) })
	if fault.PromiseOf(err) != seal.PromiseContent {
		t.Errorf("got %v, want the promise %q", err, seal.PromiseContent)
	}
}
