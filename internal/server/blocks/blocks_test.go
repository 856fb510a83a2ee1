package blocks_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"maps"
	"sync"
	"testing"
	"testing/iotest"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
	"parsec/internal/server/access"
	"parsec/internal/server/blob"
	"parsec/internal/server/blocks"
	"parsec/internal/server/organization"
	"parsec/internal/server/servertest"
	"parsec/internal/verify/verifytest"
)

// load is an upload as a client makes it.
type load struct {
	header pack.Header
	body   []byte
}

func newLoad(w id.Workspace, sizes ...int) load {
	l := load{header: pack.Header{Workspace: w}}
	for _, n := range sizes {
		content := make([]byte, n)
		rand.Read(content)
		l.header.Blocks = append(l.header.Blocks, pack.Block{ID: id.New[id.Block](), Length: uint32(n), Digest: sha256.Sum256(content)})
		l.body = append(l.body, content...)
	}
	return l
}

func (l load) ids() []id.Block {
	var all []id.Block
	for _, b := range l.header.Blocks {
		all = append(all, b.ID)
	}
	return all
}

// contents returns the blocks by id.
func (l load) contents() map[id.Block][]byte {
	all, at := map[id.Block][]byte{}, 0
	for _, b := range l.header.Blocks {
		all[b.ID] = l.body[at:][:b.Length]
		at += int(b.Length)
	}
	return all
}

func download(t *testing.T, s *servertest.Stage, by *verifytest.Device, w id.Workspace, ids []id.Block) (map[id.Block][]byte, error) {
	t.Helper()
	found, err := s.Blocks.Download(t.Context(), s.Caller(by), pack.Request{Workspace: w, Blocks: ids})
	if err != nil {
		return nil, err
	}
	var stream bytes.Buffer
	if err := found.Send(t.Context(), &stream); err != nil {
		return nil, err
	}
	all := map[id.Block][]byte{}
	for {
		b, sealed, err := pack.ReadFrame(&stream, func(n int) []byte { return make([]byte, n) })
		if err != nil {
			return nil, err
		}
		if b.IsZero() {
			return all, nil
		}
		all[b] = sealed
	}
}

func TestBlocksComeBackAsTheyWentUp(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	one := newLoad(w.ID, 1, 4<<20, 100, 512<<10, 70<<10, 3, 3)
	two := newLoad(w.ID, 1<<20, 1<<20, 4<<20)
	for _, l := range []load{one, two} {
		// However the network cuts it.
		if err := s.Blocks.Upload(t.Context(), s.Caller(s.Admin), l.header, iotest.HalfReader(bytes.NewReader(l.body))); err != nil {
			t.Fatal(err)
		}
	}
	s.Restart()
	want := one.contents()
	for b, content := range two.contents() {
		want[b] = content
	}
	got, err := download(t, s, s.Admin, w.ID, append(one.ids(), two.ids()...))
	if err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("got %d blocks, %v; want %d, as they were", len(got), err, len(want))
	}
	some := []id.Block{two.ids()[2], one.ids()[5], one.ids()[0]}
	want = map[id.Block][]byte{some[0]: want[some[0]], some[1]: want[some[1]], some[2]: want[some[2]]}
	got, err = download(t, s, s.Admin, w.ID, some)
	if err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("got %d blocks, %v; want %d, as they were", len(got), err, len(want))
	}
}

func TestAnUploadWhoseAnswerWasLostIsAnsweredAgain(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	l := newLoad(w.ID, 100, 200)
	for range 3 {
		if err := s.Blocks.Upload(t.Context(), s.Caller(s.Admin), l.header, bytes.NewReader(l.body)); err != nil {
			t.Fatal(err)
		}
	}
	_, stats, err := s.Organizations.Stats(t.Context(), s.Org.Name())
	if err != nil || stats.Packs != 1 || stats.Blocks != 2 || stats.BlockBytes != 300 {
		t.Errorf("got %+v, %v; want 1 pack of 2 blocks", stats, err)
	}
	// A later upload that repeats some of it stores the rest.
	more := newLoad(w.ID, 50)
	both := load{header: pack.Header{Workspace: w.ID, Blocks: append(more.header.Blocks, l.header.Blocks...)}, body: append(more.body, l.body...)}
	if err := s.Blocks.Upload(t.Context(), s.Caller(s.Admin), both.header, bytes.NewReader(both.body)); err != nil {
		t.Fatal(err)
	}
	got, err := download(t, s, s.Admin, w.ID, both.ids())
	if err != nil || !maps.EqualFunc(got, both.contents(), bytes.Equal) {
		t.Errorf("got %d blocks, %v", len(got), err)
	}
}

func TestTheSameUploadTwiceAtOnceIsStored(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	l := newLoad(w.ID, 1000, 2000)
	var wait sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wait.Go(func() { errs[i] = s.Blocks.Upload(t.Context(), s.Caller(s.Admin), l.header, bytes.NewReader(l.body)) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	got, err := download(t, s, s.Admin, w.ID, l.ids())
	if err != nil || !maps.EqualFunc(got, l.contents(), bytes.Equal) {
		t.Errorf("got %d blocks, %v", len(got), err)
	}
}

func TestWhatMayNotGoUpIsRefusedByKind(t *testing.T) {
	s := servertest.NewStage(t)
	reader, eve := s.AddUser(record.ProfileStandard), s.AddUser(record.ProfileStandard)
	w, archived := s.CreateWorkspace(s.Admin), s.CreateWorkspace(s.Admin)
	w.Share(s.Admin, reader, record.RoleReader)
	archived.Archive(s.Admin, record.ArchivingArchived)
	archived.Bring(s.Admin)
	l := newLoad(w.ID, 100, 200)
	if err := s.Blocks.Upload(t.Context(), s.Caller(s.Admin), l.header, bytes.NewReader(l.body)); err != nil {
		t.Fatal(err)
	}
	flipped := newLoad(w.ID, 100, 200)
	flipped.body[150] ^= 1
	clash := newLoad(w.ID, 100)
	clash.header.Blocks[0].ID = l.header.Blocks[0].ID
	for _, c := range []struct {
		name string
		by   *verifytest.Device
		load load
		cut  int // bytes of the body that do not come; more of them if below 0
		want fault.Kind
	}{
		{"a reader's upload", reader, newLoad(w.ID, 1), 0, fault.Denied},
		{"an upload of somebody else", eve, newLoad(w.ID, 1), 0, fault.Denied},
		{"an upload to no workspace", s.Admin, newLoad(id.New[id.Workspace](), 1), 0, fault.Denied},
		{"an upload to an archived workspace", s.Admin, newLoad(archived.ID, 1), 0, fault.Denied},
		{"a flipped bit", s.Admin, flipped, 0, fault.Invalid},
		{"a block's id with another content", s.Admin, clash, 0, fault.Conflict},
		{"a body that ends early", s.Admin, newLoad(w.ID, 100), 1, fault.Invalid},
		{"a body that goes on", s.Admin, newLoad(w.ID, 100), -1, fault.Invalid},
	} {
		body := append(bytes.Clone(c.load.body), 0)[:len(c.load.body)-c.cut]
		servertest.Kind(t, c.name, s.Blocks.Upload(t.Context(), s.Caller(c.by), c.load.header, bytes.NewReader(body)), c.want)
	}
	most := uint64(350)
	if _, err := s.Organizations.Set(t.Context(), s.Org.Name(), organization.Settings{Storage: &most}); err != nil {
		t.Fatal(err)
	}
	full := newLoad(w.ID, 51)
	servertest.Kind(t, "an upload beyond the limit", s.Blocks.Upload(t.Context(), s.Caller(s.Admin), full.header, bytes.NewReader(full.body)), fault.Full)
}

func TestWhatIsNotThereIsNotSentInParts(t *testing.T) {
	s := servertest.NewStage(t)
	eve := s.AddUser(record.ProfileStandard)
	w, other := s.CreateWorkspace(s.Admin), s.CreateWorkspace(s.Admin)
	l := newLoad(w.ID, 100)
	if err := s.Blocks.Upload(t.Context(), s.Caller(s.Admin), l.header, bytes.NewReader(l.body)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		by   *verifytest.Device
		w    id.Workspace
		ids  []id.Block
		want fault.Kind
	}{
		{"a block that never was", s.Admin, w.ID, append(l.ids(), id.New[id.Block]()), fault.NotFound},
		{"a block of another workspace", s.Admin, other.ID, l.ids(), fault.NotFound},
		{"a member's block for somebody else", eve, w.ID, l.ids(), fault.Denied},
	} {
		_, err := download(t, s, c.by, c.w, c.ids)
		servertest.Kind(t, c.name, err, c.want)
	}
}

func TestTheSameIDInTwoWorkspacesIsTwoBlocks(t *testing.T) {
	s := servertest.NewStage(t)
	a, b := s.CreateWorkspace(s.Admin), s.CreateWorkspace(s.Admin)
	one, two := newLoad(a.ID, 100), newLoad(b.ID, 100)
	two.header.Blocks[0].ID = one.header.Blocks[0].ID
	for _, l := range []load{one, two} {
		if err := s.Blocks.Upload(t.Context(), s.Caller(s.Admin), l.header, bytes.NewReader(l.body)); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []load{one, two} {
		got, err := download(t, s, s.Admin, l.header.Workspace, l.ids())
		if err != nil || !maps.EqualFunc(got, l.contents(), bytes.Equal) {
			t.Errorf("got %d blocks, %v", len(got), err)
		}
	}
}

// delayed is a body before which something happens.
type delayed struct {
	io.Reader
	first func()
}

func (d *delayed) Read(p []byte) (int, error) {
	if d.first != nil {
		d.first()
		d.first = nil
	}
	return d.Reader.Read(p)
}

func TestWhatIsRefusedBehindItsObjectLeavesNothing(t *testing.T) {
	s := servertest.NewStage(t)
	little, yes, no := uint64(1), true, false
	set := func(c organization.Settings) {
		t.Helper()
		if _, err := s.Organizations.Set(t.Context(), s.Org.Name(), c); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		// meanwhile is what happens once the upload was let in.
		meanwhile func(bob *verifytest.Device)
		want      fault.Kind
	}{
		{"a user who is revoked", func(bob *verifytest.Device) { s.RevokeUser(bob) }, fault.Unauthenticated},
		{"a user who is frozen", func(bob *verifytest.Device) {
			if err := s.Organizations.Freeze(t.Context(), s.Org.Name(), bob.Opening.Email, true); err != nil {
				t.Fatal(err)
			}
		}, fault.Frozen},
		{"an organization that is suspended", func(*verifytest.Device) { set(organization.Settings{Expired: &yes}) }, fault.Frozen},
		{"a limit that is lowered", func(*verifytest.Device) { set(organization.Settings{Storage: &little}) }, fault.Full},
	} {
		t.Run(c.name, func(t *testing.T) {
			none := uint64(0)
			bob := s.AddUser(record.ProfileStandard)
			w := s.CreateWorkspace(s.Admin)
			w.Share(s.Admin, bob, record.RoleContributor)
			l := newLoad(w.ID, 100)
			body := &delayed{Reader: bytes.NewReader(l.body), first: func() { c.meanwhile(bob) }}
			servertest.Kind(t, "an upload", s.Blocks.Upload(t.Context(), s.Caller(bob), l.header, body), c.want)
			set(organization.Settings{Expired: &no, Storage: &none})
			_, err := download(t, s, s.Admin, w.ID, l.ids())
			servertest.Kind(t, "its block", err, fault.NotFound)
			for object, err := range s.Blobs.List(t.Context(), blob.Scope{Organization: s.Fingerprint(), Workspace: w.ID}, id.Pack{}) {
				t.Errorf("there is an object: %v, %v", object, err)
			}
		})
	}
}

func TestUploadsBeyondTheMemoryWait(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	service := blocks.New(s.Meta, s.Blobs, access.New(), s.Now, blocks.Config{Memory: 150, Waiters: 1})
	body, feed := io.Pipe()
	slow, quick := newLoad(w.ID, 100), newLoad(w.ID, 100)
	var wait sync.WaitGroup
	var slowErr, quickErr error
	wait.Go(func() { slowErr = service.Upload(t.Context(), s.Caller(s.Admin), slow.header, body) })
	if _, err := feed.Write(slow.body[:50]); err != nil { // the first has its memory now
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	servertest.Kind(t, "an upload that gives up waiting", service.Upload(ctx, s.Caller(s.Admin), quick.header, bytes.NewReader(quick.body)), fault.Canceled)
	wait.Go(func() {
		quickErr = service.Upload(t.Context(), s.Caller(s.Admin), quick.header, bytes.NewReader(quick.body))
	})
	if _, err := feed.Write(slow.body[50:]); err != nil {
		t.Fatal(err)
	}
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	if slowErr != nil || quickErr != nil {
		t.Errorf("got %v and %v", slowErr, quickErr)
	}
}

// counting counts the reads of an object store.
type counting struct {
	blob.Store
	gets int
	fail bool
}

func (c *counting) Get(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error) {
	c.gets++
	return c.Store.Get(ctx, key, offset, length)
}

func (c *counting) Put(ctx context.Context, key blob.Key, parts [][]byte) error {
	if c.fail {
		return fault.Errorf(fault.Full, "put: no space left")
	}
	return c.Store.Put(ctx, key, parts)
}

func TestNeighboursAreReadTogether(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	store := &counting{Store: s.Blobs}
	s.Blocks = blocks.New(s.Meta, store, access.New(), s.Now, blocks.Config{})
	sizes := make([]int, 8000)
	for i := range sizes {
		sizes[i] = 2000
	}
	l := newLoad(w.ID, sizes...)
	if err := s.Blocks.Upload(t.Context(), s.Caller(s.Admin), l.header, bytes.NewReader(l.body)); err != nil {
		t.Fatal(err)
	}
	var odd []id.Block
	for i, b := range l.ids() {
		if i%2 == 1 {
			odd = append(odd, b)
		}
	}
	got, err := download(t, s, s.Admin, w.ID, odd)
	if err != nil || len(got) != len(odd) || store.gets > 2 {
		t.Errorf("got %d blocks with %d reads, %v; want %d with 2", len(got), store.gets, err, len(odd))
	}
}

func TestAFullStoreIsReportedAndLeavesNothing(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	s.Blocks = blocks.New(s.Meta, &counting{Store: s.Blobs, fail: true}, access.New(), s.Now, blocks.Config{})
	l := newLoad(w.ID, 100)
	servertest.Kind(t, "an upload", s.Blocks.Upload(t.Context(), s.Caller(s.Admin), l.header, bytes.NewReader(l.body)), fault.Full)
	_, err := download(t, s, s.Admin, w.ID, l.ids())
	servertest.Kind(t, "its block", err, fault.NotFound)
}

func BenchmarkUpload(b *testing.B) {
	for _, c := range []struct {
		name  string
		count int
		size  int
	}{{"8000 blocks of 2 KiB", 8000, 2096}, {"32 blocks of 512 KiB", 32, 512<<10 - 16}} {
		b.Run(c.name, func(b *testing.B) {
			s := servertest.NewStage(b)
			w := s.CreateWorkspace(s.Admin)
			sizes := make([]int, c.count)
			for i := range sizes {
				sizes[i] = c.size
			}
			l := newLoad(w.ID, sizes...)
			b.SetBytes(int64(len(l.body)))
			b.ReportAllocs()
			for b.Loop() {
				for i := range l.header.Blocks {
					l.header.Blocks[i].ID = id.New[id.Block]()
				}
				if err := s.Blocks.Upload(b.Context(), s.Caller(s.Admin), l.header, bytes.NewReader(l.body)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
