package spoken_test

import (
	"bytes"
	"strings"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/format/spoken"
)

func TestTheTextIsTheOneOfTheFormat(t *testing.T) {
	for _, c := range []struct {
		data []byte
		n    int
		want string
	}{
		{[]byte{0, 0, 0}, 4, "0000"},
		{[]byte{0xff, 0xff, 0xff}, 4, "ZZZZ"},
		{[]byte{0x08, 0x86, 0x40}, 4, "1234"},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0xff}, 8, "ZZZZZZZZ"},
	} {
		if got := spoken.Encode(c.data, c.n); got != c.want {
			t.Errorf("Encode(%x, %d) = %s, want %s", c.data, c.n, got, c.want)
		}
	}
}

func TestReadingForgivesWhatPeopleDo(t *testing.T) {
	want, err := spoken.Decode("1A0Z", 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"1a0z", " 1A-0Z ", "IaOz", "lAoZ", "1\tA 0 - z"} {
		if got, err := spoken.Decode(text, 4); err != nil || !bytes.Equal(got, want) {
			t.Errorf("Decode(%q) = %x, %v; want %x", text, got, err, want)
		}
	}
}

func TestOtherTextsAreRefusedWithoutBeingQuoted(t *testing.T) {
	for _, text := range []string{"", "1A0", "1A0ZZ", "1A0U", "1A0é", "1A0.", "1A0\x00", "1A0\n\n5"} {
		_, err := spoken.Decode(text, 4)
		if !fault.Is(err, fault.Usage) {
			t.Errorf("Decode(%q): %v, want a usage error", text, err)
		}
		if text != "" && err != nil && strings.Contains(err.Error(), text) {
			t.Errorf("the error quotes %q: %v", text, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("1A0Z-1A0Z", byte(8))
	f.Add("zzzz", byte(4))
	f.Fuzz(func(t *testing.T, text string, n byte) {
		data, err := spoken.Decode(text, int(n))
		if err != nil {
			return
		}
		again, err := spoken.Decode(spoken.Encode(data, int(n)), int(n))
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q gave %x, which gave %x, %v", text, data, again, err)
		}
	})
}
