// Package transfer moves the content of many files at once between memory
// and the server: blocks are sealed straight into packs that go up in a few
// parallel requests, and come down in few requests that each ask for many. It
// knows blocks and their order, not files, names or commits.
//
// Memory is bounded by [Config], whatever the number and size of the files.
// Round trips grow with bytes.
package transfer

import (
	"context"

	"golang.org/x/sync/errgroup"

	"parsec/internal/base/id"
	"parsec/internal/client/seal"
	"parsec/internal/format/manifest"
	"parsec/internal/format/pack"
)

// Config bounds a transfer. The zero value means the defaults.
type Config struct {
	// Pack is the most bytes of sealed blocks in one request; 8 MiB by default.
	Pack int
	// Parallel is the number of requests under way at once; 3 by default. A
	// transfer takes up to one pack of memory more than that.
	Parallel int
}

func (c Config) withDefaults() Config {
	if c.Pack == 0 {
		c.Pack = 8 << 20
	}
	if c.Parallel == 0 {
		c.Parallel = 3
	}
	c.Pack = min(c.Pack, pack.MaxSize)
	return c
}

// Sender stores one pack durably before it returns.
type Sender interface {
	Upload(ctx context.Context, w id.Workspace, blocks []pack.Block, bodies [][]byte) error
}

// Receiver gets blocks, in any order. The bytes that it hands to take are
// valid until take returns, and take may change them.
type Receiver interface {
	Download(ctx context.Context, w id.Workspace, blocks []id.Block, take func(b id.Block, sealed []byte) error) error
}

// Outgoing seals blocks into packs. It belongs to one goroutine, the producer
// of an [Upload].
type Outgoing[T any] struct {
	ctx     context.Context
	cfg     Config
	place   seal.Place
	send    func(*load[T]) error
	filling *load[T]
	// idle holds buffers that can be used again; made counts all there are.
	idle chan []byte
	made int
}

// load is one pack, with what is complete once it is stored.
type load[T any] struct {
	buffer   []byte
	blocks   []pack.Block
	complete []T
	stored   chan struct{}
}

// Upload runs produce, which seals blocks and says what they complete, stores
// the packs in parallel, and calls consume with what is complete and stored,
// in the order of production. It returns the first error of any of the three,
// after all have ended.
func Upload[T any](ctx context.Context, cfg Config, place seal.Place, to Sender,
	produce func(context.Context, *Outgoing[T]) error, consume func(context.Context, []T) error,
) error {
	cfg = cfg.withDefaults()
	group, ctx := errgroup.WithContext(ctx)
	senders, sending := errgroup.WithContext(ctx)
	senders.SetLimit(cfg.Parallel)
	// As many packs may wait for their turn as are under way.
	order := make(chan *load[T], cfg.Parallel)
	out := &Outgoing[T]{ctx: ctx, cfg: cfg, place: place, idle: make(chan []byte, cfg.Parallel+1)}
	out.send = func(l *load[T]) error {
		select {
		case order <- l:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		senders.Go(func() error { return out.store(sending, to, l) })
		return nil
	}
	group.Go(func() error {
		defer close(order)
		if err := produce(ctx, out); err != nil {
			return err
		}
		return out.flush()
	})
	group.Go(func() error { return consumeInOrder(sending, order, consume) })
	err := group.Wait() // what broke a sender reaches the consumer, and so this
	if failed := senders.Wait(); err == nil {
		err = failed
	}
	return err
}

func (o *Outgoing[T]) store(ctx context.Context, to Sender, l *load[T]) error {
	if len(l.blocks) > 0 {
		if err := to.Upload(ctx, o.place.Workspace, l.blocks, [][]byte{l.buffer}); err != nil {
			return err
		}
	}
	close(l.stored)
	if l.buffer != nil {
		o.idle <- l.buffer[:0] // has room for every buffer there is
	}
	return nil
}

func consumeInOrder[T any](ctx context.Context, order <-chan *load[T], consume func(context.Context, []T) error) error {
	for l := range order {
		select {
		case <-l.stored:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if len(l.complete) == 0 {
			continue
		}
		if err := consume(ctx, l.complete); err != nil {
			return err
		}
	}
	return nil
}

// Room returns a buffer of n bytes, at most [manifest.MaxBlockSize], into which
// the content of the next block is best read: Seal then copies nothing. It is
// valid until the next call of Room.
func (o *Outgoing[T]) Room(n int) ([]byte, error) {
	need := seal.SealedBlockSize(n)
	if l := o.filling; l != nil && (len(l.buffer)+need > o.cfg.Pack || len(l.blocks) == pack.MaxBlocks) {
		if err := o.flush(); err != nil {
			return nil, err
		}
	}
	l, err := o.load()
	if err != nil {
		return nil, err
	}
	if l.buffer == nil {
		if l.buffer, err = o.buffer(); err != nil {
			return nil, err
		}
	}
	end := len(l.buffer)
	if cap(l.buffer) < end+need {
		l.buffer = o.grown(l.buffer, end+need)
	}
	return l.buffer[end : end+n : end+need], nil
}

// load returns the load that is being filled.
func (o *Outgoing[T]) load() (*load[T], error) {
	if err := o.ctx.Err(); err != nil {
		return nil, context.Cause(o.ctx)
	}
	if o.filling == nil {
		o.filling = &load[T]{stored: make(chan struct{})}
	}
	return o.filling, nil
}

// little is what a buffer begins with: most uploads are of a few small files.
const little = 64 << 10

// grown returns a buffer with room for n bytes, and twice what it had: a pack
// that fills copies little, and one that stays small costs little.
func (o *Outgoing[T]) grown(b []byte, n int) []byte {
	most := max(o.cfg.Pack, seal.SealedBlockSize(manifest.MaxBlockSize))
	out := make([]byte, len(b), min(max(2*cap(b), n, little), most))
	copy(out, b)
	return out
}

// buffer returns a used buffer if there is one, and a new one as long as few exist.
func (o *Outgoing[T]) buffer() ([]byte, error) {
	select {
	case b := <-o.idle:
		return b, nil
	default:
	}
	if o.made < cap(o.idle) {
		o.made++
		return []byte{}, nil
	}
	select {
	case b := <-o.idle:
		return b, nil
	case <-o.ctx.Done():
		return nil, context.Cause(o.ctx)
	}
}

// Seal seals the next block. content is what Room returned, or its beginning.
func (o *Outgoing[T]) Seal(content []byte) manifest.Ref {
	l := o.filling
	start := len(l.buffer)
	var ref manifest.Ref
	ref, l.buffer = o.place.SealBlock(l.buffer, content)
	l.blocks = append(l.blocks, pack.Block{ID: ref.ID, Length: uint32(len(l.buffer) - start), Digest: ref.Digest})
	return ref
}

// SealCopy seals content that stands elsewhere, of at most
// [manifest.MaxBlockSize] bytes, as the next block.
func (o *Outgoing[T]) SealCopy(content []byte) (manifest.Ref, error) {
	room, err := o.Room(len(content))
	if err != nil {
		return manifest.Ref{}, err
	}
	return o.Seal(room[:copy(room, content)]), nil
}

// mostComplete bounds what one load completes where there is little content:
// the items wait in memory, and soon take more of it than the content.
const mostComplete = 4000

// Complete says that all blocks of item are sealed. It is consumed once they
// are stored.
func (o *Outgoing[T]) Complete(item T) error {
	l, err := o.load()
	if err != nil {
		return err
	}
	l.complete = append(l.complete, item)
	if len(l.complete) >= mostComplete {
		return o.flush()
	}
	return nil
}

func (o *Outgoing[T]) flush() error {
	l := o.filling
	if l == nil {
		return nil
	}
	o.filling = nil
	return o.send(l)
}
