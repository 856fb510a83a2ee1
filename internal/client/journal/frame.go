package journal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/format/label"
)

// A segment begins with a header in clear, and goes on with frames, each at a
// multiple of align. A frame is a sealed head, a sealed body, a sealed payload
// (the latter two only if they are not empty), and zeros.
const (
	magic      = "parsec journal 1"
	saltSize   = 32
	align      = 16
	tagSize    = 16
	headerSize = len(magic) + 8 + 8 + saltSize + tagSize
	headPlain  = 24
	headSize   = headPlain + tagSize
)

// What a frame is.
const (
	// kindRecord is a record.
	kindRecord = 1
	// kindSynced says up to where everything was on the disk when it was
	// written: its number is a segment's, and its body length an offset in units of align.
	kindSynced = 2
	// kindEnd ends a segment. One without is torn.
	kindEnd = 3
)

// The parts of a frame, each with a nonce of its own. An end has one of its
// own too, because it may stand where a torn frame stood.
const (
	partHead    = 0
	partBody    = 1
	partPayload = 2
	partEnd     = 3
	partHeader  = 4
)

// errFrame is what stands where a frame should be and is none.
var errFrame = errors.New("not what this device wrote there")

// head is what a frame's head says.
type head struct {
	kind          uint8
	number        uint64
	body, payload uint32
}

func (h head) encode() (b [headPlain]byte) {
	binary.BigEndian.PutUint64(b[:], h.number)
	binary.BigEndian.PutUint32(b[8:], h.body)
	binary.BigEndian.PutUint32(b[12:], h.payload)
	b[16] = h.kind
	return b
}

func decodeHead(b []byte) (h head, ok bool) {
	h = head{b[16], binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])}
	return h, h.kind >= kindRecord && h.kind <= kindEnd && (h.kind != kindRecord || h.body <= MaxBody && h.payload <= MaxPayload)
}

// sealedSize is the length of a sealed part.
func sealedSize(n uint32) int64 {
	if n == 0 {
		return 0
	}
	return int64(n) + tagSize
}

// size is the frame's length on the disk.
func (h head) size() int64 {
	n := int64(headSize)
	if h.kind == kindRecord {
		n += sealedSize(h.body) + sealedSize(h.payload)
	}
	return (n + align - 1) / align * align
}

// header is what stands in clear at the beginning of a segment, before a proof
// that it is what the device wrote.
type header struct {
	number uint64
	// next is the number of the first record that was new in the segment.
	next uint64
	salt [saltSize]byte
}

func newHeader(number, next uint64) header {
	h := header{number: number, next: next}
	rand.Read(h.salt[:])
	return h
}

func (h header) encode() []byte {
	b := append(make([]byte, 0, headerSize), magic...)
	b = binary.BigEndian.AppendUint64(b, h.number)
	b = binary.BigEndian.AppendUint64(b, h.next)
	return append(b, h.salt[:]...)
}

func decodeHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize || string(b[:len(magic)]) != magic {
		return h, false
	}
	b = b[len(magic):]
	h.number, h.next = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	copy(h.salt[:], b[16:])
	return h, h.number > 0 && h.next > 0
}

// sealer seals and opens the frames of one segment. The key is bound to the
// device, the workspace and all of the header, and the nonce to the place.
type sealer struct{ aead cipher.AEAD }

func newSealer(key secret.Key, device id.Device, workspace id.Workspace, h header) (sealer, error) {
	info := label.LocalJournal.Join(device[:], workspace[:], label.Uint(h.number), label.Uint(h.next))
	sub, err := hkdf.Key(sha256.New, key[:], h.salt[:], string(info), 32)
	if err != nil {
		return sealer{}, fmt.Errorf("derive journal key: %w", err)
	}
	block, err := aes.NewCipher(sub)
	if err != nil {
		return sealer{}, fmt.Errorf("derive journal key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return sealer{}, fmt.Errorf("derive journal key: %w", err)
	}
	return sealer{aead}, nil
}

func nonce(part uint32, at int64) []byte {
	var n [12]byte
	binary.BigEndian.PutUint32(n[:], part)
	binary.BigEndian.PutUint64(n[4:], uint64(at))
	return n[:]
}

// proof is what follows a header.
func (s sealer) proof() []byte { return s.aead.Seal(nil, nonce(partHeader, 0), nil, nil) }

// appendFrame seals a frame that stands at an offset of the segment.
func (s sealer) appendFrame(dst []byte, at int64, h head, body, payload []byte) []byte {
	start := len(dst)
	part, plain := uint32(partHead), h.encode()
	if h.kind == kindEnd {
		part = partEnd
	}
	dst = s.aead.Seal(dst, nonce(part, at), plain[:], nil)
	if len(body) > 0 {
		dst = s.aead.Seal(dst, nonce(partBody, at), body, nil)
	}
	if len(payload) > 0 {
		dst = s.aead.Seal(dst, nonce(partPayload, at), payload, nil)
	}
	var zeros [align]byte
	return append(dst, zeros[:int(h.size())-(len(dst)-start)]...)
}

// openHead opens the head of the frame at an offset.
func (s sealer) openHead(at int64, sealed []byte) (head, error) {
	for _, part := range []uint32{partHead, partEnd} {
		var plain [headPlain]byte
		if _, err := s.aead.Open(plain[:0], nonce(part, at), sealed, nil); err != nil {
			continue
		}
		if h, ok := decodeHead(plain[:]); ok && (h.kind == kindEnd) == (part == partEnd) {
			return h, nil
		}
	}
	return head{}, errFrame
}

// open opens the body or the payload of the frame at an offset, in place.
func (s sealer) open(part uint32, at int64, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	plain, err := s.aead.Open(sealed[:0], nonce(part, at), sealed, nil)
	if err != nil {
		return nil, errFrame
	}
	return plain, nil
}
