package layer_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"parsec/internal/client/layer"
)

// A byte of the model: who wrote it and where it stands there; record 0 is the
// base's blocks, and hole what was never written.
type byteAt struct {
	record uint64
	at     int64
}

var hole = byteAt{record: ^uint64(0)}

// model is a file as bytes, beside the layers that should say the same.
type model struct {
	all   []byteAt
	top   *layer.Layer
	base  int64
	count uint64
}

func (m *model) write(off, n int64) {
	m.count++
	for int64(len(m.all)) < off+n {
		m.all = append(m.all, hole)
	}
	for at := off; at < off+n; {
		page := at / layer.PageSize
		end := min(off+n, (page+1)*layer.PageSize)
		from := uint32(at % layer.PageSize)
		m.top.Put(page, layer.Extent{From: from, To: from + uint32(end-at), At: uint32(at - off), Record: m.count})
		at = end
	}
	for i := range n {
		m.all[off+i] = byteAt{m.count, i}
	}
}

func (m *model) truncate(size int64) {
	if size < int64(len(m.all)) {
		m.top.Truncate(size)
	}
	for int64(len(m.all)) < size {
		m.all = append(m.all, hole)
	}
	m.all = m.all[:size]
}

// read returns what the layers say between two offsets.
func (m *model) read(t *testing.T, l *layer.Layer, from, to int64) []byteAt {
	t.Helper()
	out := slices.Repeat([]byteAt{hole}, int(to-from))
	put := func(off int64, b byteAt) {
		if off < from || off >= to || out[off-from] != hole {
			t.Fatalf("byte %d is read outside of %d to %d, or twice", off, from, to)
		}
		out[off-from] = b
	}
	err := l.Read(layer.Span{From: from, To: to}, func(off int64, e layer.Extent) error {
		for i := range int64(e.To - e.From) {
			put(off+i, byteAt{e.Record, int64(e.At) + i})
		}
		return nil
	}, func(s layer.Span) error {
		for off := s.From; off < min(s.To, m.base); off++ {
			put(off, byteAt{0, off})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// check fails where the layers do not say what the bytes say.
func (m *model) check(t *testing.T, r *rand.Rand) {
	t.Helper()
	size := int64(len(m.all))
	from := r.Int64N(size + 1)
	to := from + r.Int64N(size-from+1)
	for _, l := range []*layer.Layer{m.top, m.top.Flat()} {
		if got := m.read(t, l, from, to); !slices.Equal(got, m.all[from:to]) {
			t.Fatalf("bytes %d to %d are not what was written", from, to)
		}
	}
	changed := make([]bool, size)
	end := int64(0)
	for _, s := range m.top.Flat().Written(m.base, size) {
		if s.From < end || s.To <= s.From || s.To > size {
			t.Fatalf("%v comes behind %d, in a file of %d", s, end, size)
		}
		for end = s.From; end < s.To; end++ {
			changed[end] = true
		}
	}
	for off, b := range m.all {
		if !changed[off] && b != (byteAt{0, int64(off)}) {
			t.Fatalf("byte %d differs from the base's and is not said to", off)
		}
	}
}

func TestLayersSayWhatWasWrittenLast(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		const most = 2*layer.PageSize + 1000
		m := &model{base: r.Int64N(most)}
		m.top = layer.New(m.base, nil)
		for off := range m.base {
			m.all = append(m.all, byteAt{0, off})
		}
		for range 25 {
			switch size := int64(len(m.all)); r.IntN(8) {
			case 0:
				m.truncate(r.Int64N(most))
			case 1: // what was is frozen
				m.top = layer.New(size, m.top)
			case 2: // and taken back
				if m.top.Below != nil {
					m.top.Sink()
				}
			case 3, 4: // one behind the other
				m.write(size, 1+r.Int64N(5000))
			default:
				m.write(r.Int64N(most), 1+r.Int64N(5000))
			}
			m.check(t, r)
		}
	}
}

func TestTouchesTellsChangesOfALayerFromTheOneBelow(t *testing.T) {
	low := layer.New(1000, nil)
	low.Put(0, layer.Extent{From: 100, To: 200, Record: 1})
	tests := []struct {
		name     string
		change   func(*layer.Layer)
		from, to int64
		want     bool
	}{
		{"nothing was written", func(*layer.Layer) {}, 0, 1000, false},
		{"something was written in it", func(l *layer.Layer) { l.Put(0, layer.Extent{From: 150, To: 160, Record: 2}) }, 0, 1000, true},
		{"another page was written", func(l *layer.Layer) { l.Put(1, layer.Extent{From: 0, To: 10, Record: 2}) }, 0, 1000, false},
		{"it was cut there", func(l *layer.Layer) { l.Truncate(900) }, 0, 1000, true},
		{"it was cut behind it", func(l *layer.Layer) { l.Truncate(900) }, 0, 800, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := layer.New(1000, low)
			test.change(l)
			l.Sink()
			if got := l.Touches(test.from, test.to, low); got != test.want {
				t.Errorf("touches: %v, want %v", got, test.want)
			}
		})
	}
}
