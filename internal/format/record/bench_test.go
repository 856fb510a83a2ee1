package record_test

import (
	"encoding/binary"
	"testing"

	"parsec/internal/format/golden"
	"parsec/internal/format/record"
)

func BenchmarkDecodeACommitOfAThousandChanges(b *testing.B) {
	c := record.Commit{Generation: 1, Changes: make([]record.Change, 1000)}
	for i := range c.Changes {
		binary.BigEndian.PutUint64(c.Changes[i].Entry[:], uint64(i+1))
		c.Changes[i].Version, c.Changes[i].Base, c.Changes[i].Manifest = 1, 1, golden.Fill(32, byte(i))
	}
	raw := record.Sign(body(c), fingerprint(), key(1))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := record.Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Decode(); err != nil {
			b.Fatal(err)
		}
	}
}
