package seal_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"math/rand/v2"
	"sync"
	"testing"

	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/seal"
	"parsec/internal/format/manifest"
)

func content(n int) []byte {
	data := make([]byte, n)
	random := rand.NewChaCha8([32]byte{byte(n)})
	random.Read(data)
	return data
}

func TestABlockComesBackWhateverItsSize(t *testing.T) {
	for _, n := range []int{1, 255, 256, 257, 1000, 4096, 100_001, manifest.BlockSize - 1, manifest.BlockSize, manifest.BlockSize + 1, manifest.MaxBlockSize} {
		want := content(n)
		ref, sealed := place().SealBlock([]byte("before"), want)
		if string(sealed[:6]) != "before" || len(sealed) != 6+seal.SealedBlockSize(n) {
			t.Fatalf("%d bytes: the sealed block is not appended as announced", n)
		}
		sealed = sealed[6:]
		if ref.Size != uint64(n) || ref.Digest != sha256.Sum256(sealed) || ref.Hole() || ref.Key.IsZero() {
			t.Fatalf("%d bytes: the ref %v does not fit", n, ref)
		}
		got, err := place().OpenBlock([]byte("before"), ref, sealed)
		if err != nil || !bytes.Equal(got, append([]byte("before"), want...)) {
			t.Fatalf("%d bytes: another content came back, %v", n, err)
		}
		got, err = place().OpenBlock(sealed[:0], ref, sealed)
		if err != nil || !bytes.Equal(got, want) || &got[0] != &sealed[0] {
			t.Fatalf("%d bytes: opening in place failed, %v", n, err)
		}
	}
}

func TestAFullBlockGrowsByItsTagOnly(t *testing.T) {
	if got := seal.SealedBlockSize(manifest.BlockSize); got != manifest.BlockSize+16 {
		t.Errorf("a full block takes %d bytes", got)
	}
}

func TestABlockIsSealedInPlace(t *testing.T) {
	for _, n := range []int{1, 300, manifest.BlockSize} {
		buffer := make([]byte, 100, 100+seal.SealedBlockSize(n))
		spare := buffer[100:cap(buffer)]
		for i := range spare {
			spare[i] = 0xff // what an earlier use left there must not become padding
		}
		want := content(n)
		copy(spare, want)
		ref, sealed := place().SealBlock(buffer, spare[:n])
		if &sealed[0] != &buffer[0] {
			t.Fatalf("%d bytes: the block moved", n)
		}
		got, err := place().OpenBlock(nil, ref, sealed[100:])
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: another content came back, %v", n, err)
		}
	}
}

func TestEqualContentNeverSealsEqually(t *testing.T) {
	a, first := place().SealBlock(nil, content(1000))
	b, second := place().SealBlock(nil, content(1000))
	if a.ID == b.ID || a.Key.Equal(b.Key) || bytes.Equal(first, second) {
		t.Error("two blocks share id, key or bytes")
	}
}

func TestADamagedBlockIsABrokenPromise(t *testing.T) {
	ref, sealed := place().SealBlock(nil, content(1000))
	for name, data := range damaged(sealed) {
		t.Run(name, func(t *testing.T) {
			got, err := place().OpenBlock(nil, ref, data)
			wantBroken(t, err, seal.PromiseContent)
			if got != nil {
				t.Error("content came out")
			}
			wantBroken(t, seal.CheckBlock(ref, data), seal.PromiseContent)
		})
	}
}

func TestABlockOfAnotherRefIsABrokenPromise(t *testing.T) {
	ref, _ := place().SealBlock(nil, content(1000))
	_, other := place().SealBlock(nil, content(1000))
	_, err := place().OpenBlock(nil, ref, other)
	wantBroken(t, err, seal.PromiseContent)
}

func TestARefThatLiesIsTheAuthorsFault(t *testing.T) {
	honest, sealed := place().SealBlock(nil, content(1000))
	for name, lie := range map[string]func(*manifest.Ref){
		"another id":                    func(r *manifest.Ref) { r.ID[0] ^= 1 },
		"another key":                   func(r *manifest.Ref) { r.Key[31] ^= 1 },
		"no id":                         func(r *manifest.Ref) { r.ID = id.Block{} },
		"no size":                       func(r *manifest.Ref) { r.Size = 0 },
		"a size that pads elsewhere":    func(r *manifest.Ref) { r.Size = 2000 },
		"a size that cuts content":      func(r *manifest.Ref) { r.Size-- },
		"a size beyond all blocks":      func(r *manifest.Ref) { r.Size = manifest.MaxBlockSize + 1 },
		"a size beyond all memory":      func(r *manifest.Ref) { r.Size = 1 << 63 },
		"a size beyond all memory, odd": func(r *manifest.Ref) { r.Size = 1<<64 - 1 },
	} {
		t.Run(name, func(t *testing.T) {
			ref := honest
			lie(&ref)
			_, err := place().OpenBlock(nil, ref, sealed)
			wantInvalid(t, err)
		})
	}
	for name, p := range otherPlaces() {
		t.Run(name, func(t *testing.T) {
			_, err := p.OpenBlock(nil, honest, sealed)
			wantInvalid(t, err)
		})
	}
}

func TestPaddingThatIsNotZeroIsTheAuthorsFault(t *testing.T) {
	p, ref := place(), manifest.Ref{ID: id.New[id.Block](), Key: secret.Key{1}, Size: 200}
	plain := make([]byte, 256)
	plain[255] = 1
	aes, err := aes.NewCipher(ref.Key[:])
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(aes)
	if err != nil {
		t.Fatal(err)
	}
	data := manifest.BlockAssociatedData(p.Organization, p.Workspace, ref.ID)
	sealed := gcm.Seal(nil, make([]byte, 12), plain, data)
	ref.Digest = sha256.Sum256(sealed)
	_, err = p.OpenBlock(nil, ref, sealed)
	wantInvalid(t, err)
}

func TestBlocksAreSealedInParallel(t *testing.T) {
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			want := content(10_000 + i)
			for range 20 {
				ref, sealed := place().SealBlock(nil, want)
				if got, err := place().OpenBlock(nil, ref, sealed); err != nil || !bytes.Equal(got, want) {
					t.Errorf("another content came back, %v", err)
				}
			}
		})
	}
	group.Wait()
}

func TestSealingABlockAllocatesOnlyItsCipher(t *testing.T) {
	buffer := make([]byte, seal.SealedBlockSize(manifest.BlockSize))
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			place().SealBlock(buffer[:0], buffer[:manifest.BlockSize])
		}
	})
	if got := result.AllocedBytesPerOp(); got > 4096 {
		t.Errorf("%d bytes are allocated for each block", got)
	}
}

func BenchmarkSealBlock(b *testing.B) {
	buffer := make([]byte, seal.SealedBlockSize(manifest.BlockSize))
	b.SetBytes(manifest.BlockSize)
	b.ReportAllocs()
	for b.Loop() {
		place().SealBlock(buffer[:0], buffer[:manifest.BlockSize])
	}
}

func BenchmarkOpenBlock(b *testing.B) {
	ref, sealed := place().SealBlock(nil, content(manifest.BlockSize))
	buffer := make([]byte, 0, seal.SealedBlockSize(manifest.BlockSize))
	b.SetBytes(manifest.BlockSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := place().OpenBlock(buffer, ref, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealSmallBlock(b *testing.B) {
	buffer := make([]byte, seal.SealedBlockSize(2048))
	b.SetBytes(2048)
	b.ReportAllocs()
	for b.Loop() {
		place().SealBlock(buffer[:0], buffer[:2048])
	}
}

// BenchmarkRaw is AES-256-GCM and SHA-256 of a full block, and nothing else.
func BenchmarkRaw(b *testing.B) {
	aes, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCM(aes)
	if err != nil {
		b.Fatal(err)
	}
	buffer := make([]byte, seal.SealedBlockSize(manifest.BlockSize))
	b.SetBytes(manifest.BlockSize)
	for b.Loop() {
		sealed := gcm.Seal(buffer[:0], make([]byte, 12), buffer[:manifest.BlockSize], nil)
		sha256.Sum256(sealed)
	}
}
