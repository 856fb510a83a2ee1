package journal_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/journal"
)

// header is the length of a segment's header, which is durable from the beginning.
const header = 80

// entry is a record with its payload.
type entry struct{ Body, Payload string }

// config returns a configuration with small segments and a key of its own.
func config(dir string) journal.Config {
	c := journal.Config{Dir: dir, Device: id.New[id.Device](), Workspace: id.New[id.Workspace](), SegmentSize: 2 << 10}
	rand.Read(c.Key[:])
	return c
}

type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// open opens a journal and returns what it replays, by number.
func open(t fataler, c journal.Config) (*journal.Journal, map[uint64]entry, []journal.Damage) {
	t.Helper()
	all := map[uint64]entry{}
	var replayed []journal.Record
	j, damage, err := journal.Open(c, func(r journal.Record) error {
		if len(replayed) > 0 && r.Number <= replayed[len(replayed)-1].Number {
			t.Fatalf("record %d is replayed behind %d", r.Number, replayed[len(replayed)-1].Number)
		}
		replayed = append(replayed, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range replayed {
		payload := make([]byte, r.Payload)
		if err := j.ReadAt(r.Number, payload, 0); err != nil {
			if !fault.Is(err, fault.Integrity) {
				t.Fatal(err)
			}
			continue
		}
		all[r.Number] = entry{string(r.Body), string(payload)}
	}
	return j, all, damage
}

func appendAll(t fataler, j *journal.Journal, entries ...entry) []uint64 {
	t.Helper()
	var numbers []uint64
	for _, e := range entries {
		n, err := j.Append([]byte(e.Body), []byte(e.Payload))
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
	return numbers
}

func some(n int) []entry {
	var all []entry
	for i := range n {
		all = append(all, entry{fmt.Sprintf("body %d", i), strings.Repeat(fmt.Sprintf("payload %d ", i), i*7%50)})
	}
	return all
}

// numbered returns entries under the numbers that a new journal gives them.
func numbered(entries []entry) map[uint64]entry {
	all := map[uint64]entry{}
	for i, e := range entries {
		all[uint64(i+1)] = e
	}
	return all
}

// snapshot copies a journal as a kill would leave it.
func snapshot(t fataler, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(from); err != nil {
		return
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsComeBackInOrderWithTheirPayloads(t *testing.T) {
	c := config(filepath.Join(t.TempDir(), "j"))
	j, got, _ := open(t, c)
	if len(got) > 0 {
		t.Fatalf("a new journal holds %v", got)
	}
	want := some(100)
	appendAll(t, j, want[:60]...)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, _, _ = open(t, c)
	appendAll(t, j, want[60:]...)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, got, damage := open(t, c)
	defer j.Close()
	if diff := cmp.Diff(numbered(want), got); diff != "" || len(damage) > 0 {
		t.Fatalf("damage %v, records differ (-want +got):\n%s", damage, diff)
	}
}

func TestPayloadsAreReadInPartsBeforeAndAfterTheyAreWritten(t *testing.T) {
	j, _, _ := open(t, config(t.TempDir()))
	defer j.Close()
	payload := bytes.Repeat([]byte("0123456789"), 5000)
	n, err := j.Append(nil, payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, flushed := range []bool{false, true} {
		p := make([]byte, 777)
		if err := j.ReadAt(n, p, 12345); err != nil || !bytes.Equal(p, payload[12345:][:777]) {
			t.Fatalf("flushed %v: read %v, %q", flushed, err, p)
		}
		if err := j.ReadAt(n, p, len(payload)-1); !fault.Is(err, fault.NotFound) {
			t.Fatalf("reading behind the end: %v, want %v", err, fault.NotFound)
		}
		if err := j.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAKillLeavesAllThatWasFlushed(t *testing.T) {
	dir := t.TempDir()
	c := config(filepath.Join(dir, "j"))
	j, _, _ := open(t, c)
	defer j.Close()
	want := some(60)
	killed := c
	killed.Dir = filepath.Join(dir, "killed")
	for i, e := range want {
		appendAll(t, j, e)
		flushed := i + 1
		if i%3 == 0 {
			if err := j.Flush(); err != nil {
				t.Fatal(err)
			}
		} else {
			flushed = i/3*3 + 1
		}
		snapshot(t, c.Dir, killed.Dir)
		k, got, damage := open(t, killed)
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		if len(got) < flushed || len(damage) > 0 {
			t.Fatalf("killed behind record %d: %d are left and %v; %d were flushed", i+1, len(got), damage, flushed)
		}
		if diff := cmp.Diff(numbered(want[:len(got)]), got); diff != "" {
			t.Fatalf("killed behind record %d: no prefix (-want +got):\n%s", i+1, diff)
		}
	}
}

func TestPowerLossLeavesAPrefixWithAllThatWasSynced(t *testing.T) {
	dir := t.TempDir()
	c := config(filepath.Join(dir, "j"))
	j, _, _ := open(t, c)
	want := some(40)
	appendAll(t, j, want[:25]...)
	if err := j.Sync(); err != nil {
		t.Fatal(err)
	}
	synced := j.Synced()
	appendAll(t, j, want[25:]...)
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := j.Abandon(); err != nil {
		t.Fatal(err)
	}
	lost := c
	lost.Dir = filepath.Join(dir, "lost")
	for path := range pathsOf(t, c.Dir) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		for length := max(synced[path], header); length <= info.Size(); length += 13 {
			for _, garbage := range []int{0, 100} {
				snapshot(t, c.Dir, lost.Dir)
				tear(t, filepath.Join(lost.Dir, filepath.Base(path)), length, garbage)
				k, got, damage := open(t, lost)
				if err := k.Close(); err != nil {
					t.Fatal(err)
				}
				if len(got) < 25 || len(damage) > 0 {
					t.Fatalf("%s cut at %d: %d records are left and %v, and 25 were synced", path, length, len(got), damage)
				}
				if diff := cmp.Diff(numbered(want[:len(got)]), got); diff != "" {
					t.Fatalf("%s cut at %d: no prefix (-want +got):\n%s", path, length, diff)
				}
			}
		}
	}
}

func pathsOf(t fataler, dir string) map[string]bool {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]bool{}
	for _, p := range all {
		paths[p] = true
	}
	return paths
}

// tear leaves a file as power loss may: cut, with something else at its end.
func tear(t fataler, path string, length int64, garbage int) {
	t.Helper()
	if err := os.Truncate(path, length); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, garbage)
	rand.Read(b)
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsTornIsGoneForGoodAndItsPlaceIsNotUsedAgain(t *testing.T) {
	c := config(t.TempDir())
	j, _, _ := open(t, c)
	appendAll(t, j, some(3)...)
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := j.Abandon(); err != nil {
		t.Fatal(err)
	}
	paths := pathsOf(t, c.Dir)
	for path := range paths {
		tear(t, path, 150, 0)
	}
	before := len(paths)
	j, got, _ := open(t, c)
	appendAll(t, j, entry{"behind", "it"})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(pathsOf(t, c.Dir)); n != before+1 {
		t.Fatalf("%d segments after appending to a journal of %d that was opened again; want one more", n, before)
	}
	j, after, damage := open(t, c)
	defer j.Close()
	if len(after) != len(got)+1 || len(damage) > 0 {
		t.Fatalf("%v after %v, and damage %v; want one record more", after, got, damage)
	}
}

// Each byte of a closed journal is altered in turn. What the alteration does
// not touch is there, what it touches is named, and nothing else appears.
func TestDamageIsNamedAndCostsWhatItCovers(t *testing.T) {
	dir := t.TempDir()
	c := config(filepath.Join(dir, "j"))
	j, _, _ := open(t, c)
	want := some(12)
	appendAll(t, j, want...)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	hurt := c
	hurt.Dir = filepath.Join(dir, "hurt")
	for path := range pathsOf(t, c.Dir) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := range data {
			snapshot(t, c.Dir, hurt.Dir)
			flipped := slices.Clone(data)
			flipped[at] ^= 0x10
			name := filepath.Join(hurt.Dir, filepath.Base(path))
			if err := os.WriteFile(name, flipped, 0o600); err != nil {
				t.Fatal(err)
			}
			k, got, damage := open(t, hurt)
			if err := k.Close(); err != nil {
				t.Fatal(err)
			}
			for n, e := range got {
				if numbered(want)[n] != e {
					t.Fatalf("byte %d altered: record %d is %v", at, n, e)
				}
			}
			if lost := len(want) - len(got); lost > 1 && at >= header {
				t.Fatalf("byte %d altered: %d records are lost", at, lost)
			} else if lost > 0 && len(damage) == 0 && !isPayload(t, hurt, len(want)) {
				t.Fatalf("byte %d altered: %d records are lost and no damage is named", at, lost)
			}
		}
	}
}

// isPayload reports whether all records are replayed, so that only a payload
// is lost, which is named when it is read.
func isPayload(t fataler, c journal.Config, want int) bool {
	t.Helper()
	n := 0
	j, _, err := journal.Open(c, func(journal.Record) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return j.Close() == nil && n == want
}

func TestADamagedSegmentIsKeptAsideWhenItsTimeComes(t *testing.T) {
	c := config(t.TempDir())
	j, _, _ := open(t, c)
	numbers := appendAll(t, j, some(4)...)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for path := range pathsOf(t, c.Dir) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[header+10]++ // in the head of the first record
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j, got, damage := open(t, c)
	defer j.Close()
	if len(got) != 3 || len(damage) != 1 {
		t.Fatalf("%d records and damage %v, want 3 and one", len(got), damage)
	}
	j.Release(numbers...)
	if err := j.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	aside, err := filepath.Glob(filepath.Join(c.Dir, "*.damaged"))
	if err != nil || len(aside) != 1 || len(pathsOf(t, c.Dir)) != 0 {
		t.Fatalf("aside: %v, %v; in use: %v", aside, err, pathsOf(t, c.Dir))
	}
}

func TestNobodyElseReadsAJournal(t *testing.T) {
	dir := t.TempDir()
	c := config(filepath.Join(dir, "j"))
	j, _, _ := open(t, c)
	appendAll(t, j, entry{"a name that is secret", "a content that is secret"})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(c.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("secret")) {
			t.Errorf("%s holds something in clear", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]func(*journal.Config){
		"key":       func(c *journal.Config) { c.Key = secret.Key{1} },
		"device":    func(c *journal.Config) { c.Device = id.New[id.Device]() },
		"workspace": func(c *journal.Config) { c.Workspace = id.New[id.Workspace]() },
	} {
		foreign := c
		foreign.Dir = filepath.Join(dir, name)
		other(&foreign)
		snapshot(t, c.Dir, foreign.Dir)
		k, got, _ := open(t, foreign)
		if len(got) > 0 {
			t.Errorf("with another %s it reads %v", name, got)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCompactionKeepsWhatLivesAndFreesTheRest(t *testing.T) {
	dir := t.TempDir()
	c := config(filepath.Join(dir, "j"))
	j, _, _ := open(t, c)
	want := some(200)
	numbers := appendAll(t, j, want...)
	left := map[uint64]entry{}
	for i, n := range numbers {
		if i%10 == 3 {
			left[n] = want[i]
		} else {
			j.Release(n)
		}
	}
	before, live := j.Held()
	for range 2 { // the segment that was active at first may be due once it is full
		if err := j.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if after, _ := j.Held(); after > 2*live+1000 || j.Due() {
		t.Fatalf("%d bytes after a compaction of %d, of which %d live; due: %v", after, before, live, j.Due())
	}
	for n, e := range left {
		p := make([]byte, len(e.Payload))
		if err := j.ReadAt(n, p, 0); err != nil || string(p) != e.Payload {
			t.Fatalf("record %d after a compaction: %q, %v", n, p, err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, got, damage := open(t, c)
	defer j.Close()
	for n := range got { // what was released may come once more
		if _, ok := left[n]; !ok {
			delete(got, n)
		}
	}
	if diff := cmp.Diff(left, got); diff != "" || len(damage) > 0 {
		t.Fatalf("damage %v, records differ (-want +got):\n%s", damage, diff)
	}
}

func TestAnEmptyJournalTakesNoRoom(t *testing.T) {
	c := config(t.TempDir())
	j, _, _ := open(t, c)
	defer j.Close()
	j.Release(appendAll(t, j, some(300)...)...)
	if err := j.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := pathsOf(t, c.Dir); len(left) > 0 {
		t.Fatalf("%v are left", left)
	}
	if n, err := j.Append([]byte("next"), nil); err != nil || n != 301 {
		t.Fatalf("the next record has number %d, %v; want 301", n, err)
	}
}

func TestManyAppendReadSyncAndCompactAtOnce(t *testing.T) {
	j, _, _ := open(t, config(t.TempDir()))
	defer j.Close()
	var writers, others sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for w := range 4 {
		writers.Go(func() {
			for i := range 200 {
				want := fmt.Sprintf("writer %d record %d", w, i)
				n, err := j.Append([]byte(want), []byte(want))
				if err != nil {
					t.Error(err)
					return
				}
				got := make([]byte, len(want))
				if err := j.ReadAt(n, got, 0); err != nil || string(got) != want {
					t.Errorf("read %q, %v; want %q", got, err, want)
				}
				if i%20 == 0 {
					if err := j.Sync(); err != nil {
						t.Error(err)
					}
				}
				j.Release(n)
			}
		})
	}
	others.Go(func() {
		for ctx.Err() == nil {
			if err := j.Compact(ctx); err != nil && !fault.Is(err, fault.Canceled) {
				t.Error(err)
			}
		}
	})
	writers.Wait()
	cancel()
	others.Wait()
}

// A model of what a journal promises, under random work, kills and power loss.
func TestWhateverHappensAPrefixIsThere(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		m := &machine{c: config(filepath.Join(dir, "j")), all: map[uint64]entry{}, released: map[uint64]bool{}}
		m.j, _, _ = open(t, m.c)
		t.Repeat(map[string]func(*rapid.T){
			"append": m.append, "flush": m.flush, "sync": m.sync, "release": m.release, "compact": m.compact,
			"close": m.close, "kill": m.kill, "power loss": m.powerLoss,
		})
		if err := m.j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

type machine struct {
	c        journal.Config
	j        *journal.Journal
	all      map[uint64]entry
	released map[uint64]bool
	// last is the newest record, flushed and synced are the newest of which
	// that was asked.
	last, flushed, synced uint64
}

func (m *machine) append(t *rapid.T) {
	e := entry{rapid.StringN(0, 50, 200).Draw(t, "body"), strings.Repeat("p", rapid.IntRange(0, 1500).Draw(t, "payload"))}
	m.last = appendAll(t, m.j, e)[0]
	m.all[m.last] = e
}

func (m *machine) flush(t *rapid.T) {
	if err := m.j.Flush(); err != nil {
		t.Fatal(err)
	}
	m.flushed = m.last
}

func (m *machine) sync(t *rapid.T) {
	if err := m.j.Sync(); err != nil {
		t.Fatal(err)
	}
	m.flushed, m.synced = m.last, m.last
}

func (m *machine) release(t *rapid.T) {
	for range rapid.IntRange(1, 8).Draw(t, "how many") {
		if m.last > 0 {
			n := rapid.Uint64Range(1, m.last).Draw(t, "number")
			m.j.Release(n)
			m.released[n] = true
		}
	}
}

func (m *machine) compact(t *rapid.T) {
	if err := m.j.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) close(t *rapid.T) {
	if err := m.j.Close(); err != nil {
		t.Fatal(err)
	}
	m.flushed, m.synced = m.last, m.last
	m.reopen(t, m.last)
}

func (m *machine) kill(t *rapid.T) {
	if err := m.j.Abandon(); err != nil {
		t.Fatal(err)
	}
	m.reopen(t, m.flushed)
}

func (m *machine) powerLoss(t *rapid.T) {
	synced := m.j.Synced()
	if err := m.j.Abandon(); err != nil {
		t.Fatal(err)
	}
	for path, length := range synced {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if length < info.Size() {
			tear(t, path, rapid.Int64Range(length, info.Size()).Draw(t, "length"), rapid.IntRange(0, 99).Draw(t, "garbage"))
		}
	}
	m.reopen(t, m.synced)
}

// reopen opens the journal, which must hold a prefix with the record least.
func (m *machine) reopen(t *rapid.T, least uint64) {
	j, got, damage := open(t, m.c)
	if len(damage) > 0 {
		t.Fatalf("damage: %v", damage)
	}
	m.j = j
	newest := least
	for n := range got {
		newest = max(newest, n)
	}
	for n, want := range m.all {
		switch e, ok := got[n]; {
		case ok && e != want:
			t.Fatalf("record %d is %v, want %v", n, e, want)
		case !ok && !m.released[n] && n <= newest:
			t.Fatalf("record %d is lost, of %d", n, newest)
		}
		if n > newest {
			delete(m.all, n)
		}
	}
	for n := range m.released { // what is replayed once more is released once more
		m.j.Release(n)
	}
	m.last = max(newest, j.Next()-1)
	m.flushed, m.synced = m.last, m.last
}

// little appends and syncs records one by one and returns how often the files
// became longer.
func little(t *testing.T, c journal.Config, j *journal.Journal, all []entry) (longer int) {
	t.Helper()
	before := lengths(t, c.Dir)
	for _, e := range all {
		appendAll(t, j, e)
		if err := j.Sync(); err != nil {
			t.Fatal(err)
		}
		if after := lengths(t, c.Dir); after != before {
			before, longer = after, longer+1
		}
	}
	return longer
}

func lengths(t *testing.T, dir string) (n int64) {
	t.Helper()
	for path := range pathsOf(t, dir) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

func TestSyncsOfLittleMakeTheFileLongerNowAndThen(t *testing.T) {
	c := config(t.TempDir())
	c.SegmentSize = 0
	j, _, _ := open(t, c)
	want := some(200)
	if n := little(t, c, j, want); n > 6 {
		t.Errorf("the file became longer %d times in %d syncs", n, len(want))
	}
	size, _ := j.Held()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if n := lengths(t, c.Dir); n > size+100 {
		t.Errorf("%d bytes are left on the disk, and %d were appended", n, size)
	}
	j, got, damage := open(t, c)
	defer j.Close()
	if diff := cmp.Diff(numbered(want), got); diff != "" || len(damage) > 0 {
		t.Errorf("damage %v, and (-want +got):\n%s", damage, diff)
	}
}

// What is behind the last sync in a file with zeros ahead may be there, in part, or
// still be the zeros.
func TestATailOfZerosIsTheEndAndWhatIsTornBeforeItIsGone(t *testing.T) {
	dir := t.TempDir()
	c := config(filepath.Join(dir, "j"))
	c.SegmentSize = 0
	j, _, _ := open(t, c)
	want := some(30)
	little(t, c, j, want[:20])
	var path string
	var synced int64
	for path, synced = range j.Synced() {
	}
	appendAll(t, j, want[20:]...)
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	size, _ := j.Held()
	if err := j.Abandon(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(whole)) < size+1000 {
		t.Fatalf("the file has %d bytes, of which %d are frames: nothing is laid ahead", len(whole), size)
	}
	zeroed := func(from, to int64) []byte {
		b := bytes.Clone(whole)
		clear(b[from:to])
		return b
	}
	garbage := func(from, to int64) []byte {
		b := bytes.Clone(whole)
		rand.Read(b[from:to])
		return b
	}
	lost := c
	lost.Dir = filepath.Join(dir, "lost")
	try := func(name string, content []byte, least int) {
		k, got, damage := open(t, withContent(t, c, lost, path, content))
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbered(want[:len(got)]), got); diff != "" || len(got) < least || len(damage) > 0 {
			t.Errorf("%s: %d records of at least %d, damage %v; no prefix (-want +got):\n%s", name, len(got), least, damage, diff)
		}
	}
	try("as it was", whole, 30)
	for at := synced; at < size; at += 149 {
		try(fmt.Sprintf("cut at %d", at), whole[:at], 20)
		try(fmt.Sprintf("zeros from %d on", at), zeroed(at, size), 20)
		try(fmt.Sprintf("zeros from %d to %d", synced, at), zeroed(synced, at), 20)
		try(fmt.Sprintf("something else from %d on", at), garbage(at, int64(len(whole))), 20)
	}
	k, got, damage := open(t, withContent(t, c, lost, path, zeroed(synced-600, synced-300)))
	defer k.Close()
	if len(damage) != 1 || len(got) < 25 || len(got) > 29 {
		t.Errorf("zeros where something was synced: %d records are left, and the damage is %v", len(got), damage)
	}
}

// withContent makes a copy of a journal of which a file holds something else.
func withContent(t *testing.T, from, to journal.Config, path string, content []byte) journal.Config {
	t.Helper()
	snapshot(t, from.Dir, to.Dir)
	if err := os.WriteFile(filepath.Join(to.Dir, filepath.Base(path)), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}
