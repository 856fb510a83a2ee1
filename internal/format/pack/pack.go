// Package pack holds the framing of block transfer: the header that announces
// the blocks of one upload, and the stream that answers a download. Blocks
// follow as sealed bytes, back to back, so nothing is copied into messages.
package pack

import (
	"encoding/binary"
	"io"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
)

// The two requests of block transfer, both POST. An upload is answered with
// status 200, this media type and no body, once its blocks are durable; a
// download with status 200, this media type and frames. A refusal is a JSON
// object of kind, error and hint, with the status of its kind.
const (
	UploadPath   = "/blocks/upload"
	DownloadPath = "/blocks/download"
	MediaType    = "application/vnd.parsec.blocks"
)

// Bounds of one transfer.
const (
	// MaxSize is the most bytes of sealed blocks in one upload.
	MaxSize = 16 << 20
	// MaxBlocks is the largest number of blocks in one upload or download.
	MaxBlocks = 16 << 10
	// MaxBlock is the longest sealed block: 4 MiB, padded, with its tag.
	MaxBlock = 4<<20 + 16
	// MaxHeader is the longest header of an upload, without its length.
	MaxHeader = MaxBlocks*56 + 64
)

// Block announces one sealed block of an upload.
type Block struct {
	_  struct{} `cbor:",toarray"`
	ID id.Block
	// Length is that of the sealed block, in bytes.
	Length uint32
	// Digest is the SHA-256 of the sealed block.
	Digest [32]byte
}

// Header announces an upload: which blocks follow, and of which workspace.
type Header struct {
	_         struct{} `cbor:",toarray"`
	Workspace id.Workspace
	Blocks    []Block
}

// Size returns the number of bytes that follow the header.
func (h Header) Size() int64 {
	var n int64
	for _, b := range h.Blocks {
		n += int64(b.Length)
	}
	return n
}

func (h Header) check() error {
	if n := len(h.Blocks); n == 0 || n > MaxBlocks {
		return fault.Errorf(fault.Invalid, "an upload of %d blocks, at most %d are allowed", n, MaxBlocks)
	}
	named := make(map[id.Block]bool, len(h.Blocks))
	for _, b := range h.Blocks {
		if b.ID.IsZero() || named[b.ID] {
			return fault.Errorf(fault.Invalid, "an upload names a block twice, or none")
		}
		named[b.ID] = true
		if b.Length == 0 || b.Length > MaxBlock {
			return fault.Errorf(fault.Invalid, "an upload with a block of %d bytes", b.Length)
		}
	}
	if n := h.Size(); n > MaxSize {
		return fault.Errorf(fault.TooLarge, "an upload of %d bytes, at most %d are allowed", n, MaxSize)
	}
	return nil
}

// Encode returns the header's bytes: what a request token covers.
func (h Header) Encode() []byte { return canon.Marshal(h) }

// Decode returns the header with these bytes.
func Decode(data []byte) (Header, error) {
	var h Header
	err := canon.Unmarshal(data, &h)
	if err == nil {
		err = h.check()
	}
	if err != nil {
		return Header{}, fault.Errorf(fault.KindOf(err), "decode upload's header: %w", err)
	}
	return h, nil
}

// WriteHeader writes the encoded header behind its length in four bytes.
func WriteHeader(w io.Writer, encoded []byte) error {
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(encoded)))); err != nil {
		return err
	}
	_, err := w.Write(encoded)
	return err
}

// ReadHeader reads what [WriteHeader] wrote, without decoding it.
func ReadHeader(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fault.Errorf(fault.Invalid, "read header: %w", err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > MaxHeader {
		return nil, fault.Errorf(fault.TooLarge, "read header: %d bytes, at most %d are allowed", n, MaxHeader)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fault.Errorf(fault.Invalid, "read header: %w", err)
	}
	return data, nil
}

// A download's answer is a sequence of frames: block id, length in four
// bytes, sealed block. They come in whichever order the server finds cheap;
// the stream ends with a frame of the zero id and length 0, so that a cut is
// told from the end.
const frameSize = id.Size + 4

// WriteFrame writes the start of one frame; length sealed bytes follow it.
func WriteFrame(w io.Writer, b id.Block, length uint32) error {
	frame := append(make([]byte, 0, frameSize), b[:]...)
	_, err := w.Write(binary.BigEndian.AppendUint32(frame, length))
	return err
}

// WriteEnd writes the frame that ends a download.
func WriteEnd(w io.Writer) error { return WriteFrame(w, id.Block{}, 0) }

// ReadFrame reads one frame's start, checks its length, and reads the block
// into memory from alloc. The id is zero at the end of the stream.
func ReadFrame(r io.Reader, alloc func(n int) []byte) (id.Block, []byte, error) {
	var start [frameSize]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return id.Block{}, nil, fault.Errorf(fault.Unreachable, "read block: the stream was cut: %w", err)
	}
	b := id.Block(start[:id.Size])
	n := binary.BigEndian.Uint32(start[id.Size:])
	if b.IsZero() && n == 0 {
		return b, nil, nil
	}
	if b.IsZero() || n == 0 || n > MaxBlock {
		return b, nil, fault.Errorf(fault.Invalid, "read block: a frame of %d bytes", n)
	}
	data := alloc(int(n))[:n]
	if _, err := io.ReadFull(r, data); err != nil {
		return b, nil, fault.Errorf(fault.Unreachable, "read block: the stream was cut: %w", err)
	}
	return b, data, nil
}

// Request asks for blocks of one workspace.
type Request struct {
	_         struct{} `cbor:",toarray"`
	Workspace id.Workspace
	Blocks    []id.Block
}

// Encode returns the request's bytes.
func (q Request) Encode() []byte { return canon.Marshal(q) }

// DecodeRequest returns the request with these bytes.
func DecodeRequest(data []byte) (Request, error) {
	var q Request
	err := canon.Unmarshal(data, &q)
	if err == nil {
		err = q.check()
	}
	if err != nil {
		return Request{}, fault.Errorf(fault.KindOf(err), "decode request for blocks: %w", err)
	}
	return q, nil
}

func (q Request) check() error {
	if n := len(q.Blocks); n == 0 || n > MaxBlocks {
		return fault.Errorf(fault.Invalid, "a request of %d blocks, at most %d are allowed", n, MaxBlocks)
	}
	named := make(map[id.Block]bool, len(q.Blocks))
	for _, b := range q.Blocks {
		if b.IsZero() || named[b] {
			return fault.Errorf(fault.Invalid, "a request names a block twice, or none")
		}
		named[b] = true
	}
	return nil
}
