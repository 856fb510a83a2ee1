package journal_test

import (
	"testing"
)

// A close of a small file: one record, handed to the kernel.
func BenchmarkAppendAndFlush(b *testing.B) {
	c := config(b.TempDir())
	c.SegmentSize = 0
	j, _, _ := open(b, c)
	defer j.Close()
	body, payload := make([]byte, 200), make([]byte, 2000)
	for b.Loop() {
		if _, err := j.Append(body, payload); err != nil {
			b.Fatal(err)
		}
		if err := j.Flush(); err != nil {
			b.Fatal(err)
		}
	}
}

// A large file: full payloads one behind the other.
func BenchmarkAppendLarge(b *testing.B) {
	c := config(b.TempDir())
	c.SegmentSize = 0
	j, _, _ := open(b, c)
	defer j.Close()
	payload := make([]byte, 128<<10)
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		n, err := j.Append(nil, payload)
		if err != nil {
			b.Fatal(err)
		}
		j.Release(n)
		if j.Due() {
			if err := j.Compact(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
