package canon_test

import (
	"bytes"
	"encoding/hex"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"parsec/internal/base/fault"
	"parsec/internal/format/canon"
)

// inner and outer have one field of every type that the formats use.
type inner struct {
	_     struct{} `cbor:",toarray"`
	Small uint8
	Name  string
}

type outer struct {
	_      struct{} `cbor:",toarray"`
	Flag   bool
	Number uint64
	Time   int64
	ID     [4]byte
	Bytes  []byte
	Inner  inner
	List   []inner
}

func example() outer {
	return outer{
		Flag: true, Number: 1 << 32, Time: -2, ID: [4]byte{1, 2, 3, 4}, Bytes: []byte{9},
		Inner: inner{Small: 200, Name: "é"}, List: []inner{{Small: 1, Name: "a"}, {Small: 24}},
	}
}

// encoded is example's form, item by item.
const encoded = "87 f5 1b0000000100000000 21 4401020304 4109 82 18c8 62c3a9 82 82 01 6161 82 1818 60"

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAValueHasTheFormThatIsWrittenDown(t *testing.T) {
	if got, want := canon.Marshal(example()), unhex(t, encoded); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	var back outer
	if err := canon.Unmarshal(unhex(t, encoded), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example(), back, cmpopts.IgnoreUnexported(outer{}, inner{})); diff != "" {
		t.Error(diff)
	}
}

func TestDecodingRefuses(t *testing.T) {
	for _, c := range []struct {
		name, form string
		want       fault.Kind
	}{
		{"nothing", "", fault.Invalid},
		{"one byte too many", encoded + "00", fault.Invalid},
		{"a second value behind the first", encoded + encoded, fault.Invalid},
		{"a field that is unknown", "88 f5 1b0000000100000000 21 4401020304 4109 82 18c8 62c3a9 80 00", fault.Upgrade},
		{"a field that is unknown in a struct within", "87 f5 01 21 4401020304 4109 83 01 60 00 80", fault.Upgrade},
		{"a field that is unknown in a struct of a list", "87 f5 01 21 4401020304 4109 82 01 60 81 83 01 60 00", fault.Upgrade},
		{"a field too few", "86 f5 01 21 4401020304 4109 82 01 60", fault.Invalid},
		{"a struct as a map", "a1 00 01", fault.Invalid},
		{"a map with a key twice", "a2 00 01 00 02", fault.Invalid},
		{"null for a list", "87 f5 01 21 4401020304 4109 82 01 60 f6", fault.Invalid},
		{"null for a byte string", "87 f5 01 21 4401020304 f6 82 01 60 80", fault.Invalid},
		{"null for a number", "87 f5 f6 21 4401020304 4109 82 01 60 80", fault.Invalid},
		{"null for a flag", "87 f6 01 21 4401020304 4109 82 01 60 80", fault.Invalid},
		{"undefined for a struct", "87 f5 01 21 4401020304 4109 f7 80", fault.Invalid},
		{"a flag in two bytes", "87 f815 01 21 4401020304 4109 82 01 60 80", fault.Invalid},
		{"a flag as a number", "87 01 01 21 4401020304 4109 82 01 60 80", fault.Invalid},
		{"a number in more bytes than it needs", "87 f5 1801 21 4401020304 4109 82 01 60 80", fault.Invalid},
		{"a length in more bytes than it needs", "87 f5 01 21 4401020304 580109 82 01 60 80", fault.Invalid},
		{"a count in more bytes than it needs", "9807 f5 01 21 4401020304 4109 82 01 60 80", fault.Invalid},
		{"a number that is too large for its field", "87 f5 01 21 4401020304 4109 82 190100 60 80", fault.Invalid},
		{"a signed number beyond 63 bits", "87 f5 01 1b8000000000000000 4401020304 4109 82 01 60 80", fault.Invalid},
		{"a negative number where none may be", "87 f5 20 21 4401020304 4109 82 01 60 80", fault.Invalid},
		{"a float for a number", "87 f5 f93c00 21 4401020304 4109 82 01 60 80", fault.Invalid},
		{"a big number for a number", "87 f5 c24101 21 4401020304 4109 82 01 60 80", fault.Invalid},
		{"a tag around a number", "87 f5 c101 21 4401020304 4109 82 01 60 80", fault.Invalid},
		{"a tag around everything", "d9d9f7" + encoded, fault.Invalid},
		{"an id that is too short", "87 f5 01 21 43010203 4109 82 01 60 80", fault.Invalid},
		{"an id that is too long", "87 f5 01 21 450102030405 4109 82 01 60 80", fault.Invalid},
		{"an id as a list of numbers", "87 f5 01 21 8401020304 4109 82 01 60 80", fault.Invalid},
		{"bytes as a list of numbers", "87 f5 01 21 4401020304 8109 82 01 60 80", fault.Invalid},
		{"bytes as text", "87 f5 01 21 4401020304 6109 82 01 60 80", fault.Invalid},
		{"text as bytes", "87 f5 01 21 4401020304 4109 82 01 40 80", fault.Invalid},
		{"text that is not UTF-8", "87 f5 01 21 4401020304 4109 82 01 61ff 80", fault.Invalid},
		{"bytes of a length that is not given", "87 f5 01 21 4401020304 5f4109ff 82 01 60 80", fault.Invalid},
		{"text of a length that is not given", "87 f5 01 21 4401020304 4109 82 01 7fff 80", fault.Invalid},
		{"a list of a length that is not given", "87 f5 01 21 4401020304 4109 82 01 60 9fff", fault.Invalid},
		{"a struct of a length that is not given", "9f f5 01 21 4401020304 4109 82 01 60 80 ff", fault.Invalid},
		{"a head with a reserved length", "87 f5 1c 21 4401020304 4109 82 01 60 80", fault.Invalid},
		{"a list cut behind its count", "87 f5 01 21 4401020304 4109 82 01 60 81", fault.Invalid},
		{"a number cut in the middle", "87 f5 1b0000", fault.Invalid},
		{"a string longer than what is there", "87 f5 01 21 4401020304 5bffffffffffffffff 82 01 60 80", fault.Invalid},
		{"a list longer than what is there", "87 f5 01 21 4401020304 4109 82 01 60 9bffffffffffffffff", fault.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got outer
			if err := canon.Unmarshal(unhex(t, c.form), &got); !fault.Is(err, c.want) {
				t.Errorf("got %v, want an error of kind %q", err, c.want)
			}
		})
	}
}

func TestEveryCutOfAValueIsRefused(t *testing.T) {
	whole := canon.Marshal(example())
	for n := range whole {
		if err := canon.Unmarshal(whole[:n], new(outer)); !fault.Is(err, fault.Invalid) {
			t.Errorf("the first %d bytes: %v, want an error of kind invalid", n, err)
		}
	}
}

func TestAListOfTinyItemsClaimsNoMemory(t *testing.T) {
	type large struct {
		_ struct{} `cbor:",toarray"`
		A [4096]byte
	}
	data := append([]byte{0x9a, 0, 0x10, 0, 0}, make([]byte, 1<<20)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := canon.Unmarshal(data, new([]large))
	runtime.ReadMemStats(&after)
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want an error of kind invalid", err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("refusing %d bytes took %d bytes of memory", len(data), took)
	}
}

func TestWhatIsEncodedDecodesToItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.Custom(func(t *rapid.T) inner {
			return inner{Small: rapid.Uint8().Draw(t, "small"), Name: rapid.String().Draw(t, "name")}
		})
		want := outer{
			Flag:   rapid.Bool().Draw(t, "flag"),
			Number: rapid.Uint64().Draw(t, "number"),
			Time:   rapid.Int64().Draw(t, "time"),
			ID:     [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "id")),
			Bytes:  rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"),
			Inner:  in.Draw(t, "inner"),
			List:   rapid.SliceOf(in).Draw(t, "list"),
		}
		var got outer
		if err := canon.Unmarshal(canon.Marshal(want), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(outer{}, inner{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(canon.Marshal(example()))
	f.Add(canon.Marshal(outer{}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v outer
		if canon.Unmarshal(data, &v) == nil && !bytes.Equal(canon.Marshal(v), data) {
			t.Errorf("%x decodes, and encodes as %x", data, canon.Marshal(v))
		}
		if err := canon.Unmarshal(data, new([]inner)); err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Upgrade) {
			t.Errorf("%x fails with %v", data, err)
		}
	})
}

func BenchmarkDecodeAThousandItems(b *testing.B) {
	data := canon.Marshal(make([]outer, 1000))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var v []outer
		if err := canon.Unmarshal(data, &v); err != nil {
			b.Fatal(err)
		}
	}
}
