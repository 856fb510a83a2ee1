package pack_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/golden"
	"parsec/internal/format/pack"
)

func block(n uint32, length uint32) pack.Block {
	b := pack.Block{Length: length, Digest: [32]byte(golden.Fill(32, 7))}
	binary.BigEndian.PutUint32(b.ID[:], n)
	return b
}

func header(blocks ...pack.Block) pack.Header {
	return pack.Header{Workspace: id.Workspace(golden.Fill(16, 1)), Blocks: blocks}
}

func written(t testing.TB, write func(w io.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func upload(t testing.TB) []byte {
	return written(t, func(w io.Writer) error {
		return pack.WriteHeader(w, header(block(1, 272), block(2, 512<<10+16)).Encode())
	})
}

func download(t testing.TB) []byte {
	return written(t, func(w io.Writer) error {
		b := block(1, 3)
		return errors.Join(pack.WriteFrame(w, b.ID, b.Length), second(w.Write([]byte("abc"))), pack.WriteEnd(w))
	})
}

func second(_ int, err error) error { return err }

func request(n int) pack.Request {
	q := pack.Request{Workspace: id.Workspace(golden.Fill(16, 1))}
	for i := range n {
		q.Blocks = append(q.Blocks, block(uint32(i+1), 0).ID)
	}
	return q
}

func TestTransfersKeepTheirBytes(t *testing.T) {
	golden.Compare(t, []golden.Vector{
		{Name: "the start of an upload", Bytes: upload(t)},
		{Name: "a download of one block of three bytes", Bytes: download(t)},
		{Name: "a request for two blocks", Bytes: request(2).Encode()},
	})
}

func TestTheHeaderOfAnUploadIsReadBack(t *testing.T) {
	r := bytes.NewReader(append(upload(t), "blocks"...))
	data, err := pack.ReadHeader(r)
	if err != nil {
		t.Fatal(err)
	}
	h, err := pack.Decode(data)
	if err != nil || h.Size() != 272+512<<10+16 || len(h.Blocks) != 2 || h.Workspace != header().Workspace {
		t.Errorf("got %v, %v", h, err)
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "blocks" {
		t.Errorf("left %q, %v; want the blocks", rest, err)
	}
}

func TestTheLargestHeaderIsWithinItsLimit(t *testing.T) {
	blocks := make([]pack.Block, pack.MaxBlocks)
	for i := range blocks {
		blocks[i] = block(uint32(i+1), 1024)
	}
	// As many long blocks as fit beside the short ones, since their lengths take more bytes.
	for i := range 11 {
		blocks[i].Length = 1<<16 + 1
	}
	for i := range 5000 {
		blocks[len(blocks)-1-i].Length = 272
	}
	data := header(blocks...).Encode()
	if _, err := pack.Decode(data); err != nil {
		t.Fatal(err)
	}
	if len(data) > pack.MaxHeader {
		t.Errorf("%d bytes, the limit is %d", len(data), pack.MaxHeader)
	}
}

func TestDecodingAHeaderRefuses(t *testing.T) {
	good := header(block(1, 272)).Encode()
	for _, c := range []struct {
		name string
		data []byte
		want fault.Kind
	}{
		{"nothing", nil, fault.Invalid},
		{"no block", header().Encode(), fault.Invalid},
		{"too many blocks", header(make([]pack.Block, pack.MaxBlocks+1)...).Encode(), fault.Invalid},
		{"a block twice", header(block(1, 272), block(2, 272), block(1, 288)).Encode(), fault.Invalid},
		{"a block of no id", header(block(0, 272)).Encode(), fault.Invalid},
		{"a block of no bytes", header(block(1, 0)).Encode(), fault.Invalid},
		{"a block beyond its limit", header(block(1, pack.MaxBlock+1)).Encode(), fault.Invalid},
		{"more bytes than an upload may have", header(block(1, pack.MaxBlock), block(2, pack.MaxBlock), block(3, pack.MaxBlock), block(4, pack.MaxBlock)).Encode(), fault.TooLarge},
		{"something behind it", append(bytes.Clone(good), 0), fault.Invalid},
		{"an unknown field", append(append([]byte{0x83}, good[1:]...), 0), fault.Upgrade},
		{"a length in more bytes than it needs", bytes.Replace(good, []byte{0x19, 0x01, 0x10}, []byte{0x1a, 0, 0, 0x01, 0x10}, 1), fault.Invalid},
		{"a length of 2^32", bytes.Replace(good, []byte{0x19, 0x01, 0x10}, []byte{0x1b, 0, 0, 0, 1, 0, 0, 0, 0}, 1), fault.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := pack.Decode(c.data); !fault.Is(err, c.want) {
				t.Errorf("got %v, want an error of kind %q", err, c.want)
			}
		})
	}
}

func TestDecodingARequestRefuses(t *testing.T) {
	twice := request(2)
	twice.Blocks[1] = twice.Blocks[0]
	none := request(1)
	none.Blocks[0] = id.Block{}
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"nothing", nil},
		{"no block", request(0).Encode()},
		{"too many blocks", request(pack.MaxBlocks + 1).Encode()},
		{"a block twice", twice.Encode()},
		{"a block of no id", none.Encode()},
		{"something behind it", append(request(1).Encode(), 0)},
	} {
		if _, err := pack.DecodeRequest(c.data); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an error of kind invalid", c.name, err)
		}
	}
	if q, err := pack.DecodeRequest(request(pack.MaxBlocks).Encode()); err != nil || len(q.Blocks) != pack.MaxBlocks {
		t.Errorf("the largest request: %d blocks, %v", len(q.Blocks), err)
	}
}

func TestReadingAHeaderRefusesALengthThatIsTooLarge(t *testing.T) {
	_, err := pack.ReadHeader(bytes.NewReader(binary.BigEndian.AppendUint32(nil, pack.MaxHeader+1)))
	if !fault.Is(err, fault.TooLarge) {
		t.Errorf("got %v, want an error of kind too large", err)
	}
	whole := upload(t)
	for n := range whole {
		if _, err := pack.ReadHeader(bytes.NewReader(whole[:n])); !fault.Is(err, fault.Invalid) {
			t.Errorf("the first %d bytes: %v, want an error of kind invalid", n, err)
		}
	}
}

func alloc(n int) []byte { return make([]byte, n) }

func TestADownloadIsReadToItsEnd(t *testing.T) {
	r := iotest.OneByteReader(bytes.NewReader(download(t)))
	b, data, err := pack.ReadFrame(r, alloc)
	if err != nil || b != block(1, 0).ID || string(data) != "abc" {
		t.Errorf("got %v %q, %v", b, data, err)
	}
	if b, data, err = pack.ReadFrame(r, alloc); err != nil || !b.IsZero() || data != nil {
		t.Errorf("at the end: got %v %q, %v", b, data, err)
	}
}

func TestACutDownloadIsToldFromAnEndedOne(t *testing.T) {
	whole := download(t)
	for n := range whole {
		r := bytes.NewReader(whole[:n])
		b, _, err := pack.ReadFrame(r, alloc)
		if err == nil && !b.IsZero() {
			_, _, err = pack.ReadFrame(r, alloc)
		}
		if !fault.Is(err, fault.Unreachable) {
			t.Errorf("cut behind %d bytes: got %v, want an error of kind unreachable", n, err)
		}
	}
}

func TestReadingAFrameRefusesBeforeItAllocates(t *testing.T) {
	for _, c := range []struct {
		name   string
		id     id.Block
		length uint32
	}{
		{"a block of no bytes", block(1, 0).ID, 0},
		{"a block beyond its limit", block(1, 0).ID, pack.MaxBlock + 1},
		{"an end with a length", id.Block{}, 5},
	} {
		frame := written(t, func(w io.Writer) error { return pack.WriteFrame(w, c.id, c.length) })
		_, _, err := pack.ReadFrame(bytes.NewReader(frame), func(int) []byte {
			t.Errorf("%s: memory was allocated", c.name)
			return nil
		})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an error of kind invalid", c.name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(header(block(1, 272), block(2, 4096)).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := pack.Decode(data)
		if err != nil {
			return
		}
		if !bytes.Equal(h.Encode(), data) || h.Size() > pack.MaxSize {
			t.Errorf("%x decodes, and encodes as %x", data, h.Encode())
		}
	})
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add(request(2).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if q, err := pack.DecodeRequest(data); err == nil && !bytes.Equal(q.Encode(), data) {
			t.Errorf("%x decodes, and encodes as %x", data, q.Encode())
		}
	})
}

func FuzzReadHeader(f *testing.F) {
	f.Add(upload(f))
	f.Fuzz(func(t *testing.T, stream []byte) {
		if data, err := pack.ReadHeader(bytes.NewReader(stream)); err == nil && !bytes.Equal(data, stream[4:4+len(data)]) {
			t.Errorf("%x gives %x", stream, data)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add(download(f))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bytes.NewReader(stream)
		for {
			b, data, err := pack.ReadFrame(r, alloc)
			if err != nil || b.IsZero() {
				return
			}
			if len(data) == 0 || len(data) > pack.MaxBlock {
				t.Errorf("a block of %d bytes passes", len(data))
			}
		}
	})
}
