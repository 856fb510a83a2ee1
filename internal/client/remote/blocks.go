package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"sync"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/pack"
)

// authentic is the promise that what is read is what was written.
const authentic = "authentic content"

// maxFrame is the longest frame of a download.
const maxFrame = id.Size + 4 + pack.MaxBlock

// Upload sends sealed blocks of one workspace and returns once they are
// durable. The bodies are sent from where they are: joined, they are the
// blocks in their order, however they are cut. When Upload returns, nothing
// reads them any more.
func (c *Client) Upload(ctx context.Context, w id.Workspace, blocks []pack.Block, bodies [][]byte) error {
	header := pack.Header{Workspace: w, Blocks: blocks}
	if err := checkUpload(header, bodies); err != nil {
		return err
	}
	encoded := header.Encode()
	var head bytes.Buffer
	if err := pack.WriteHeader(&head, encoded); err != nil {
		return fault.Errorf(fault.Failed, "upload blocks: %w", err)
	}
	digest, size := sha256.Sum256(encoded), int64(head.Len())+header.Size()
	return c.do(ctx, "upload blocks", slow*c.patience, func(ctx context.Context, watch *watch) error {
		lent := new(loan)
		defer lent.end()
		watch.expect(maxMessage)
		answer, err := c.post(ctx, pack.UploadPath, digest, size, func() io.ReadCloser { return lent.reader(head.Bytes(), bodies) })
		if err != nil {
			return err
		}
		return errors.Join(finished(answer.Body), answer.Body.Close())
	})
}

func checkUpload(h pack.Header, bodies [][]byte) error {
	if n := len(h.Blocks); n == 0 || n > pack.MaxBlocks {
		return fault.Errorf(fault.Invalid, "upload %d blocks at once, at most %d are allowed", n, pack.MaxBlocks)
	}
	for _, b := range h.Blocks {
		if b.Length == 0 || b.Length > pack.MaxBlock {
			return fault.Errorf(fault.Invalid, "upload block %v of %d bytes", b.ID, b.Length)
		}
	}
	var there int64
	for _, b := range bodies {
		there += int64(len(b))
	}
	if n := h.Size(); n != there {
		return fault.Errorf(fault.Invalid, "upload %d bytes that are announced as %d", there, n)
	}
	if there > pack.MaxSize {
		return fault.Errorf(fault.TooLarge, "upload %d bytes at once, at most %d are allowed", there, pack.MaxSize)
	}
	return nil
}

// post sends a plain request of block transfer. The body can be made again.
func (c *Client) post(ctx context.Context, path string, digest [sha256.Size]byte, size int64, body func() io.ReadCloser) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.server+path, body())
	if err != nil {
		return nil, fault.Errorf(fault.Failed, "make request: %w", err)
	}
	r.ContentLength = size
	r.GetBody = func() (io.ReadCloser, error) { return body(), nil }
	r.Header.Set("Content-Type", pack.MediaType)
	answer, err := c.door.send(r, digest)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(refusedPlainly(answer.Body), answer.Body.Close())
	}
	return answer, nil
}

// finished fails unless an answer has nothing more to say. Reading its end
// also frees the connection for the next request.
func finished(body io.Reader) error {
	switch n, err := io.ReadFull(body, make([]byte, 1)); {
	case n > 0:
		return malformed("it goes on behind its end")
	case err != io.EOF:
		return err
	}
	return nil
}

// loan lends a caller's buffers to the HTTP transport, which may still read
// them after it has returned an answer.
type loan struct {
	mu    sync.Mutex // guards ended, and is held while a buffer is read
	ended bool
}

// end takes the buffers back: nothing reads them from here on.
func (l *loan) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

// reader returns a body that reads the buffers from the start.
func (l *loan) reader(head []byte, bodies [][]byte) io.ReadCloser {
	parts := make([]io.Reader, 0, 1+len(bodies))
	parts = append(parts, bytes.NewReader(head))
	for _, b := range bodies {
		parts = append(parts, bytes.NewReader(b))
	}
	return &lent{loan: l, r: io.MultiReader(parts...)}
}

type lent struct {
	loan *loan
	r    io.Reader
}

var errReturned = errors.New("the buffers were taken back")

// Read reads from the buffers while they are lent.
func (b *lent) Read(p []byte) (int, error) {
	b.loan.mu.Lock()
	defer b.loan.mu.Unlock()
	if b.loan.ended {
		return 0, errReturned
	}
	return b.r.Read(p)
}

// Close does nothing: the buffers are the caller's.
func (b *lent) Close() error { return nil }

// Download passes on the sealed blocks that are asked for, each once, in
// whichever order they come. The sealed bytes are valid only until each
// returns, and nothing has verified them. A broken stream resumes with what
// has not come; an error of each ends it.
func (c *Client) Download(ctx context.Context, w id.Workspace, blocks []id.Block, each func(b id.Block, sealed []byte) error) error {
	wanted := newWanted(blocks)
	if n := len(blocks); n > pack.MaxBlocks || n != len(wanted.coming) {
		return fault.Errorf(fault.Invalid, "download %d blocks, of which %d are different", n, len(wanted.coming))
	}
	buffer := c.buffers.take()
	defer c.buffers.give(buffer)
	return c.do(ctx, "download blocks", c.patience, func(ctx context.Context, watch *watch) error {
		left := wanted.left()
		if len(left) == 0 {
			return nil
		}
		question := pack.Request{Workspace: w, Blocks: left}.Encode()
		watch.expect(maxMessage)
		answer, err := c.post(ctx, pack.DownloadPath, sha256.Sum256(question), int64(len(question)),
			func() io.ReadCloser { return io.NopCloser(bytes.NewReader(question)) })
		if err != nil {
			return err
		}
		return errors.Join(frames(answer.Body, watch, wanted, buffer, each), answer.Body.Close())
	})
}

// frames reads the frames of a download until its end.
func frames(body io.Reader, watch *watch, wanted *wanted[id.Block], buffer *[]byte, each func(id.Block, []byte) error) error {
	for {
		watch.expect(maxFrame)
		b, sealed, err := pack.ReadFrame(body, func(n int) []byte { return grow(buffer, n) })
		watch.rest()
		if err != nil {
			return err
		}
		if b.IsZero() {
			break
		}
		if err := wanted.take(b); err != nil {
			return err
		}
		if err := each(b, sealed); err != nil {
			return settled{err}
		}
	}
	if left := wanted.left(); len(left) > 0 {
		return fault.Broken(authentic, "the server left out %d blocks, the first %v", len(left), left[0])
	}
	watch.expect(maxFrame)
	return finished(body)
}

// grow returns n bytes of a buffer, which becomes larger where it must.
func grow(buffer *[]byte, n int) []byte {
	if cap(*buffer) < n {
		*buffer = make([]byte, n)
	}
	return (*buffer)[:n]
}

// buffers keeps what one download needs for the next.
type buffers struct{ pool sync.Pool }

func (b *buffers) take() *[]byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return buffer
	}
	return new([]byte)
}

func (b *buffers) give(buffer *[]byte) { b.pool.Put(buffer) }
