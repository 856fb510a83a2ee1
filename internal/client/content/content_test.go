package content_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/blockcache"
	"parsec/internal/client/content"
	"parsec/internal/client/list"
	"parsec/internal/client/seal"
	"parsec/internal/client/transfer"
	"parsec/internal/format/manifest"
	"parsec/internal/format/pack"
)

// shelf keeps sealed blocks, and counts how often it is asked.
type shelf struct {
	mu     sync.Mutex
	sealed map[id.Block][]byte // guarded by mu
	asked  atomic.Int64
	gave   atomic.Int64 // blocks
	// away has it answer nobody.
	away atomic.Bool
	// hold, if it is not nil, is waited for before an answer.
	hold chan struct{}
}

func (s *shelf) Download(_ context.Context, _ id.Workspace, blocks []id.Block, take func(id.Block, []byte) error) error {
	s.asked.Add(1)
	if s.hold != nil {
		<-s.hold
	}
	for _, b := range blocks {
		if s.away.Load() {
			return fault.Errorf(fault.Unreachable, "the server is away")
		}
		s.gave.Add(1)
		s.mu.Lock()
		sealed, ok := s.sealed[b]
		s.mu.Unlock()
		if !ok {
			return fault.Errorf(fault.NotFound, "no block %s", b)
		}
		if err := take(b, bytes.Clone(sealed)); err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) Upload(_ context.Context, _ id.Workspace, blocks []pack.Block, bodies [][]byte) error {
	body := bodies[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range blocks {
		s.sealed[b.ID] = bytes.Clone(body[:b.Length])
		body = body[b.Length:]
	}
	return nil
}

func newShelf() *shelf { return &shelf{sealed: map[id.Block][]byte{}} }

var place = seal.Place{Organization: id.Fingerprint{1}, Workspace: id.Workspace{2}}

// store stores a content in blocks, with a hole in its middle.
func store(t *testing.T, to content.Server, plain []byte) manifest.FileBody {
	t.Helper()
	return storeBlocks(t, to, plain, manifest.BlockSize)
}

func storeBlocks(t *testing.T, to content.Server, plain []byte, size int) manifest.FileBody {
	t.Helper()
	var body manifest.FileBody
	err := transfer.Upload(t.Context(), transfer.Config{}, place, to, func(ctx context.Context, out *transfer.Outgoing[int]) error {
		b := list.NewBuilder(pages{out})
		for at := 0; at < len(plain); at += size {
			part := plain[at:min(at+size, len(plain))]
			ref := manifest.Hole(uint64(len(part)))
			if !bytes.Equal(part, make([]byte, len(part))) {
				var err error
				if ref, err = out.SealCopy(part); err != nil {
					return err
				}
			}
			if err := b.Add(ctx, ref); err != nil {
				return err
			}
		}
		blocks, err := b.Finish(ctx)
		body = manifest.FileBody{Size: uint64(len(plain)), Blocks: blocks}
		return err
	}, func(context.Context, []int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return body
}

type pages struct{ out *transfer.Outgoing[int] }

func (p pages) SealPage(_ context.Context, plain []byte) (manifest.Ref, error) {
	return p.out.SealCopy(plain)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	clear(b[n/3 : n/3+min(n/3, 2*manifest.BlockSize)])
	return b
}

func TestEveryRangeIsWhatWasStored(t *testing.T) {
	want := random(5*manifest.BlockSize + 77)
	s := newShelf()
	body := store(t, s, want)
	r := reader(t, content.Store{Server: s})
	ranges := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		from := ranges.IntN(len(want) + 1)
		p := bytes.Repeat([]byte{0xaa}, ranges.IntN(len(want)-from+1))
		if err := r.ReadAt(t.Context(), body, p, int64(from)); err != nil || !bytes.Equal(p, want[from:from+len(p)]) {
			t.Fatalf("bytes %d to %d: %v, or they differ", from, from+len(p), err)
		}
	}
	if err := r.ReadAt(t.Context(), body, make([]byte, 2), int64(len(want)-1)); !fault.Is(err, fault.Invalid) {
		t.Fatalf("reading behind the end: %v, want %v", err, fault.Invalid)
	}
}

func TestWhoReadsOnAsksSeldom(t *testing.T) {
	want := random(32 << 20)
	s := newShelf()
	body := store(t, s, want)
	r := reader(t, content.Store{Server: s})
	p := make([]byte, 128<<10)
	for at := 0; at < len(want); at += len(p) {
		if err := r.ReadAt(t.Context(), body, p, int64(at)); err != nil || !bytes.Equal(p, want[at:at+len(p)]) {
			t.Fatalf("at %d: %v, or it differs", at, err)
		}
	}
	if n := s.asked.Load(); n > 10 {
		t.Fatalf("%d requests for 32 MiB in parts of 128 KiB", n)
	}
}

func TestManyWhoReadOneBlockFetchItOnce(t *testing.T) {
	want := random(manifest.BlockSize / 2)
	s := newShelf()
	body := store(t, s, want)
	s.hold = make(chan struct{})
	r := reader(t, content.Store{Server: s})
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			p := make([]byte, 1000)
			if err := r.ReadAt(t.Context(), body, p, 5000); err != nil || !bytes.Equal(p, want[5000:6000]) {
				t.Errorf("%v, or it differs", err)
			}
		})
	}
	close(s.hold)
	readers.Wait()
	if n := s.asked.Load(); n != 1 {
		t.Fatalf("%d requests for one block", n)
	}
}

func TestABlockThatIsAnotherIsNotShown(t *testing.T) {
	s := newShelf()
	body := store(t, s, random(1000))
	for b := range s.sealed {
		s.sealed[b][7] ^= 1
	}
	p := make([]byte, 10)
	if err := reader(t, content.Store{Server: s}).ReadAt(t.Context(), body, p, 0); !fault.Is(err, fault.Integrity) {
		t.Fatalf("%v, want %v", err, fault.Integrity)
	}
	if !bytes.Equal(p, make([]byte, 10)) {
		t.Fatalf("%x is shown", p)
	}
}

func TestWhatWasWrittenOrReadNeedsNoServerAgain(t *testing.T) {
	cache, err := blockcache.Open(blockcache.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	s := newShelf()
	want := random(3 * manifest.BlockSize)
	written := store(t, content.Store{Server: s, Cache: cache}, want)
	others := store(t, s, want)
	for _, times := range []int64{1, 1} { // others' is fetched once
		for _, body := range []manifest.FileBody{written, others} {
			r := reader(t, content.Store{Server: s, Cache: cache})
			p := make([]byte, len(want))
			if err := r.ReadAt(t.Context(), body, p, 0); err != nil || !bytes.Equal(p, want) {
				t.Fatalf("%v, or it differs", err)
			}
		}
		if n := s.asked.Load(); n != times {
			t.Fatalf("%d requests, want %d", n, times)
		}
	}
}

func reader(t *testing.T, s content.Store) *content.Reader {
	t.Helper()
	r := content.New(place, s, transfer.Config{})
	t.Cleanup(r.Close)
	return r
}

// In a bubble, what goes on in the background is waited for.
func TestWhoReadsOnFindsWhatFollowsInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := bytes.Repeat([]byte("parsec!"), 4<<20)
		s := newShelf()
		body := store(t, s, want)
		r := reader(t, content.Store{Server: s})
		const part = 128 << 10
		p := make([]byte, part)
		for at := int64(0); at < 6<<20; at += part {
			if err := r.ReadAt(t.Context(), body, p, at); err != nil || !bytes.Equal(p, want[at:at+part]) {
				t.Fatalf("at %d: %v, or it differs", at, err)
			}
			synctest.Wait()
		}
		s.away.Store(true)
		for at := int64(6 << 20); at < 10<<20; at += part {
			if err := r.ReadAt(t.Context(), body, p, at); err != nil || !bytes.Equal(p, want[at:at+part]) {
				t.Fatalf("at %d, without the server: %v, or it differs", at, err)
			}
		}
		synctest.Wait()
		s.away.Store(false) // and nothing remembers that it was
		for at := int64(10 << 20); at < 28<<20; at += part {
			if err := r.ReadAt(t.Context(), body, p, at); err != nil || !bytes.Equal(p, want[at:at+part]) {
				t.Fatalf("at %d: %v, or it differs", at, err)
			}
		}
	})
}

func TestWhoReadsHereAndThereFetchesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := bytes.Repeat([]byte("parsec!"), 4<<20)
		s := newShelf()
		body := store(t, s, want)
		r := reader(t, content.Store{Server: s})
		p := make([]byte, 4096)
		for i, at := range []int64{20 << 20, 5 << 20, 13 << 20, 27 << 20, 9 << 20} {
			if err := r.ReadAt(t.Context(), body, p, at); err != nil || !bytes.Equal(p, want[at:at+4096]) {
				t.Fatalf("at %d: %v, or it differs", at, err)
			}
			synctest.Wait()
			if n := s.gave.Load(); n != int64(i+1) {
				t.Fatalf("%d blocks for %d reads of 4 KiB", n, i+1)
			}
		}
	})
}

// The list of the blocks is in pages, of which each is a block too.
func TestALongListIsReadByParts(t *testing.T) {
	want := random(1_600_123)
	cache, err := blockcache.Open(blockcache.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	s := newShelf()
	body := storeBlocks(t, s, want, 1000)
	if body.Blocks.Depth == 0 {
		t.Fatal("the list has no pages")
	}
	synctest.Test(t, func(t *testing.T) {
		r := reader(t, content.Store{Server: s, Cache: cache})
		p := make([]byte, 5000)
		for at := 0; at+len(p) <= 400_000; at += len(p) {
			if err := r.ReadAt(t.Context(), body, p, int64(at)); err != nil || !bytes.Equal(p, want[at:at+len(p)]) {
				t.Fatalf("at %d: %v, or it differs", at, err)
			}
		}
		whole := make([]byte, 300_000)
		if err := r.ReadAt(t.Context(), body, whole, 500_000); err != nil || !bytes.Equal(whole, want[500_000:800_000]) {
			t.Fatalf("much at once: %v, or it differs", err)
		}
	})
	// What is here is read, though a part of the list behind it is not.
	first := bytes.Clone(want[:1000])
	synctest.Test(t, func(t *testing.T) {
		s.away.Store(true)
		r := reader(t, content.Store{Server: s, Cache: cache})
		if err := r.ReadAt(t.Context(), body, first, 0); err != nil || !bytes.Equal(first, want[:1000]) {
			t.Fatalf("without the server: %v, or it differs", err)
		}
		if err := r.ReadAt(t.Context(), body, first, int64(len(want)-1000)); !fault.Is(err, fault.Unreachable) {
			t.Fatalf("what is not here: %v, want %v", err, fault.Unreachable)
		}
	})
}

// A manifest may name a block of another one, and say something else of it.
func TestABlockInMemoryIsOnlyWhatItsManifestSays(t *testing.T) {
	s := newShelf()
	body := store(t, s, random(1000))
	refs, err := manifest.DecodeRefs(body.Blocks.Items, body.Size)
	if err != nil {
		t.Fatal(err)
	}
	refs[0].Digest[0] ^= 1
	other := body
	other.Blocks.Items = manifest.EncodeItems(refs)
	r := reader(t, content.Store{Server: s})
	p := make([]byte, 1000)
	if err := r.ReadAt(t.Context(), body, p, 0); err != nil {
		t.Fatal(err)
	}
	if err := r.ReadAt(t.Context(), other, p, 0); !fault.Is(err, fault.Integrity) {
		t.Fatalf("%v, want %v", err, fault.Integrity)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := newShelf()
	want := bytes.Repeat([]byte("parsec!"), 10<<20)
	body := store(t, s, want)
	r := reader(t, content.Store{Server: s})
	p := make([]byte, 1<<20)
	for range 2 {
		for at := 0; at < len(want); at += len(p) {
			if err := r.ReadAt(t.Context(), body, p, int64(at)); err != nil || !bytes.Equal(p, want[at:at+len(p)]) {
				t.Fatalf("at %d: %v, or it differs", at, err)
			}
		}
	}
	r.Close()
	if size, blocks := r.Held(); size > 48<<20 || blocks > 96 {
		t.Fatalf("%d bytes in %d blocks are in memory after %d bytes were read", size, blocks, len(want))
	}
}
