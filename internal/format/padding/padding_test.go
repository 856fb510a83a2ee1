package padding_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"pgregory.net/rapid"

	"parsec/internal/base/fault"
	"parsec/internal/format/golden"
	"parsec/internal/format/padding"
)

func TestPaddedLengthsAreThoseOfPadme(t *testing.T) {
	for n, want := range map[int]int{
		0: 256, 1: 256, 255: 256, 256: 256, 257: 272, 272: 272, 273: 288, 1000: 1024,
		9000: 9216, 65536: 65536, 65537: 67584, 512 << 10: 512 << 10, 4 << 20: 4 << 20,
	} {
		if got := padding.Padded(n); got != want {
			t.Errorf("%d bytes are padded to %d, want %d", n, got, want)
		}
	}
}

func TestPaddingCostsLittleAndNeverShrinks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 1<<40).Draw(t, "n")
		p := padding.Padded(n)
		if p < n || p < padding.Floor {
			t.Fatalf("%d bytes are padded to %d", n, p)
		}
		if n > padding.Floor && float64(p) > 1.12*float64(n) {
			t.Fatalf("%d bytes are padded to %d, more than 12 %% on top", n, p)
		}
		if padding.Padded(p) != p {
			t.Fatalf("%d, which is a padded length, is padded to %d", p, padding.Padded(p))
		}
		if more := rapid.IntRange(n, 1<<40).Draw(t, "more"); padding.Padded(more) < p {
			t.Fatalf("%d bytes are padded to less than %d bytes are", more, n)
		}
	})
}

func TestWhatIsPaddedIsStrippedToItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "content")
		// Old bytes behind the content must not show in the padding.
		dirty := append(append(make([]byte, 0, 8192), want...), bytes.Repeat([]byte{0xee}, 2000)...)[:len(want)]
		got, err := padding.Strip(padding.Pad(dirty), len(want))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %x, %v; want %x", got, err, want)
		}
		got, err = padding.Unframe(padding.Frame(want))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("framed: got %x, %v; want %x", got, err, want)
		}
	})
}

func TestStrippingRefuses(t *testing.T) {
	padded := padding.Pad([]byte("abc"))
	dirty := bytes.Clone(padded)
	dirty[255] = 1
	for _, c := range []struct {
		name   string
		padded []byte
		n      int
	}{
		{"padding that is not zero", dirty, 3},
		{"a content of fewer bytes that leaves some in the padding", padded, 2},
		{"a negative length", padded, -1},
		{"a length beyond what is there", padded, 257},
		{"a length beyond any", padded, math.MaxInt},
		{"no padding at all", []byte("abc"), 3},
		{"more padding than is due", make([]byte, 512), 3},
		{"less padding than is due", make([]byte, 257), 257},
	} {
		if _, err := padding.Strip(c.padded, c.n); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an error of kind invalid", c.name, err)
		}
	}
}

func framed(n uint32, size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint32(b, n)
	return b
}

func TestUnframingRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		plain []byte
	}{
		{"nothing", nil},
		{"fewer bytes than the length takes", []byte{0, 0, 0}},
		{"a frame without padding", []byte{0, 0, 0, 1, 9}},
		{"a length that runs over the end", framed(253, 256)},
		{"the largest length", framed(math.MaxUint32, 256)},
		{"a length that wraps to a small one in 32 bits", framed(math.MaxUint32-2, 256)},
		{"more padding than is due", framed(1, 512)},
		{"padding that is not zero", append(make([]byte, 255), 1)},
	} {
		if _, err := padding.Unframe(c.plain); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an error of kind invalid", c.name, err)
		}
	}
}

func TestFramesKeepTheirBytes(t *testing.T) {
	golden.Compare(t, []golden.Vector{
		{Name: "a frame around three bytes", Bytes: padding.Frame([]byte("abc"))},
		{Name: "a frame around 253 bytes", Bytes: padding.Frame(golden.Fill(253, 0))},
	})
}
