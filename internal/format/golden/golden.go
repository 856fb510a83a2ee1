// Package golden compares what the formats encode with bytes that are
// committed: a change of a persisted or signed format must be seen in a diff,
// and meant. Only tests import it. With the flag -update it writes the file
// instead, and the test fails to say so.
package golden

import (
	"encoding/hex"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden vectors instead of comparing them")

// path is relative to the package under test.
const path = "testdata/golden.txt"

// A Vector is one encoded value under the name that says what it is.
type Vector struct {
	Name  string
	Bytes []byte
}

// Compare fails the test unless testdata/golden.txt holds exactly these
// vectors in this order.
func Compare(t *testing.T, vectors []Vector) {
	t.Helper()
	got := make([]string, 0, len(vectors))
	for _, v := range vectors {
		got = append(got, format(v))
	}
	if *update {
		write(t, strings.Join(got, "\n"))
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(data), "\n\n")
	for i, v := range vectors {
		if i >= len(want) || strings.TrimSpace(got[i]) != strings.TrimSpace(want[i]) {
			t.Errorf("the bytes of %q are no longer those of %s; got\n%s", v.Name, path, got[i])
		}
	}
	if len(want) != len(got) {
		t.Errorf("%s holds %d vectors, want %d", path, len(want), len(got))
	}
}

// Read returns the bytes of testdata/golden.txt by name, for tests that what
// was encoded or sealed once is still read.
func Read(t *testing.T) map[string][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]byte)
	for _, vector := range strings.Split(string(data), "\n\n") {
		name, digits, _ := strings.Cut(strings.TrimPrefix(vector, "# "), "\n")
		if all[name], err = hex.DecodeString(strings.ReplaceAll(digits, "\n", "")); err != nil {
			t.Fatalf("%s: %q: %v", path, name, err)
		}
	}
	return all
}

func write(t *testing.T, text string) {
	t.Helper()
	if err := os.MkdirAll("testdata", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	t.Errorf("%s is written; read the diff and run again without -update", path)
}

// format returns the vector as a heading and lines of hexadecimal digits.
func format(v Vector) string {
	const width = 96
	text := "# " + v.Name + "\n"
	for digits := hex.EncodeToString(v.Bytes); digits != ""; {
		n := min(width, len(digits))
		text += digits[:n] + "\n"
		digits = digits[n:]
	}
	return text
}

// Fill returns n bytes that count upwards from first: fixed stuff for keys,
// ids and digests.
func Fill(n int, first byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}
