package convergence_test

import (
	"context"
	"path/filepath"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/blockcache"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/content"
	"parsec/internal/client/edit"
	"parsec/internal/client/journal"
	"parsec/internal/client/mirror"
	"parsec/internal/client/overlay"
	"parsec/internal/client/syncer"
	"parsec/internal/client/transfer"
	"parsec/internal/client/workspace"
)

// device is one device of the play. It lives through many runs, each with a
// workspace of its own.
type device struct {
	*clienttest.Person
	line *line
	name string
	// revoked says that its user is.
	revoked bool

	// The rest is of one run.
	t      fataler
	w      id.Workspace
	over   *overlay.Overlay
	sync   *syncer.Syncer
	cache  *blockcache.Cache
	reader *content.Reader
	clock  *clock
}

// transfers are small: so are the contents.
var transfers = transfer.Config{Pack: 1 << 20}

// clock is what overlays settle by: a second there takes no time.
type clock struct{ ahead time.Duration }

func (c *clock) now() time.Time { return time.Now().Add(c.ahead) }

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

func (d *device) ok(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatalf("device %s: %v", d.name, err)
	}
}

// begin opens a workspace for a run.
func (d *device) begin(ctx context.Context, t fataler, w id.Workspace, c *clock) {
	d.t, d.w, d.clock = t, w, c
	d.open(ctx)
}

func (d *device) open(ctx context.Context) {
	ws, err := workspace.Open(ctx, d.Session, d.w)
	d.ok(err)
	tree := mirror.New(ws)
	folder := filepath.Join(d.Held.Folder(), d.w.String())
	d.cache, err = blockcache.Open(blockcache.Config{Dir: filepath.Join(folder, "blocks")})
	d.ok(err)
	store := content.Store{Server: d.Server(), Cache: d.cache}
	reader := content.New(ws.Place(), store, transfers)
	d.over, err = overlay.Open(overlay.Config{
		Journal: journal.Config{
			Dir: filepath.Join(folder, "work"), Key: d.Device().Storage, Device: d.Device().Device, Workspace: d.w, SegmentSize: 16 << 10,
		},
		Root: tree.Root(), Base: edit.Base{Mirror: tree}, Blocks: reader, Now: d.clock.now,
	})
	d.ok(err)
	d.reader = reader
	d.sync = syncer.New(tree, d.over, store, reader, syncer.Config{Limits: overlay.Limits{Ops: 5}, Transfer: transfers})
}

// end closes what a run has opened.
func (d *device) end() {
	d.reader.Close()
	d.ok(d.over.Close())
	d.ok(d.cache.Close())
}

// kill ends the process without a word, and starts it again.
func (d *device) kill(ctx context.Context) {
	d.reader.Close()
	d.ok(d.over.Abandon())
	d.ok(d.cache.Close())
	d.Person.Kill()
	d.Person.Reopen()
	d.open(ctx)
}

// settle lets what was done settle.
func (d *device) settle() { d.clock.ahead += 2 * time.Second }
