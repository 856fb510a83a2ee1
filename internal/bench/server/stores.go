//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/id"
	"parsec/internal/bench/machine"
	"parsec/internal/format/pack"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/file"
	"parsec/internal/server/blob/s3"
	"parsec/internal/server/blob/swift"
	"parsec/internal/server/servertest"
)

// An upload is as clients make it: a pack of 8 MiB in blocks of 512 KiB, with
// three packs under way.
const (
	blockSize     = 512 << 10
	blocksInPack  = 16
	packsUnderWay = 3
)

// provider is a kind of object store.
type provider struct {
	name string
	// place returns the URL of a place that nobody has used.
	place func() string
	open  func(ctx context.Context, place string) (blob.Store, error)
}

// rate is bytes in a second, each way.
type rate struct{ in, out float64 }

// layouts are how packs are spread, and over how many stores.
func layouts() []struct {
	name   string
	stores int
} {
	return []struct {
		name   string
		stores int
	}{{"single", 1}, {"mirror", 2}, {"stripe", 2}, {"erasure:2+1", 3}}
}

// measureStores sends blocks through a server to each kind of store and in
// each layout, beside what the store takes without a server.
func (b *bench) measureStores(ctx context.Context) (err error) {
	s3server, err := b.startService(ctx, "s3")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s3server.stop()) }()
	swiftServer, err := b.startService(ctx, "swift")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, swiftServer.stop()) }()
	var rows []string
	for _, p := range b.providers(s3server.url, swiftServer.url) {
		direct, err := b.direct(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, fmt.Sprintf("| %s, without a server | %.0f | | %.0f | |", p.name, direct.in/1e6, direct.out/1e6))
		for _, l := range layouts() {
			got, err := b.through(ctx, p, l.name, l.stores)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", p.name, l.name, err)
			}
			rows = append(rows, fmt.Sprintf("| %s, %s | %.0f | %.0f %% | %.0f | %.0f %% |", p.name, l.name,
				got.in/1e6, 100*got.in/direct.in, got.out/1e6, 100*got.out/direct.out))
		}
	}
	fmt.Printf("\nload %s\n\n", machine.Load())
	fmt.Println("| store and layout | in, MB/s | of the store itself | out, MB/s | of the store itself |")
	fmt.Println("|---|---|---|---|---|")
	fmt.Println(strings.Join(rows, "\n"))
	return nil
}

func (b *bench) providers(s3server, swiftServer string) []provider {
	within := func(server string) func() string {
		return func() string {
			u, err := url.Parse(server)
			if err != nil {
				panic(err) // a script wrote it
			}
			u.Path = "/bench-" + strings.ToLower(rand.Text())
			return u.String()
		}
	}
	return []provider{
		{
			"file", func() string { return "file:" + filepath.Join(b.work, "blocks-"+rand.Text()) },
			func(ctx context.Context, place string) (blob.Store, error) {
				return file.Open(ctx, file.Config{Path: strings.TrimPrefix(place, "file:")})
			},
		},
		{"S3", within(s3server), func(ctx context.Context, place string) (blob.Store, error) {
			c, err := s3.ParseURL(place)
			if err != nil {
				return nil, err
			}
			return s3.Open(ctx, c)
		}},
		{"Swift", within(swiftServer), func(ctx context.Context, place string) (blob.Store, error) {
			c, err := swift.ParseURL(place)
			if err != nil {
				return nil, err
			}
			return swift.Open(ctx, c)
		}},
	}
}

// direct uses a store as the server does, but without one.
func (b *bench) direct(ctx context.Context, p provider) (r rate, err error) {
	s, err := p.open(ctx, p.place())
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	content := make([]byte, blocksInPack*blockSize)
	rand.Read(content)
	keys := make([]blob.Key, b.pick(16, 3))
	for i := range keys {
		keys[i].Pack = id.New[id.Pack]()
	}
	if r.in, err = timed(ctx, len(keys), func(ctx context.Context, i int) (int64, error) {
		return int64(len(content)), s.Put(ctx, keys[i], [][]byte{content})
	}); err != nil {
		return r, err
	}
	r.out, err = timed(ctx, len(keys), func(ctx context.Context, i int) (int64, error) {
		in, err := s.Get(ctx, keys[i], 0, int64(len(content)))
		if err != nil {
			return 0, err
		}
		n, err := io.Copy(io.Discard, in)
		return n, errors.Join(err, in.Close())
	})
	return r, err
}

// through sends blocks through a server, and has them sent back.
func (b *bench) through(ctx context.Context, p provider, layout string, stores int) (r rate, err error) {
	database, err := b.database(ctx)
	if err != nil {
		return r, err
	}
	args := []string{"--database", database}
	for range stores {
		args = append(args, "--store", p.place())
	}
	if stores > 1 {
		args = append(args, "--redundancy", layout)
	}
	s, err := b.startServer(ctx, args...)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	return b.move(ctx, s)
}

// move has a server store packs and send them back.
func (b *bench) move(ctx context.Context, s *server) (r rate, err error) {
	c, err := found(ctx, s, "Stores")
	if err != nil {
		return r, err
	}
	w, err := c.createWorkspace(ctx, c.Admin)
	if err != nil {
		return r, err
	}
	block := make([]byte, blockSize)
	rand.Read(block)
	contents := slices.Repeat([][]byte{block}, blocksInPack)
	packs := b.pick(16, 3)
	headers, bodies := make([]pack.Header, packs), make([][]byte, packs)
	var all []id.Block
	for i := range headers {
		h, content, ids := servertest.Upload(w.ID, contents...)
		headers[i], bodies[i] = h, servertest.UploadBody(h, content)
		all = append(all, ids...)
	}
	if r.in, err = timed(ctx, packs, func(ctx context.Context, i int) (int64, error) {
		_, err := c.exchange(ctx, c.Admin, pack.UploadPath, pack.MediaType, bodies[i], sha256.Sum256(headers[i].Encode()))
		return blocksInPack * blockSize, err
	}); err != nil {
		return r, err
	}
	commit, err := c.commit(c.Admin, w, 1, all...)
	if err != nil {
		return r, err
	}
	if err := c.post(ctx, c.Admin, parsecv1connect.WorkspaceServiceCommitProcedure, commit); err != nil {
		return r, err
	}
	r.out, err = timed(ctx, packs, func(ctx context.Context, i int) (int64, error) {
		body := pack.Request{Workspace: w.ID, Blocks: all[i*blocksInPack:][:blocksInPack]}.Encode()
		return c.exchange(ctx, c.Admin, pack.DownloadPath, pack.MediaType, body, sha256.Sum256(body))
	})
	return r, err
}

// timed does something n times, some at once, and returns the bytes a second.
func timed(ctx context.Context, n int, do func(ctx context.Context, i int) (int64, error)) (float64, error) {
	bytes := make([]int64, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(packsUnderWay)
	begin := time.Now()
	for i := range n {
		group.Go(func() (err error) {
			bytes[i], err = do(ctx, i)
			return err
		})
	}
	err := group.Wait()
	var total int64
	for _, some := range bytes {
		total += some
	}
	return float64(total) / time.Since(begin).Seconds(), err
}
