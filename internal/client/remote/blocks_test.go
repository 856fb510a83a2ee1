package remote_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/remote"
	"parsec/internal/format/pack"
)

func block(n byte) id.Block { return id.Block{0: n, 15: 1} }

func TestAnUploadIsItsHeaderAndItsBlocks(t *testing.T) {
	w := id.New[id.Workspace]()
	var header pack.Header
	var got []byte
	c := client(t, serve(t, http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		encoded, err := pack.ReadHeader(r.Body)
		if err == nil {
			header, err = pack.Decode(encoded)
		}
		if err == nil {
			got, err = io.ReadAll(r.Body)
		}
		if want := int64(4+len(encoded)) + header.Size(); err != nil || r.ContentLength != want {
			t.Errorf("announced %d bytes, want %d: %v", r.ContentLength, want, err)
		}
		answer.Header().Set("Content-Type", pack.MediaType)
	})), quick())
	blocks := []pack.Block{{ID: block(1), Length: 3, Digest: [32]byte{1}}, {ID: block(2), Length: 2}}
	if err := c.Upload(t.Context(), w, blocks, [][]byte{[]byte("abc"), []byte("de")}); err != nil {
		t.Fatal(err)
	}
	if header.Workspace != w || !slices.Equal(header.Blocks, blocks) || string(got) != "abcde" {
		t.Errorf("header %v, blocks %q", header, got)
	}
}

func TestAnImpossibleTransferIsNotTried(t *testing.T) {
	m := new(remote.Meter)
	cfg := quick()
	cfg.Meter = m
	c := client(t, "http://127.0.0.1:1", cfg)
	big := make([]byte, pack.MaxBlock)
	for name, x := range map[string]struct {
		blocks []pack.Block
		bodies [][]byte
		want   fault.Kind
	}{
		"no blocks":               {nil, nil, fault.Invalid},
		"a block without a body":  {[]pack.Block{{ID: block(1), Length: 1}}, nil, fault.Invalid},
		"a wrong length":          {[]pack.Block{{ID: block(1), Length: 1}}, [][]byte{{1, 2}}, fault.Invalid},
		"an empty block":          {[]pack.Block{{ID: block(1)}}, [][]byte{{}}, fault.Invalid},
		"more than one pack hold": {slices.Repeat([]pack.Block{{ID: block(1), Length: pack.MaxBlock}}, 4), [][]byte{big, big, big, big}, fault.TooLarge},
	} {
		if err := c.Upload(t.Context(), id.Workspace{1}, x.blocks, x.bodies); fault.KindOf(err) != x.want {
			t.Errorf("upload of %s: %v", name, err)
		}
	}
	for name, ids := range map[string][]id.Block{
		"a block twice": {block(1), block(1)},
		"too many":      make([]id.Block, pack.MaxBlocks+1),
	} {
		err := c.Download(t.Context(), id.Workspace{1}, ids, func(id.Block, []byte) error { return nil })
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("download of %s: %v", name, err)
		}
	}
	if err := c.Download(t.Context(), id.Workspace{1}, nil, nil); err != nil {
		t.Errorf("download of nothing: %v", err)
	}
	if m.Requests() != 0 {
		t.Errorf("%d requests were made", m.Requests())
	}
}

// A server that refuses early leaves the transport in the middle of the body.
// The race detector sees whether it still reads the buffers afterwards.
func TestNothingReadsTheBuffersAfterAnUpload(t *testing.T) {
	c := client(t, serve(t, answering(http.StatusForbidden, map[string]string{"Content-Type": "application/json"},
		`{"kind":"permission denied","error":"no"}`)), quick())
	body := make([]byte, 4<<20)
	for range 20 {
		err := c.Upload(t.Context(), id.Workspace{1}, []pack.Block{{ID: block(1), Length: 4 << 20}}, [][]byte{body})
		for i := range body {
			body[i]++
		}
		if !fault.Is(err, fault.Denied) && !fault.Is(err, fault.Unreachable) { // the refusal may be lost with the connection
			t.Fatal(err)
		}
	}
}

// frame returns a frame of a block whose bytes are its length times its number.
func frame(n byte, length int) []byte {
	var b bytes.Buffer
	_ = pack.WriteFrame(&b, block(n), uint32(length))
	b.Write(bytes.Repeat([]byte{n}, length))
	return b.Bytes()
}

func end() []byte {
	var b bytes.Buffer
	_ = pack.WriteEnd(&b)
	return b.Bytes()
}

// framing answers downloads with the frames of one answer after another; a nil
// frame breaks the connection.
type framing struct {
	mu      sync.Mutex
	answers [][][]byte
	asked   [][]id.Block
}

func (f *framing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(r.Body)
	q, _ := pack.DecodeRequest(data)
	f.mu.Lock()
	f.asked = append(f.asked, q.Blocks)
	answer := f.answers[min(len(f.asked), len(f.answers))-1]
	f.mu.Unlock()
	w.Header().Set("Content-Type", pack.MediaType)
	for _, frame := range answer {
		if frame == nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(frame)
		_ = http.NewResponseController(w).Flush()
	}
}

func TestDownloadsGiveEachBlockOnceOrFail(t *testing.T) {
	huge := binary.BigEndian.AppendUint32(bytes.Clone(block(1).Bytes()), 1<<31)
	nameless := binary.BigEndian.AppendUint32(make([]byte, 16), 5)
	for _, x := range []struct {
		name    string
		answers [][][]byte
		want    fault.Kind
		got     string
		asked   int
	}{
		{"in order", [][][]byte{{frame(1, 3), frame(2, 70_000), end()}}, 0, "1 2 ", 1},
		{"in another order", [][][]byte{{frame(2, 5), frame(1, 3), end()}}, 0, "2 1 ", 1},
		{"cut, then the rest", [][][]byte{{frame(1, 3), nil}, {frame(2, 1), end()}}, 0, "1 2 ", 2},
		{"cut in a block", [][][]byte{{frame(1, 3), frame(2, 9)[:25], nil}, {frame(2, 9), end()}}, 0, "1 2 ", 2},
		{"cut before the end", [][][]byte{{frame(1, 3), frame(2, 1), nil}}, 0, "1 2 ", 1},
		{"without an end", [][][]byte{{frame(1, 3)}, {frame(2, 3)}}, 0, "1 2 ", 2},
		{"cut for ever", [][][]byte{{frame(1, 3), nil}, {nil}}, fault.Unreachable, "1 ", 3},
		{"a block that was not asked for", [][][]byte{{frame(3, 3), end()}}, fault.Integrity, "", 1},
		{"a block twice", [][][]byte{{frame(1, 3), frame(1, 3), end()}}, fault.Integrity, "1 ", 1},
		{"a block twice over two answers", [][][]byte{{frame(1, 3), nil}, {frame(1, 3), end()}}, fault.Integrity, "1 ", 2},
		{"a block left out", [][][]byte{{frame(1, 3), end()}}, fault.Integrity, "1 ", 1},
		{"nothing", [][][]byte{{end()}}, fault.Integrity, "", 1},
		{"bytes behind the end", [][][]byte{{frame(1, 3), frame(2, 1), end(), {0}}}, fault.Invalid, "1 2 ", 1},
		{"an empty block", [][][]byte{{frame(1, 0), end()}}, fault.Invalid, "", 1},
		{"a block of two gigabytes", [][][]byte{{huge}}, fault.Invalid, "", 1},
		{"a block without a name", [][][]byte{{nameless}}, fault.Invalid, "", 1},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := &framing{answers: x.answers}
			got := ""
			err := client(t, serve(t, f), quick()).Download(t.Context(), id.Workspace{1}, []id.Block{block(1), block(2)}, func(b id.Block, sealed []byte) error {
				if len(sealed) == 0 || !bytes.Equal(sealed, bytes.Repeat(b[:1], len(sealed))) {
					t.Errorf("block %v is %x", b, sealed)
				}
				got += fmt.Sprintf("%d ", b[0])
				return nil
			})
			f.mu.Lock()
			defer f.mu.Unlock()
			if fault.KindOf(err) != x.want || (err == nil) != (x.want == 0) || got != x.got || len(f.asked) != x.asked {
				t.Errorf("got %q, %v (%v), asked %v", got, err, fault.KindOf(err), f.asked)
			}
			if x.want == fault.Integrity && fault.PromiseOf(err) != "authentic content" {
				t.Errorf("promise %q", fault.PromiseOf(err))
			}
			if len(f.asked) == 2 && x.asked == 2 && !slices.Equal(f.asked[1], []id.Block{block(2)}) {
				t.Errorf("asked again for %v", f.asked[1])
			}
		})
	}
}

func TestAnErrorOfTheCallerEndsADownload(t *testing.T) {
	f := &framing{answers: [][][]byte{{frame(1, 3), frame(2, 1), end()}}}
	mine := fault.Errorf(fault.Unreachable, "mine")
	err := client(t, serve(t, f), quick()).Download(t.Context(), id.Workspace{1}, []id.Block{block(1), block(2)}, func(id.Block, []byte) error { return mine })
	if !errors.Is(err, mine) || len(f.asked) != 1 {
		t.Errorf("got %v, asked %v", err, f.asked)
	}
}

// store keeps what is uploaded, for transfers both ways at once.
type store struct {
	mu     sync.Mutex
	blocks map[id.Block][]byte
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", pack.MediaType)
	if r.URL.Path == pack.UploadPath {
		encoded, _ := pack.ReadHeader(r.Body)
		h, _ := pack.Decode(encoded)
		for _, b := range h.Blocks {
			data := make([]byte, b.Length)
			_, _ = io.ReadFull(r.Body, data)
			s.mu.Lock()
			s.blocks[b.ID] = data
			s.mu.Unlock()
		}
		return
	}
	data, _ := io.ReadAll(r.Body)
	q, _ := pack.DecodeRequest(data)
	for _, b := range q.Blocks {
		s.mu.Lock()
		data := s.blocks[b]
		s.mu.Unlock()
		_ = pack.WriteFrame(w, b, uint32(len(data)))
		_, _ = w.Write(data)
	}
	_ = pack.WriteEnd(w)
}

func TestManyTransfersGoOnAtOnce(t *testing.T) {
	c := client(t, serve(t, &store{blocks: make(map[id.Block][]byte)}), quick())
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for range 10 {
				if err := there(t.Context(), c); err != nil {
					t.Errorf("worker %d: %v", worker, err)
				}
			}
		})
	}
	wg.Wait()
	if n := c.Meter().Requests(); n != 160 {
		t.Errorf("%d requests, want 160", n)
	}
}

// there sends random blocks and fetches them back.
func there(ctx context.Context, c *remote.Client) error {
	var blocks []pack.Block
	var bodies [][]byte
	want := make(map[id.Block][]byte)
	var ids []id.Block
	for range 1 + rand.N(5) {
		body := bytes.Repeat([]byte{byte(rand.Uint32())}, 1+rand.N(100_000))
		b := id.New[id.Block]()
		blocks = append(blocks, pack.Block{ID: b, Length: uint32(len(body))})
		bodies, ids, want[b] = append(bodies, body), append(ids, b), body
	}
	if err := c.Upload(ctx, id.Workspace{1}, blocks, bodies); err != nil {
		return err
	}
	return c.Download(ctx, id.Workspace{1}, ids, func(b id.Block, sealed []byte) error {
		if !bytes.Equal(sealed, want[b]) {
			return fmt.Errorf("block %v differs", b)
		}
		return nil
	})
}

func BenchmarkTransfer(b *testing.B) {
	h := http.NewServeMux()
	h.HandleFunc(pack.UploadPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", pack.MediaType)
		_, _ = io.Copy(io.Discard, r.Body)
	})
	data := make([]byte, 512<<10)
	h.HandleFunc(pack.DownloadPath, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		q, _ := pack.DecodeRequest(body)
		w.Header().Set("Content-Type", pack.MediaType)
		for _, b := range q.Blocks {
			_ = pack.WriteFrame(w, b, uint32(len(data)))
			_, _ = w.Write(data)
		}
		_ = pack.WriteEnd(w)
	})
	c, err := remote.New(serve(b, h), newDevice().Identity, remote.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	var blocks []pack.Block
	var bodies [][]byte
	var ids []id.Block
	for range 16 {
		ids = append(ids, id.New[id.Block]())
		blocks, bodies = append(blocks, pack.Block{ID: ids[len(ids)-1], Length: uint32(len(data))}), append(bodies, data)
	}
	for name, transfer := range map[string]func() error{
		"up": func() error { return c.Upload(b.Context(), id.Workspace{1}, blocks, bodies) },
		"down": func() error {
			return c.Download(b.Context(), id.Workspace{1}, ids, func(id.Block, []byte) error { return nil })
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(16 * 512 << 10)
			b.ReportAllocs()
			for b.Loop() {
				if err := transfer(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
