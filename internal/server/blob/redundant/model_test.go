package redundant_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/faulty"
	"parsec/internal/server/blob/redundant"
	"parsec/internal/server/meta"
	"parsec/internal/server/meta/metatest"
	"parsec/internal/server/meta/sqlite"
)

// A pack of the model.
type pack struct {
	content []byte
	// acked says that storing it was acknowledged and removing it was not
	// tried. Otherwise it may be there or not, but with no other content.
	acked bool
	// parts are what the stores held when it was acknowledged, or will hold
	// once it is mended; by store.
	parts map[int][]byte
	// hurt are the stores that lost or spoilt their part by the test's doing.
	hurt map[int]bool
	// strays are the stores that may have kept what they said they removed.
	strays map[int]bool
}

// model is several stores that anything happens to, the store over them, and
// what it has promised.
type model struct {
	t       *rapid.T
	faults  *metatest.Faulty
	rows    meta.Store
	rams    []*ram
	faulty  []*faulty.Store
	away    []bool // those that fail every call, or hang
	liars   []bool // those that may lose what they acknowledge
	flaky   []bool // those that have a fault or more before them
	layouts []redundant.Layout
	now     redundant.Config
	store   *redundant.Store
	path    string
	hung    chan struct{} // what calls wait for that hang
	scope   blob.Scope
	packs   map[blob.Key]*pack
}

// seed returns the path of a database with its tables, to be copied.
func seed(t *testing.T) []byte {
	path := filepath.Join(t.TempDir(), "seed.sqlite")
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newModel(t *rapid.T, dir string, seed []byte) *model {
	path := filepath.Join(dir, fmt.Sprint(id.New[id.Pack](), ".sqlite"))
	if err := os.WriteFile(path, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	rows, err := sqlite.Open(context.Background(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	m := &model{
		path: path, hung: make(chan struct{}),
		t: t, faults: &metatest.Faulty{Store: rows}, rows: rows, packs: map[blob.Key]*pack{},
		scope: blob.Scope{Organization: id.Fingerprint{1}, Workspace: id.New[id.Workspace]()},
	}
	n := rapid.IntRange(1, 5).Draw(t, "stores")
	m.layouts = []redundant.Layout{{Data: 1}}
	for data := 2; data < n; data++ {
		for parity := 1; data+parity <= n; parity++ {
			m.layouts = append(m.layouts, redundant.Layout{Data: data, Parity: parity})
		}
	}
	for range n {
		r := newRAM()
		m.rams, m.faulty = append(m.rams, r), append(m.faulty, faulty.New(r))
	}
	m.away, m.liars, m.flaky = make([]bool, n), make([]bool, n), make([]bool, n)
	for i := range n {
		if err := m.rows.Write(context.Background(), func(tx meta.Tx) error {
			_, err := tx.ObjectStores().Register(strconv.Itoa(i))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	m.start()
	return m
}

// start starts the store anew, perhaps with another layout.
func (m *model) start() {
	active, members := 0, []redundant.Member{}
	for _, row := range m.stores() {
		if row.State == meta.StoreActive {
			active++
		}
		if row.State != meta.StoreRetired {
			members = append(members, redundant.Member{ID: row.ID, Name: row.Name, Store: m.faulty[row.ID-1]})
		}
	}
	layouts := []redundant.Layout{{Data: 1, Parity: active - 1}}
	for _, l := range m.layouts {
		if l.Parts() <= active && (l.Data > 1 || l.Parity == 0) {
			layouts = append(layouts, l)
		}
	}
	l := rapid.SampledFrom(layouts).Draw(m.t, "layout")
	m.now = redundant.Config{
		Layout: l, Quorum: rapid.IntRange(l.Data, l.Parts()).Draw(m.t, "quorum"),
		Hedge: time.Millisecond, Grace: time.Millisecond, Rest: time.Millisecond,
	}
	m.now.Mirror = l.Data == 1 && l.Parity > 0
	m.now.Poll = 200 * time.Millisecond
	m.now.Name = func(url string) (string, error) { return url, nil }
	m.now.Open = func(_ context.Context, url string) (blob.Store, error) {
		i, err := strconv.Atoi(url)
		return m.faulty[i], err
	}
	var err error
	if m.store, err = redundant.New(using{m.faults, m}, members, m.now); err != nil {
		m.t.Fatal(err)
	}
	if err := m.store.Refresh(context.Background()); err != nil {
		m.t.Fatal(err)
	}
}

// stores returns the rows of the stores.
func (m *model) stores() (all []meta.ObjectStore) {
	if err := m.rows.Read(context.Background(), func(tx meta.Tx) (err error) {
		all, err = tx.ObjectStores().List()
		return err
	}); err != nil {
		m.t.Fatal(err)
	}
	return all
}

// using is a database in which the packs that the model knows have blocks.
type using struct {
	meta.Store
	m *model
}

type usingTx struct {
	meta.Tx
	m *model
}

type usingStores struct {
	meta.ObjectStores
	m *model
}

func (u using) Write(ctx context.Context, fn func(meta.Tx) error) error {
	return u.Store.Write(ctx, func(tx meta.Tx) error { return fn(usingTx{tx, u.m}) })
}

func (u using) Read(ctx context.Context, fn func(meta.Tx) error) error {
	return u.Store.Read(ctx, func(tx meta.Tx) error { return fn(usingTx{tx, u.m}) })
}

func (u usingTx) ObjectStores() meta.ObjectStores { return usingStores{u.Tx.ObjectStores(), u.m} }

func (u usingStores) Uses(key meta.PackKey) (bool, error) {
	p := u.m.packs[blob.Key{Scope: u.m.scope, Pack: key.Pack}]
	return p != nil && p.acked, nil
}

// work lets the store do its jobs for a while, and tells what became of them.
func (m *model) work() map[string]redundant.Progress {
	ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()
	if err := m.store.Run(ctx); err != nil {
		m.t.Fatal(err)
	}
	_, jobs, err := m.store.Status(context.Background())
	if err != nil {
		m.t.Fatal(err)
	}
	m.lookAgain()
	all := map[string]redundant.Progress{}
	for _, j := range jobs {
		all[j.Kind] = j
	}
	return all
}

// lookAgain takes down where jobs have moved what there is.
func (m *model) lookAgain() {
	for key, p := range m.packs {
		for i := range m.rams { // what was copied in vain may stay where removing it fails too
			p.strays[i] = p.strays[i] || !m.calm()
		}
		if p.acked {
			m.expect(key, p)
		}
	}
}

// Scrub verifies everything.
func (m *model) Scrub(t *rapid.T) {
	repair, calm := rapid.Bool().Draw(t, "repair"), m.calm()
	if err := m.store.StartScrub(context.Background(), repair, 0); err != nil {
		t.Fatal(err)
	}
	job := m.work()["scrub"]
	if !calm {
		return
	}
	if job.Finished == 0 {
		t.Fatalf("with all stores well the scrub does not end: %+v", job)
	}
	for key, p := range m.packs {
		if !p.acked || m.intact(key, p) < m.data(key) || !repair {
			continue
		}
		for i, want := range p.parts {
			if !bytes.Equal(m.rams[i].peek(key), want) || m.rams[i].peek(key) == nil {
				t.Fatalf("store %d has not its part of pack %s after a repair", i, key.Pack)
			}
		}
	}
}

// Drain empties a store, whose place another one may take.
func (m *model) Drain(t *rapid.T) {
	i, into := m.any(t), ""
	if len(m.rams) < 8 && rapid.Bool().Draw(t, "replace") {
		m.grow()
		into = strconv.Itoa(len(m.rams) - 1)
	}
	if _, err := m.store.Drain(context.Background(), strconv.Itoa(i), into, 0); err != nil {
		if !fault.Is(err, fault.Conflict) && m.calm() {
			t.Fatal(err)
		}
		return
	}
	for _, p := range m.packs {
		p.strays[i] = true // it is given up with what it holds
	}
	job := m.work()["drain"]
	if job.Finished == 0 || job.Failed > 0 {
		if m.calm() && job.Failed == 0 {
			t.Fatalf("with all stores well it goes on: %+v", job)
		}
		return
	}
	for key, p := range m.packs {
		if row, err := m.row(key); p.acked && (err != nil || slices.Contains(row.Stores, job.Store)) {
			t.Fatalf("store %d was emptied, and pack %s lies in %v, %v", job.Store, key.Pack, row.Stores, err)
		}
	}
}

// Add adds a store.
func (m *model) Add(t *rapid.T) {
	if len(m.rams) >= 8 {
		t.Skip("there are enough")
	}
	m.grow()
	if _, _, err := m.store.Add(context.Background(), strconv.Itoa(len(m.rams)-1)); err != nil {
		t.Fatal(err)
	}
}

// grow makes one more store, which is not known yet.
func (m *model) grow() {
	r := newRAM()
	m.rams, m.faulty = append(m.rams, r), append(m.faulty, faulty.New(r))
	m.away, m.liars, m.flaky = append(m.away, false), append(m.liars, false), append(m.flaky, false)
}

// Restart ends the store and starts it.
func (m *model) Restart(*rapid.T) {
	if err := m.store.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.start()
}

// soon is a context for calls that a slow store may hold up forever.
func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Millisecond)
}

func (m *model) row(key blob.Key) (row meta.Placement, err error) {
	err = m.rows.Read(context.Background(), func(tx meta.Tx) error {
		row, err = tx.Placements().Get(packKey(key))
		return err
	})
	return row, err
}

// key draws one of the packs.
func (m *model) key(t *rapid.T) blob.Key {
	if len(m.packs) == 0 {
		t.Skip("no packs")
	}
	return rapid.SampledFrom(slices.SortedFunc(maps.Keys(m.packs), blob.Key.Compare)).Draw(t, "pack")
}

// Put stores a new pack.
func (m *model) Put(t *rapid.T) {
	size := rapid.OneOf(rapid.IntRange(0, 10), rapid.IntRange(60_000, 70_000), rapid.IntRange(0, 300_000)).Draw(t, "size")
	key := blob.Key{Scope: m.scope, Pack: id.Pack(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "name"))}
	if m.packs[key] != nil {
		t.Skip("taken")
	}
	content := make([]byte, size)
	rng := rand.NewChaCha8([32]byte(slices.Repeat(key.Pack[:], 2)))
	rng.Read(content)
	m.packs[key] = &pack{content: content, hurt: map[int]bool{}, strays: map[int]bool{}}
	for i, liar := range m.liars {
		m.packs[key].strays[i] = liar
	}
	m.put(key)
}

// Again stores a pack that was stored, or removed, already.
func (m *model) Again(t *rapid.T) { m.put(m.key(t)) }

func (m *model) put(key blob.Key) {
	ctx, cancel := soon()
	defer cancel()
	p := m.packs[key]
	middle := len(p.content) / 3
	err := m.store.Put(ctx, key, [][]byte{p.content[:middle], p.content[middle:]})
	if err != nil {
		if m.calm() && ctx.Err() == nil && !m.abandoned(key) {
			m.t.Fatalf("put, with all stores well: %v", err)
		}
		return
	}
	if !p.acked {
		p.acked = true
		p.hurt = map[int]bool{}
		for i, liar := range m.liars {
			p.hurt[i] = liar
			p.strays[i] = p.strays[i] || liar
		}
	}
	m.expect(key, p)
}

// abandoned reports whether a pack lies in a store that is not used any more:
// one whose upload failed before, and of which nobody will ask.
func (m *model) abandoned(key blob.Key) bool {
	row, err := m.row(key)
	return err == nil && slices.ContainsFunc(m.stores(), func(o meta.ObjectStore) bool {
		return o.State == meta.StoreRetired && slices.Contains(row.Stores, o.ID)
	})
}

// expect computes what each store is to hold of a pack, by the codec itself.
func (m *model) expect(key blob.Key, p *pack) {
	row, err := m.row(key)
	if err != nil {
		m.t.Fatalf("acknowledged, but it has no row: %v", err)
	}
	p.parts = map[int][]byte{}
	all := partsOf(m.t, p.content, row.Data, row.Parity)
	for i, number := range row.Stores {
		p.parts[int(number)-1] = all[i]
	}
}

// calm says that nothing fails.
func (m *model) calm() bool {
	return !slices.Contains(m.away, true) && !slices.Contains(m.flaky, true) && !slices.Contains(m.liars, true)
}

// intact returns how many of each chunk of a pack's parts are whole in stores
// that answer, and take what they are to be known by: the least of them.
func (m *model) intact(key blob.Key, p *pack) int {
	const chunk = 64 << 10
	least := len(p.parts)
	for at := 0; at == 0 || at < len(p.content); at += chunk {
		n := 0
		for i, want := range p.parts {
			got := m.rams[i].peek(key)
			begin, end := min(at, len(want)), min(at+chunk, len(want))
			if got != nil && len(got) >= end && bytes.Equal(got[begin:end], want[begin:end]) && !m.away[i] && !m.flaky[i] && !m.liars[i] {
				n++
			}
		}
		least = min(least, n)
	}
	return least
}

// Read reads a range.
func (m *model) Read(t *rapid.T) {
	key := m.key(t)
	p := m.packs[key]
	offset := rapid.IntRange(0, len(p.content)).Draw(t, "offset")
	m.read(key, offset, rapid.IntRange(0, len(p.content)-offset).Draw(t, "length"))
}

func (m *model) read(key blob.Key, offset, length int) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	p := m.packs[key]
	must := p.acked && m.intact(key, p) >= m.data(key)
	if !must {
		ctx, cancel = soon()
		defer cancel()
	}
	var got []byte
	r, err := m.store.Get(ctx, key, int64(offset), int64(length))
	if err == nil {
		got, err = io.ReadAll(r)
		err = errors.Join(err, r.Close())
	}
	if err == nil && !bytes.Equal(got, p.content[offset:offset+length]) {
		m.t.Fatalf("wrong bytes of pack %s from %d on: %d of them", key.Pack, offset, len(got))
	}
	if err != nil && must {
		m.t.Fatalf("pack %s cannot be read with %d parts of %d whole: %v", key.Pack, m.intact(key, p), m.data(key), err)
	}
	if p.acked && fault.Is(err, fault.NotFound) && slices.Contains(m.away, true) && len(p.hurtOnes()) == 0 {
		m.t.Fatalf("pack %s is said not to be there while stores are away: %v", key.Pack, err)
	}
}

func (p *pack) hurtOnes() (all []int) {
	for i, yes := range p.hurt {
		if yes {
			all = append(all, i)
		}
	}
	return all
}

func (m *model) data(key blob.Key) int {
	row, err := m.row(key)
	if err != nil {
		m.t.Fatalf("an acknowledged pack has no row: %v", err)
	}
	return row.Data
}

// Measure asks for a size.
func (m *model) Measure(t *rapid.T) {
	key := m.key(t)
	p := m.packs[key]
	must := p.acked && m.intact(key, p) >= m.data(key) && !slices.Contains(m.away, true) && !slices.Contains(m.flaky, true)
	ctx, cancel := soon()
	defer cancel()
	size, err := m.store.Size(ctx, key)
	if err == nil && size != int64(len(p.content)) {
		m.t.Fatalf("size %d, want %d", size, len(p.content))
	}
	if err != nil && must && ctx.Err() == nil {
		m.t.Fatalf("size: %v", err)
	}
}

// Remove removes a pack.
func (m *model) Remove(t *rapid.T) {
	key := m.key(t)
	p := m.packs[key]
	p.acked = false
	ctx, cancel := soon()
	defer cancel()
	err := m.store.Delete(ctx, key)
	if err != nil {
		if m.calm() && ctx.Err() == nil {
			t.Fatalf("delete, with all stores well: %v", err)
		}
		return
	}
	if _, err := m.row(key); !fault.Is(err, fault.NotFound) {
		t.Fatalf("a pack that was removed has a row: %v", err)
	}
	m.gone(key)
}

// gone wants nothing to be left of a pack that was removed, but what is queued.
func (m *model) gone(key blob.Key) {
	queued := m.queued()
	for i, r := range m.rams {
		if r.peek(key) != nil && !m.packs[key].strays[i] && !slices.Contains(queued, meta.Repair{Key: packKey(key), Store: meta.StoreID(i + 1)}) {
			m.t.Fatalf("a pack that was removed has a part in store %d", i)
		}
	}
}

// List lists everything.
func (m *model) List(t *rapid.T) {
	ctx, cancel := soon()
	defer cancel()
	listed := map[blob.Key]bool{}
	var failed error
	for o, err := range m.store.List(ctx, m.scope, id.Pack{}) {
		if err != nil {
			failed = err
			break
		}
		p := m.packs[o.Key]
		if p == nil || o.Size != int64(len(p.content)) {
			t.Fatalf("listed %v, which is %v", o, p)
		}
		listed[o.Key] = true
	}
	if failed != nil {
		if m.calm() && ctx.Err() == nil {
			t.Fatalf("list, with all stores well: %v", failed)
		}
		return
	}
	for key, p := range m.packs {
		if p.acked && !listed[key] && len(p.hurtOnes()) == 0 {
			t.Fatalf("pack %s is not listed, and nothing says why", key.Pack)
		}
	}
}

// store draws one of the stores.
func (m *model) any(t *rapid.T) int { return rapid.IntRange(0, len(m.rams)-1).Draw(t, "store") }

// Away takes a store away, or lets it hang.
func (m *model) Away(t *rapid.T) {
	i := m.any(t)
	m.away[i] = true
	if rapid.Bool().Draw(t, "hangs") {
		for _, op := range []faulty.Op{faulty.Put, faulty.Get, faulty.Size, faulty.Delete, faulty.List} {
			m.faulty[i].Inject(op, faulty.Fault{Wait: m.hung})
		}
		return
	}
	m.faulty[i].Fail(away())
}

// Flaky lets some of the next calls of a store fail, in one of both ways.
func (m *model) Flaky(t *rapid.T) {
	i := m.any(t)
	if m.away[i] {
		t.Skip("it is away")
	}
	m.flaky[i] = true
	op := rapid.SampledFrom([]faulty.Op{faulty.Put, faulty.Get, faulty.Size, faulty.Delete, faulty.List}).Draw(t, "op")
	f := faulty.Fault{Err: away(), Times: rapid.IntRange(1, 3).Draw(t, "times")}
	f.Persisted = rapid.Bool().Draw(t, "persisted")
	if op == faulty.Get {
		f.After = rapid.Int64Range(0, 70_000).Draw(t, "after")
		if rapid.Bool().Draw(t, "rot") {
			f = faulty.Fault{Rot: faulty.Flip(f.After), Times: f.Times}
		}
	}
	m.faulty[i].Inject(op, f)
}

// Lie lets a store lose what it acknowledges.
func (m *model) Lie(t *rapid.T) {
	i := m.any(t)
	if m.away[i] {
		t.Skip("it is away")
	}
	m.liars[i] = true
	m.faulty[i].Inject(rapid.SampledFrom([]faulty.Op{faulty.Put, faulty.Delete}).Draw(t, "op"), faulty.Fault{Lost: true})
	for _, p := range m.packs {
		p.hurt[i], p.strays[i] = true, true
	}
}

// Heal ends what befalls the stores.
func (m *model) Heal(*rapid.T) {
	for i, s := range m.faulty {
		s.Heal()
		m.away[i], m.liars[i], m.flaky[i] = false, false, false
	}
}

// Hurt loses or spoils a part, for good.
func (m *model) Hurt(t *rapid.T) {
	key, i := m.key(t), m.any(t)
	was := m.rams[i].peek(key)
	if was == nil {
		t.Skip("it has none")
	}
	m.packs[key].hurt[i] = true
	switch how := rapid.IntRange(0, 2).Draw(t, "how"); {
	case how == 0 || len(was) == 0:
		m.rams[i].poke(key, nil)
	case how == 1:
		m.rams[i].poke(key, was[:rapid.IntRange(0, len(was)-1).Draw(t, "cut to")])
	default:
		spoilt := slices.Clone(was)
		spoilt[rapid.IntRange(0, len(was)-1).Draw(t, "at")] ^= 1
		m.rams[i].poke(key, spoilt)
	}
}

// Database lets the next write of a row fail.
func (m *model) Database(t *rapid.T) {
	key, in := m.key(t), rapid.IntRange(0, 2).Draw(t, "in")
	m.faults.FailNext(rapid.SampledFrom([]metatest.Failure{metatest.NotPersisted, metatest.Persisted}).Draw(t, "how"), away())
	ctx, cancel := soon()
	defer cancel()
	p := m.packs[key]
	switch in {
	case 0:
		_ = m.store.Mend(ctx)
	case 1:
		p.acked = false
		if m.store.Delete(ctx, key) == nil {
			m.faults.FailNext(0, nil)
		}
	default:
		if m.store.Put(ctx, key, [][]byte{p.content}) == nil {
			p.acked = true
			m.expect(key, p)
		}
	}
	m.faults.FailNext(0, nil)
}

// Mend works through the queue of repairs.
func (m *model) Mend(t *rapid.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if slices.Contains(m.away, true) {
		ctx, cancel = soon()
		defer cancel()
	}
	if err := m.store.Mend(ctx); err == nil && len(m.queued()) > 0 {
		t.Fatalf("all is mended, and %d repairs are left", len(m.queued()))
	}
}

// Tend lets the store look after itself for a while.
func (m *model) Tend(t *rapid.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := m.store.Run(ctx); err != nil {
		t.Fatal(err)
	}
	m.lookAgain()
}

// Together does several things at once, each to a pack of its own.
func (m *model) Together(t *rapid.T) {
	m.Heal(t)
	keys := slices.SortedFunc(maps.Keys(m.packs), blob.Key.Compare)
	if len(keys) < 3 {
		t.Skip("too few packs")
	}
	keys = rapid.Permutation(keys).Draw(t, "packs")[:3]
	var all sync.WaitGroup
	all.Go(func() { _ = m.store.Mend(context.Background()) })
	all.Go(func() { m.read(keys[0], 0, len(m.packs[keys[0]].content)) })
	if m.packs[keys[1]].acked { // a name that was removed is never used again while others look
		all.Go(func() { m.put(keys[1]) })
	}
	m.packs[keys[2]].acked = false
	all.Go(func() {
		if err := m.store.Delete(context.Background(), keys[2]); err != nil {
			t.Errorf("remove: %v", err)
		}
	})
	all.Wait()
	m.gone(keys[2])
}

func packKey(key blob.Key) meta.PackKey {
	return meta.PackKey{Organization: key.Organization, Workspace: key.Workspace, Pack: key.Pack}
}

func (m *model) queued() (all []meta.Repair) {
	if err := m.rows.Read(context.Background(), func(tx meta.Tx) (err error) {
		all, err = tx.Placements().Queued(meta.Repair{}, 10_000)
		return err
	}); err != nil {
		m.t.Fatal(err)
	}
	return all
}

// Check holds whatever happened: no part went missing but by the test's own
// doing, or it is queued for repair.
func (m *model) Check(t *rapid.T) {
	queued := map[meta.Repair]bool{}
	for _, r := range m.queued() {
		queued[r] = true
	}
	for key, p := range m.packs {
		if !p.acked {
			continue
		}
		for i, want := range p.parts {
			got := m.rams[i].peek(key)
			if got != nil && bytes.Equal(got, want) {
				if !m.liars[i] {
					delete(p.hurt, i)
				}
				continue
			}
			r := meta.Repair{Key: packKey(key), Store: meta.StoreID(i + 1)}
			if !p.hurt[i] && !m.liars[i] && !queued[r] {
				t.Fatalf("store %d does not hold its part of pack %s, and nothing is queued", i, key.Pack)
			}
		}
	}
}

// settle heals the stores and wants everything that can be there to be there.
func (m *model) settle() {
	m.Heal(nil)
	for key, p := range m.packs {
		m.read(key, 0, len(p.content))
	}
}

// inBubble runs fn in time that passes only where everything waits, and passes
// on how it ended.
func inBubble(outer *testing.T, fn func()) {
	var failed any
	synctest.Test(outer, func(*testing.T) {
		defer func() { failed = recover() }()
		fn()
	})
	// rapid tells failures apart by the line of the panic: what is no failure,
	// but data that it ran out of, must not look like one.
	switch {
	case failed == nil:
	case fmt.Sprintf("%T", failed) == "rapid.invalidData":
		panic(failed)
	default:
		panic(failed)
	}
}

func TestWhateverHappensWhatWasAcknowledgedIsRead(t *testing.T) {
	// A few each time; -rapid.checks=10000 to look for more.
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("15"); err != nil {
			t.Fatal(err)
		}
	}
	dir, tables := t.TempDir(), seed(t)
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func() {
			m := newModel(rt, dir, tables)
			defer m.close()
			rt.Repeat(map[string]func(*rapid.T){
				"": m.Check, "put": m.Put, "put more": m.Put, "again": m.Again, "read": m.Read, "size": m.Measure, "remove": m.Remove, "list": m.List,
				"away": m.Away, "flaky": m.Flaky, "lie": m.Lie, "heal": m.Heal, "hurt": m.Hurt, "database": m.Database, "mend": m.Mend, "tend": m.Tend, "together": m.Together, "scrub": m.Scrub, "drain": m.Drain, "add": m.Add, "restart": m.Restart,
			})
			m.settle()
		})
	})
}

// close ends everything, also what hangs.
func (m *model) close() {
	m.Heal(nil)
	close(m.hung)
	_ = m.store.Close()
	_ = m.rows.Close()
	_ = os.Remove(m.path)
}
