package content_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

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
	// hold, if it is not nil, is waited for before an answer.
	hold chan struct{}
}

func (s *shelf) Download(_ context.Context, _ id.Workspace, blocks []id.Block, take func(id.Block, []byte) error) error {
	s.asked.Add(1)
	if s.hold != nil {
		<-s.hold
	}
	for _, b := range blocks {
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
	var body manifest.FileBody
	err := transfer.Upload(t.Context(), transfer.Config{}, place, to, func(ctx context.Context, out *transfer.Outgoing[int]) error {
		b := list.NewBuilder(pages{out})
		for at := 0; at < len(plain); at += manifest.BlockSize {
			part := plain[at:min(at+manifest.BlockSize, len(plain))]
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
	r := content.New(place, s, transfer.Config{})
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
	r := content.New(place, s, transfer.Config{})
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
	r := content.New(place, s, transfer.Config{})
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
	if err := content.New(place, s, transfer.Config{}).ReadAt(t.Context(), body, p, 0); !fault.Is(err, fault.Integrity) {
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
			r := content.New(place, content.Store{Server: s, Cache: cache}, transfer.Config{})
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
