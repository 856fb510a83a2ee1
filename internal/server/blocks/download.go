package blocks

import (
	"bufio"
	"context"
	"io"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
	"parsec/internal/server/blob"
	"parsec/internal/server/call"
	"parsec/internal/server/meta"
)

// maxGap is how many unwanted bytes between two blocks are read and dropped
// rather than asking the object store twice; a request costs about as much as
// that many bytes.
const maxGap = 64 << 10

// maxSpan bounds one read, so that a caller who was removed meanwhile gets no
// more than that.
const maxSpan = 8 << 20

// Download is a set of blocks that are all there, ready to be sent.
type Download struct {
	service *Service
	caller  call.Caller
	ws      id.Workspace
	spans   []span
}

// span is a part of a pack that is read at once.
type span struct {
	pack   id.Pack
	blocks []meta.Block
}

func (s span) begin() int64 { return int64(s.blocks[0].Offset) }

func (s span) end() int64 {
	last := s.blocks[len(s.blocks)-1]
	return int64(last.Offset) + int64(last.Length)
}

// Download finds blocks for a member. It fails with [fault.NotFound], before
// anything is sent, where one is not there.
func (s *Service) Download(ctx context.Context, c call.Caller, q pack.Request) (*Download, error) {
	var rows []meta.Block
	err := s.store.Read(ctx, func(tx meta.Tx) error {
		ws, err := s.keep.Member(tx, c, q.Workspace, record.RoleReader)
		if err != nil {
			return err
		}
		rows, err = tx.Blocks().Locate(ws.Row.Key, q.Blocks)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := missing(q.Blocks, rows); err != nil {
		return nil, err
	}
	return &Download{service: s, caller: c, ws: q.Workspace, spans: spans(rows)}, nil
}

// spans groups blocks into few reads.
func spans(rows []meta.Block) []span {
	slices.SortFunc(rows, byPlace)
	var all []span
	for _, b := range rows {
		if n := len(all); n > 0 && joins(all[n-1], b) {
			all[n-1].blocks = append(all[n-1].blocks, b)
			continue
		}
		all = append(all, span{pack: b.Pack, blocks: []meta.Block{b}})
	}
	return all
}

// joins reports whether a block is read together with those before it.
func joins(s span, b meta.Block) bool {
	return s.pack == b.Pack && int64(b.Offset) >= s.end() && int64(b.Offset)-s.end() <= maxGap &&
		int64(b.Offset)+int64(b.Length)-s.begin() <= maxSpan
}

// Send writes the blocks as frames, in whichever order they lie, and the end
// of the stream. It reads as fast as w takes, and keeps nothing in memory.
func (d *Download) Send(ctx context.Context, w io.Writer) error {
	// Small blocks are read many at a time; large ones go past this buffer.
	in := bufio.NewReaderSize(nil, 64<<10)
	for i, part := range d.spans {
		if i > 0 {
			if err := d.recheck(ctx); err != nil {
				return err
			}
		}
		if err := d.send(ctx, w, in, part); err != nil {
			return fault.Errorf(fault.KindOf(err), "send blocks of pack %s: %w", part.pack, err)
		}
	}
	return pack.WriteEnd(w)
}

// recheck fails once the caller is no member any more.
func (d *Download) recheck(ctx context.Context) error {
	return d.service.store.Read(ctx, func(tx meta.Tx) error {
		_, err := d.service.keep.Member(tx, d.caller, d.ws, record.RoleReader)
		return err
	})
}

func (d *Download) send(ctx context.Context, w io.Writer, in *bufio.Reader, part span) error {
	key := blob.Key{Scope: blob.Scope{Organization: d.caller.Organization, Workspace: d.ws}, Pack: part.pack}
	r, err := d.service.blobs.Get(ctx, key, part.begin(), part.end()-part.begin())
	if err != nil {
		return err
	}
	defer r.Close()
	in.Reset(r)
	at := part.begin()
	for _, b := range part.blocks {
		if _, err := io.CopyN(io.Discard, in, int64(b.Offset)-at); err != nil {
			return err
		}
		if err := pack.WriteFrame(w, b.ID, b.Length); err != nil {
			return err
		}
		if _, err := io.CopyN(w, in, int64(b.Length)); err != nil {
			return err
		}
		at = int64(b.Offset) + int64(b.Length)
	}
	return nil
}
