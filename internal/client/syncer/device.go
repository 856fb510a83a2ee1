package syncer

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/blockcache"
	"parsec/internal/client/content"
	"parsec/internal/client/edit"
	"parsec/internal/client/filesystem"
	"parsec/internal/client/history"
	"parsec/internal/client/ignore"
	"parsec/internal/client/journal"
	"parsec/internal/client/mirror"
	"parsec/internal/client/overlay"
	"parsec/internal/client/remote"
	"parsec/internal/client/session"
	"parsec/internal/client/workspace"
	"parsec/internal/format/record"
)

// DeviceConfig says how the workspaces of a device are synced.
type DeviceConfig struct {
	Config
	// Folder is the device's own.
	Folder string
	// Cache is how many bytes of blocks are kept; by default a quarter of the room on
	// the device's own disk, of which they are a part, but at least 1 GiB and at
	// most 16 GiB.
	Cache int64
	// Files says how the file system works.
	Files filesystem.Config
}

// Device syncs all workspaces of a session. Its methods may be called from many
// goroutines.
type Device struct {
	session *session.Session
	cfg     DeviceConfig
	cache   *blockcache.Cache
	files   *filesystem.Device
	ignored *ignore.List
	usage   usage
	stirred pulse

	// opening is held by who opens a workspace.
	opening sync.Mutex
	mu      sync.Mutex
	// mu guards what follows.
	open map[id.Workspace]*Syncer
	// start runs a syncer, once the device runs.
	start func(*Syncer)
}

// budget returns how many bytes of blocks are kept, 0 for the block cache's default.
func (cfg DeviceConfig) budget(ctx context.Context, dir string) int64 {
	if cfg.Cache != 0 || cfg.Files.Space == nil {
		return cfg.Cache
	}
	room, err := cfg.Files.Space(ctx)
	if err != nil {
		return 0
	}
	all, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	for _, f := range all {
		if info, err := f.Info(); err == nil {
			room.Free += uint64(info.Size())
		}
	}
	return int64(min(max(room.Free/4, 1<<30), 16<<30))
}

// OpenDevice opens what the device has of its workspaces, without asking the
// server.
func OpenDevice(ctx context.Context, s *session.Session, cfg DeviceConfig) (*Device, error) {
	dir := filepath.Join(cfg.Folder, "blocks")
	cache, err := blockcache.Open(blockcache.Config{Dir: dir, Budget: cfg.budget(ctx, dir)})
	if err != nil {
		return nil, err
	}
	d := &Device{session: s, cfg: cfg, cache: cache, open: map[id.Workspace]*Syncer{}}
	d.cfg.Stirred = d.stirred.beat
	d.usage = usage{own: cfg.Files.Space, wanted: make(chan struct{}, 1)}
	d.cfg.Files.Space = d.usage.space
	d.files = filesystem.New(d.shown, d.cfg.Files)
	if d.ignored, err = ignore.Open(ctx, s.Local().State); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	all, err := workspace.Remembered(ctx, s)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	for _, w := range all {
		if _, err := d.take(ctx, w); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	return d, nil
}

// take opens the work over a workspace's verified tree.
func (d *Device) take(ctx context.Context, w *workspace.Workspace) (*Syncer, error) {
	d.opening.Lock()
	defer d.opening.Unlock()
	if s, ok := d.get(w.ID()); ok {
		return s, nil
	}
	t := mirror.New(w)
	orDefault(&d.cfg.Eager, t.Eager)
	t.Eager = d.cfg.Eager
	store := content.Store{Server: d.session.Server(), Cache: d.cache}
	reader := content.New(w.Place(), store, d.cfg.Transfer)
	own := d.session.Device()
	over, err := overlay.Open(overlay.Config{
		Journal: journal.Config{
			Dir: filepath.Join(d.cfg.Folder, "work", w.ID().String()),
			Key: own.Storage, Device: own.Device, Workspace: w.ID(),
		},
		Root: t.Root(), Base: edit.Base{Mirror: t}, Blocks: reader, Ignore: filesystem.Ignoring(d.ignored.Has), Now: d.session.Now,
	})
	if err != nil {
		return nil, err
	}
	// The list may have become shorter before this was open. What fails is left
	// for the next time, and keeps nobody from working.
	_ = over.PublishUnignored(ctx)
	s := New(t, over, store, reader, d.cfg.Config)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[w.ID()] = s
	d.stirred.beat()
	if d.start != nil {
		d.start(s)
	}
	return s, nil
}

func (d *Device) get(w id.Workspace) (*Syncer, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.open[w]
	return s, ok
}

// Workspaces returns the workspaces that are open, by name: those that are shared
// with the user, and those that were and have work left.
func (d *Device) Workspaces() []*Syncer {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []*Syncer
	for _, s := range d.open {
		if s.ws.Role() != record.RoleNone || s.over.Pending() > 0 {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *Syncer) int {
		ai, bi := a.ws.ID(), b.ws.ID()
		if c := strings.Compare(a.ws.Name(), b.ws.Name()); c != 0 {
			return c
		}
		return bytes.Compare(ai[:], bi[:])
	})
	return all
}

// Ignored returns which names stay on this device. It is changed by
// [Device.ChangeIgnored].
func (d *Device) Ignored() *ignore.List { return d.ignored }

// ChangeIgnored has a function change which names stay on this device. What was
// held back by a pattern that is gone is pushed like any other work from then on.
func (d *Device) ChangeIgnored(ctx context.Context, change func(*ignore.List) error) error {
	d.opening.Lock() // who opens a workspace sees the list as it was all before, or as it is after
	defer d.opening.Unlock()
	if err := change(d.ignored); err != nil {
		return err
	}
	d.mu.Lock()
	all := slices.Collect(maps.Values(d.open))
	d.mu.Unlock()
	var failed []error
	for _, s := range all {
		failed = append(failed, s.over.PublishUnignored(ctx))
	}
	return errors.Join(failed...)
}

// Files returns the workspaces as a file system.
func (d *Device) Files() *filesystem.Device { return d.files }

// Past returns the workspaces that were there at a moment, as they were then, as a
// file system in which nothing can be changed; or one of them alone. What counts
// is the log as far as it was pulled.
func (d *Device) Past(ctx context.Context, at history.Moment, only *Syncer) (*filesystem.Device, error) {
	all := d.Workspaces()
	if only != nil {
		all = []*Syncer{only}
	} else if at.Index > 0 {
		return nil, fault.WithHint(fault.Errorf(fault.Usage, "show all workspaces as they were: each has a record %d of its own", at.Index), "give a time, or name a workspace")
	}
	var then []filesystem.Workspace
	for _, s := range all {
		t, err := history.Open(ctx, s.editor.Mirror, s.content, at)
		if only == nil && fault.Is(err, fault.NotFound) {
			continue // it began later
		}
		if err != nil {
			return nil, err
		}
		then = append(then, t)
	}
	return filesystem.New(func() []filesystem.Workspace { return then }, d.cfg.Files), nil
}

func (d *Device) shown() []filesystem.Workspace {
	var all []filesystem.Workspace
	for _, s := range d.Workspaces() {
		all = append(all, s)
	}
	return all
}

// Find returns the workspace with a name or id, as this device knows it. A name
// that two workspaces have means neither.
func (d *Device) Find(name string) (*Syncer, error) {
	var found []*Syncer
	for _, s := range d.Workspaces() {
		if s.ws.Name() == name || s.ws.ID().String() == name {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fault.WithHint(fault.Errorf(fault.NotFound, "no workspace %q", name), "`parsec workspace list` shows those you are a member of")
	}
	return nil, fault.WithHint(fault.Errorf(fault.Conflict, "%d workspaces are called %q", len(found), name), "use the id that `parsec workspace list` shows")
}

// Choose returns the workspaces with the names or ids, or all where none is named.
func (d *Device) Choose(names []string) ([]*Syncer, error) {
	if len(names) == 0 {
		return d.Workspaces(), nil
	}
	var all []*Syncer
	for _, name := range names {
		s, err := d.Find(name)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Stirred returns what is closed when any workspace may stand otherwise than before
// the call.
func (d *Device) Stirred() <-chan struct{} { return d.stirred.wait() }

// Discover opens the workspaces that the server says are shared with the user.
func (d *Device) Discover(ctx context.Context) error {
	hints, err := d.session.Server().ListWorkspaces(ctx)
	if err != nil {
		return err
	}
	for _, h := range hints {
		if err := d.discover(ctx, h.Workspace); err != nil {
			return err
		}
	}
	return nil
}

// Open returns the syncer of a workspace that is shared with the user, of which
// this device may know nothing yet.
func (d *Device) Open(ctx context.Context, w id.Workspace) (*Syncer, error) {
	if err := d.discover(ctx, w); err != nil {
		return nil, err
	}
	if s, ok := d.get(w); ok {
		return s, nil
	}
	return nil, fault.Errorf(fault.Denied, "open workspace %s: it is not shared with you any more", w)
}

func (d *Device) discover(ctx context.Context, w id.Workspace) error {
	if _, ok := d.get(w); ok {
		return nil
	}
	ws, err := workspace.Open(ctx, d.session, w)
	if err != nil {
		return err
	}
	if err := ws.PullLog(ctx); err != nil {
		if fault.Is(err, fault.Denied) { // removed in this moment
			return nil
		}
		return err
	}
	_, err = d.take(ctx, ws)
	return err
}

// Run syncs all workspaces until the context ends, and those that are shared
// with the user later.
func (d *Device) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	start := func(s *Syncer) { group.Go(func() error { return s.Run(ctx) }) }
	d.mu.Lock()
	d.start = start
	for _, s := range d.open {
		start(s)
	}
	d.mu.Unlock()
	group.Go(func() error { return d.listen(ctx) })
	group.Go(func() error { return d.usage.follow(ctx, d.session.Server().GetUsage) })
	return group.Wait()
}

// listen passes on what the server says, and connects again where that ends.
func (d *Device) listen(ctx context.Context) error {
	cfg := d.cfg.withDefaults()
	for failures := 0; ; failures++ {
		// Why the stream ended, the syncers find out for themselves.
		if connected := d.subscribe(ctx); connected {
			failures = 0
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		most := min(cfg.FirstPause<<min(failures, 20), cfg.MostPause)
		timer := time.NewTimer(most/2 + rand.N(most/2+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// subscribe follows events until the stream ends, and reports whether there was
// one. The first ones say where every log stands, so nothing is missed in between.
func (d *Device) subscribe(ctx context.Context) (connected bool) {
	_ = d.session.Server().Subscribe(ctx, func(e remote.Event) error {
		if !connected {
			connected = true
			d.heard()
		}
		if e.Workspace.IsZero() {
			return d.organizationMoved(ctx, e.Index)
		}
		s, ok := d.get(e.Workspace)
		if !ok {
			return d.discover(ctx, e.Workspace)
		}
		if s.ws.Log().Position().Index < e.Index {
			s.Heard()
		}
		return nil
	})
	return connected
}

// organizationMoved pulls the organization's log: somebody may have been revoked,
// so that a rotation is due.
func (d *Device) organizationMoved(ctx context.Context, index uint64) error {
	if d.session.Organization().Position().Index >= index {
		return nil
	}
	if err := d.session.PullOrganization(ctx); err != nil {
		return err
	}
	d.heard()
	return nil
}

// heard tells all syncers that the server can be reached.
func (d *Device) heard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.open {
		s.Heard()
	}
}

// Close makes all work durable and closes it. Nothing may be running.
func (d *Device) Close() error { return d.end((*overlay.Overlay).Close) }

// Abandon closes the files as a kill of the process would.
func (d *Device) Abandon() error { return d.end((*overlay.Overlay).Abandon) }

func (d *Device) end(how func(*overlay.Overlay) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.open {
		s.content.Close()
	}
	err := d.cache.Close()
	for _, s := range d.open {
		err = errors.Join(err, how(s.over))
	}
	return err
}
