package files

import (
	"context"
	"crypto/sha256"
	"io"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/client/list"
	"parsec/internal/format/manifest"
)

// readAhead is how many blocks of a stream are fetched at once.
const readAhead = 32

// Content writes the content of a file to w, in order and as it comes.
func (t *Tree) Content(ctx context.Context, file Entry, w io.Writer) error {
	body, ok := file.Body.(manifest.FileBody)
	if !ok {
		return fault.Errorf(fault.Usage, "%s is a %s, not a file", t.address(file.Path), file.Kind)
	}
	blocks, err := list.Open(body)
	if err != nil {
		return err
	}
	var batch []manifest.Ref
	for piece, err := range blocks.All(ctx, t.Pages()) {
		if err != nil {
			return err
		}
		batch = append(batch, piece.Ref)
		if len(batch) == readAhead {
			if err := t.writeBatch(ctx, batch, w); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return t.writeBatch(ctx, batch, w)
}

func (t *Tree) writeBatch(ctx context.Context, batch []manifest.Ref, w io.Writer) error {
	var stored []manifest.Ref
	for _, ref := range batch {
		if !ref.Hole() {
			stored = append(stored, ref)
		}
	}
	contents, err := t.Pages().ReadPages(ctx, stored)
	if err != nil {
		return err
	}
	for _, ref := range batch {
		if ref.Hole() {
			err = writeZeros(w, ref.Size)
		} else {
			_, err = w.Write(contents[0])
			contents = contents[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var zeros [64 << 10]byte

func writeZeros(w io.Writer, n uint64) error {
	for n > 0 {
		some := min(n, uint64(len(zeros)))
		if _, err := w.Write(zeros[:some]); err != nil {
			return err
		}
		n -= some
	}
	return nil
}

// same compares the contents of two files of the same size.
func (t *Tree) same(ctx context.Context, a, b manifest.FileBody) (bool, error) {
	x, y := sha256.New(), sha256.New()
	if err := t.Content(ctx, Entry{Kind: manifest.File, Body: a}, x); err != nil {
		return false, err
	}
	if err := t.Content(ctx, Entry{Kind: manifest.File, Body: b}, y); err != nil {
		return false, err
	}
	return slices.Equal(x.Sum(nil), y.Sum(nil)), nil
}
