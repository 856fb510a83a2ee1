// Package blocks is the service of block transfer: sealed pieces of content
// go up as one pack for each upload, and come down from wherever they lie.
// It neither knows nor cares what is in them.
//
// Each block is hashed once, while it arrives, against the digest that the
// uploader's token vouches for. An upload is acknowledged when its object and
// its rows are durable, in this order, so that a row always points at an
// object that is there. Blocks are never overwritten: an id that comes again
// with the same content is answered and not stored again, with another content
// refused.
package blocks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
	"parsec/internal/server/access"
	"parsec/internal/server/blob"
	"parsec/internal/server/call"
	"parsec/internal/server/limit"
	"parsec/internal/server/meta"
)

// Config bounds what transfers take. A zero field means the default beside it.
type Config struct {
	// Memory is for the uploads under way, of all callers together; default
	// 64 MiB: four uploads of the largest size at once.
	Memory int64
	// Waiters is how many uploads may wait for memory; default 1,000.
	Waiters int
}

// Service serves blocks. It is safe for concurrent use.
type Service struct {
	store  meta.Store
	blobs  blob.Store
	keep   *access.Keeper
	now    func() time.Time
	memory *limit.Memory
	spare  *buffers
}

// New returns the service over a metadata store and an object store.
func New(store meta.Store, blobs blob.Store, keep *access.Keeper, now func() time.Time, c Config) *Service {
	if c.Memory == 0 {
		c.Memory = 64 << 20
	}
	if c.Waiters == 0 {
		c.Waiters = 1000
	}
	return &Service{
		store: store, blobs: blobs, keep: keep, now: now,
		memory: limit.NewMemory(c.Memory, c.Waiters), spare: newBuffers(c.Memory),
	}
}

// Upload reads the blocks that the header announces and stores them. It
// returns once they are durable.
func (s *Service) Upload(ctx context.Context, c call.Caller, h pack.Header, body io.Reader) error {
	key, here, err := s.announce(ctx, c, h)
	if err != nil {
		return err
	}
	buffer, release, err := s.buffer(ctx, h.Size())
	if err != nil {
		return err
	}
	defer release()
	if err := receive(body, buffer, h.Blocks); err != nil {
		return err
	}
	if here {
		return nil
	}
	return s.keepPack(ctx, c, h, key, buffer)
}

// announce checks, before anything is read, that the caller may write and that
// no announced id is taken. here says that all blocks are stored already.
func (s *Service) announce(ctx context.Context, c call.Caller, h pack.Header) (key meta.WorkspaceKey, here bool, err error) {
	ids := make([]id.Block, len(h.Blocks))
	for i, b := range h.Blocks {
		ids[i] = b.ID
	}
	var rows []meta.Block
	err = s.store.Read(ctx, func(tx meta.Tx) error {
		ws, err := s.writer(tx, c, h)
		if err != nil {
			return err
		}
		key = ws.Row.Key
		rows, err = tx.Blocks().Locate(key, ids)
		return err
	})
	if err != nil {
		return key, false, err
	}
	here = true
	for i, row := range rows {
		if row.Pack.IsZero() {
			here = false
		} else if err := same(h.Blocks[i], row); err != nil {
			return key, false, err
		}
	}
	return key, here, nil
}

// writer returns the workspace if the caller may add content to it.
func (s *Service) writer(tx meta.Tx, c call.Caller, h pack.Header) (access.Workspace, error) {
	ws, err := s.keep.Member(tx, c, h.Workspace, record.RoleContributor)
	if err != nil {
		return ws, err
	}
	if ws.State.Archived() {
		return ws, fault.WithHint(fault.Errorf(fault.Denied, "workspace %s is archived", h.Workspace), "an owner can take it back into use")
	}
	if most := ws.Organization.Row.Limits.Storage; most > 0 {
		stats, err := tx.Organizations().Stats(c.Key)
		if err != nil {
			return ws, err
		}
		if used := stats.BlockBytes + stats.ManifestBytes; used+uint64(h.Size()) > most {
			return ws, fault.WithHint(fault.Errorf(fault.Full, "the organization uses %d of the %d bytes that it may", used, most),
				"ask the operator of the server for more")
		}
	}
	return ws, nil
}

// same fails where a stored block is not the announced one.
func same(b pack.Block, row meta.Block) error {
	if row.Length != b.Length || row.Digest != b.Digest {
		return fault.Errorf(fault.Conflict, "block %s is stored with another content", b.ID)
	}
	return nil
}

// receive reads the blocks into the buffer, which has exactly their size, and
// checks each as soon as it is there.
func receive(body io.Reader, buffer []byte, announced []pack.Block) error {
	const step = 256 << 10
	filled, checked := 0, 0
	for filled < len(buffer) {
		n, err := io.ReadAtLeast(body, buffer[filled:min(len(buffer), filled+step)], 1)
		if err != nil {
			return fault.Errorf(fault.Invalid, "read blocks: the upload ends %d bytes early: %w", len(buffer)-filled, err)
		}
		filled += n
		for len(announced) > 0 && checked+int(announced[0].Length) <= filled {
			end := checked + int(announced[0].Length)
			if sha256.Sum256(buffer[checked:end]) != announced[0].Digest {
				return fault.Errorf(fault.Invalid, "block %s is not what the upload's header announces", announced[0].ID)
			}
			checked, announced = end, announced[1:]
		}
	}
	var more [1]byte
	if n, err := io.ReadFull(body, more[:]); n > 0 || err != io.EOF {
		return fault.Errorf(fault.Invalid, "read blocks: the upload is longer than its header announces")
	}
	return nil
}

// keepPack stores an upload: the object first, then the rows that point at it.
func (s *Service) keepPack(ctx context.Context, c call.Caller, h pack.Header, key meta.WorkspaceKey, content []byte) error {
	name := id.New[id.Pack]()
	object := blob.Key{Scope: blob.Scope{Organization: c.Organization, Workspace: h.Workspace}, Pack: name}
	if err := s.blobs.Put(ctx, object, [][]byte{content}); err != nil {
		return fault.Errorf(fault.KindOf(err), "store blocks: %w", err)
	}
	rows, announced := make([]meta.Block, len(h.Blocks)), make(map[id.Block]pack.Block, len(h.Blocks))
	offset := uint32(0)
	for i, b := range h.Blocks {
		rows[i] = meta.Block{ID: b.ID, Offset: offset, Length: b.Length, Digest: b.Digest}
		announced[b.ID] = b
		offset += b.Length
	}
	added := meta.Pack{ID: name, Size: int64(len(content)), Added: s.now().UnixNano()}
	var refused error
	err := s.store.Write(ctx, func(tx meta.Tx) error {
		refused = s.addPack(tx, c, h, key, added, rows, announced)
		return refused
	})
	if err != nil && err == refused { // no row was written; after another error it is not known
		s.discard(ctx, object)
	}
	return err
}

// addPack writes the rows of an upload. The organization's row is locked, so
// that whoever was suspended or removed meanwhile adds nothing.
func (s *Service) addPack(tx meta.Tx, c call.Caller, h pack.Header, key meta.WorkspaceKey, p meta.Pack, rows []meta.Block, announced map[id.Block]pack.Block) error {
	if err := s.lock(tx, c, h.Size()); err != nil {
		return err
	}
	if _, err := s.writer(tx, c, h); err != nil {
		return err
	}
	taken, err := tx.Blocks().Add(key, p, rows)
	if err != nil {
		return err
	}
	for _, row := range taken {
		if err := same(announced[row.ID], row); err != nil {
			return err
		}
	}
	return nil
}

// nearLimit is how far below the limit of storage uploads begin to wait for
// each other: farther than what a few servers can have under way at once.
const nearLimit = 1 << 30

// lock locks the caller's organization: shared, so that uploads run side by
// side, and near the limit of storage exclusively, so that together they do
// not pass it.
func (s *Service) lock(tx meta.Tx, c call.Caller, more int64) error {
	o, err := s.keep.Caller(tx, c)
	if err != nil {
		return err
	}
	how := meta.Shared
	if most := o.Row.Limits.Storage; most > 0 {
		stats, err := tx.Organizations().Stats(c.Key)
		if err != nil {
			return err
		}
		if stats.BlockBytes+stats.ManifestBytes+uint64(more)+nearLimit > most {
			how = meta.Exclusive
		}
	}
	_, err = s.keep.LockCaller(tx, c, how)
	return err
}

// discard removes the object of an upload that was refused after it was
// stored, also where its sender has left. Where that fails, an object without
// rows stays, as after a crash; the caller is told of the refusal alone.
func (s *Service) discard(ctx context.Context, object blob.Key) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	_ = s.blobs.Delete(ctx, object)
}

// buffer returns memory for an upload out of the common budget.
func (s *Service) buffer(ctx context.Context, size int64) ([]byte, func(), error) {
	release, err := s.memory.Take(ctx, size)
	if err != nil {
		return nil, nil, err
	}
	b := s.spare.get(size)
	return b, func() { s.spare.put(b); release() }, nil
}

// buffers keeps the memory of large uploads for the next ones: at the rate of
// an import, the collector would otherwise let twice as much pile up.
type buffers struct{ spare chan []byte }

// large is the size from which a buffer is worth keeping.
const large = 1 << 20

func newBuffers(memory int64) *buffers {
	return &buffers{spare: make(chan []byte, max(1, memory/pack.MaxSize))}
}

func (b *buffers) get(size int64) []byte {
	if size < large {
		return make([]byte, size)
	}
	select {
	case buffer := <-b.spare:
		return buffer[:size]
	default:
		return make([]byte, size, pack.MaxSize)
	}
}

func (b *buffers) put(buffer []byte) {
	if cap(buffer) < pack.MaxSize {
		return
	}
	select {
	case b.spare <- buffer[:cap(buffer)]:
	default:
	}
}

// missing fails with the first block that is not stored.
func missing(ids []id.Block, rows []meta.Block) error {
	for i, row := range rows {
		if row.Pack.IsZero() {
			return fault.Errorf(fault.NotFound, "block %s is not on the server", ids[i])
		}
	}
	return nil
}

// byPlace orders blocks as they lie in the object store.
func byPlace(a, b meta.Block) int {
	if c := bytes.Compare(a.Pack[:], b.Pack[:]); c != 0 {
		return c
	}
	return int(int64(a.Offset) - int64(b.Offset))
}
