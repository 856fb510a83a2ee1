package redundant

import (
	"crypto/sha256"
	"fmt"

	"github.com/klauspost/reedsolomon"

	"parsec/internal/base/fault"
	"parsec/internal/server/meta"
)

// The sizes of chunks, of their checksums, and of what is read at once.
const (
	chunkSize    = 64 << 10
	sumSize      = 8
	windowChunks = 4
)

// Layout is into how many parts a pack is cut.
type Layout struct {
	// Data is the number of parts that are needed to read it, and Parity how
	// many further ones there are.
	Data, Parity int
}

// ParseLayout reads mirror, stripe or erasure:K+M, for a number of stores. ""
// is right for one store only.
func ParseLayout(text string, stores int) (Layout, error) {
	var l Layout
	switch {
	case text == "" && stores == 1:
		return Layout{Data: 1}, nil
	case text == "":
		return l, fault.WithHint(fault.Errorf(fault.Usage, "%d stores, and no word of how they go together", stores), "give --redundancy mirror, stripe or erasure:K+M")
	case text == "mirror" && stores > 1:
		return Layout{Data: 1, Parity: stores - 1}, nil
	case text == "stripe" && stores > 1:
		return Layout{Data: 1}, nil
	case text == "mirror" || text == "stripe":
		return l, fault.Errorf(fault.Usage, "redundancy %s: want two stores or more", text)
	}
	if n, err := fmt.Sscanf(text, "erasure:%d+%d", &l.Data, &l.Parity); n != 2 || err != nil || text != fmt.Sprintf("erasure:%d+%d", l.Data, l.Parity) {
		return l, fault.Errorf(fault.Usage, "redundancy %q: want mirror, stripe or erasure:K+M", text)
	}
	if l.Data < 2 || l.Parity < 1 {
		return l, fault.Errorf(fault.Usage, "redundancy %s: want two data parts or more, and a parity part or more", text)
	}
	return l, l.Validate(stores)
}

// Parts returns how many stores hold a pack.
func (l Layout) Parts() int { return l.Data + l.Parity }

// Validate refuses a layout that so many stores cannot have.
func (l Layout) Validate(stores int) error {
	if l.Data < 1 || l.Parity < 0 || l.Parts() > 256 {
		return fault.Errorf(fault.Usage, "a layout of %d+%d parts", l.Data, l.Parity)
	}
	if l.Parts() > stores {
		return fault.Errorf(fault.Usage, "a layout of %d+%d parts over %d stores", l.Data, l.Parity, stores)
	}
	return nil
}

// codec returns what computes parity; nil where parts are copies.
func codec(l Layout) (reedsolomon.Encoder, error) {
	if l.Data == 1 {
		return nil, nil
	}
	return reedsolomon.New(l.Data, l.Parity)
}

// partSize returns the size of each part of a pack.
func partSize(size int64, data int) int64 { return (size + int64(data) - 1) / int64(data) }

// chunks returns how many chunks so many bytes have.
func chunks(size int64) int64 { return (size + chunkSize - 1) / chunkSize }

// parts is a pack as it is stored: the pieces of each part, and the
// checksums, once where the parts are copies.
type parts struct {
	size   int64
	pieces [][][]byte
	sums   []byte
}

// cut makes the parts of a pack. It copies of the data no more than has to be
// in one piece.
func (s *Store) cut(l Layout, content [][]byte) (p parts, err error) {
	for _, piece := range content {
		p.size += int64(len(piece))
	}
	if l.Data == 1 {
		for range l.Parts() {
			p.pieces = append(p.pieces, content)
		}
		p.sums = sums(content)
		return p, nil
	}
	shards := shards(l, content, p.size)
	coder, err := s.codecFor(l)
	if err != nil {
		return p, err
	}
	if p.size > 0 {
		if err := coder.Encode(shards); err != nil {
			return p, fmt.Errorf("compute parity: %w", err)
		}
	}
	for _, shard := range shards {
		p.pieces = append(p.pieces, [][]byte{shard})
		p.sums = append(p.sums, sums([][]byte{shard})...)
	}
	return p, nil
}

// shards cuts the data into parts of one size, of which the last ones are
// filled up with zeros, and makes room for parity.
func shards(l Layout, content [][]byte, size int64) [][]byte {
	each := partSize(size, l.Data)
	all := make([][]byte, l.Parts())
	whole := content
	if len(content) != 1 {
		joined := make([]byte, 0, size)
		for _, piece := range content {
			joined = append(joined, piece...)
		}
		whole = [][]byte{joined}
	}
	for i := range all {
		begin, end := min(size, int64(i)*each), min(size, int64(i+1)*each)
		if i < l.Data && end-begin == each {
			all[i] = whole[0][begin:end:end]
			continue
		}
		all[i] = make([]byte, each)
		if i < l.Data {
			copy(all[i], whole[0][begin:end])
		}
	}
	return all
}

// codecFor returns the codec of a layout, which may be one of earlier.
func (s *Store) codecFor(l Layout) (reedsolomon.Encoder, error) {
	if l == s.c.Layout {
		return s.codec, nil
	}
	return codec(l)
}

// sums returns the checksums of the chunks of what lies in pieces: the first
// bytes of SHA-256, so that a store cannot forge them either.
func sums(pieces [][]byte) (all []byte) {
	h, filled := sha256.New(), 0
	for _, piece := range pieces {
		for len(piece) > 0 {
			n := min(len(piece), chunkSize-filled)
			h.Write(piece[:n])
			piece, filled = piece[n:], filled+n
			if filled == chunkSize {
				all = append(all, h.Sum(nil)[:sumSize]...)
				h.Reset()
				filled = 0
			}
		}
	}
	if filled > 0 {
		all = append(all, h.Sum(nil)[:sumSize]...)
	}
	return all
}

// sumsOf returns the checksums of a run of chunks of a part; nil where they
// are not known.
func sumsOf(row meta.Placement, part int, first, last int64) []byte {
	if len(row.Sums) == 0 {
		return nil
	}
	if row.Data > 1 {
		each := chunks(partSize(row.Size, row.Data))
		first, last = first+int64(part)*each, last+int64(part)*each
	}
	if last*sumSize > int64(len(row.Sums)) {
		return []byte{} // which nothing fits
	}
	return row.Sums[first*sumSize : last*sumSize]
}
