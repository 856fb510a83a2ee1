package content

import (
	"context"
	"time"

	"parsec/internal/client/list"
	"parsec/internal/format/manifest"
)

const (
	// ahead is how far beyond who reads on is fetched, and aheadFirst beyond who
	// begins to read: many programs look at the beginning of a file only.
	ahead, aheadFirst = 16 << 20, 2 << 20
	// near is how far from the end of the last read one reads on: the kernel asks
	// for several parts at once, and some come early.
	near = 1 << 20
	// mostComing is how many bytes are fetched ahead at once, for all who read.
	mostComing = 24 << 20
	// patience is how long is waited for what is ahead.
	patience = time.Minute
)

// readAhead fetches what follows a range, in the background, where somebody
// begins to read or reads on. What fails is for who gets there to find out.
func (r *Reader) readAhead(o *outline, body manifest.FileBody, from, to uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	far := uint64(0)
	switch {
	case from == 0:
		far = aheadFirst
	case from <= o.end+near && o.end <= from+near:
		far = ahead
	}
	o.end = to
	if far == 0 || r.closed || r.coming >= mostComing {
		return
	}
	if o.to() < body.Size && o.to() < to+ahead && !o.asked {
		o.asked = true
		r.inBackground(0, func(ctx context.Context) { r.goOn(ctx, o, body) })
	}
	mine, size := r.lacking(o.between(to, to+far))
	if len(mine) == 0 {
		return
	}
	r.inBackground(size, func(ctx context.Context) {
		r.load(ctx, mine)
		for _, b := range mine {
			r.giveBack(b)
		}
	})
}

// lacking takes what is ahead and not under way, nothing if the nearer half of it
// is: it is early enough then to ask for more at once later. mu is held.
func (r *Reader) lacking(ahead []list.Piece) (mine []*block, size int) {
	first := 0
	for first < len(ahead) && (ahead[first].Ref.Hole() || r.blocks[ahead[first].Ref.ID] != nil) {
		first++
	}
	if first > len(ahead)/2 {
		return nil, 0
	}
	for _, at := range ahead[first:] {
		if at.Ref.Hole() || r.blocks[at.Ref.ID] != nil {
			continue
		}
		b, _ := r.taken(at.Ref)
		mine, size = append(mine, b), size+int(at.Ref.Size)
	}
	return mine, size
}

// inBackground does something until the reader is closed, which is about to fetch
// so many bytes; mu is held.
func (r *Reader) inBackground(size int, do func(context.Context)) {
	r.coming += size
	r.background.Go(func() {
		ctx, cancel := context.WithTimeout(r.life, patience)
		defer cancel()
		do(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.coming -= size
	})
}
