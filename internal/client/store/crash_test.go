package store_test

import (
	"bufio"
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/store"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
)

// What tells a second process to write to a store until it is killed.
const (
	writerDir    = "PARSEC_TEST_DIR"
	writerDevice = "PARSEC_TEST_DEVICE"
	writerKey    = "PARSEC_TEST_KEY"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		fmt.Println("stopped:", writeForever(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// perRound is how many rows of each kind one cached update of the writer has.
const perRound = 60

// writeForever adds record after record to a log and, behind it, entries to
// the cache, and says on its output what is acknowledged.
func writeForever(dir string) error {
	ctx := context.Background()
	device, err := id.Parse[id.Device](os.Getenv(writerDevice))
	if err != nil {
		return err
	}
	key, err := hex.DecodeString(os.Getenv(writerKey))
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, dir, device, secret.Key(key))
	if err != nil {
		return err
	}
	w := writersWorkspace()
	at, err := s.State.Position(ctx, w)
	if err != nil {
		return err
	}
	for {
		r := records(at.Index, 1)[0]
		at = record.Position{Index: r.Index, Head: r.Head}
		if err := writeRound(ctx, s, w, r, at); err != nil {
			return err
		}
	}
}

func writersWorkspace() id.Workspace { return id.Workspace{1} }

func writeRound(ctx context.Context, s *store.Store, w id.Workspace, r store.Record, at record.Position) error {
	err := s.State.Update(ctx, func(tx *store.StateTx) error {
		_, err := tx.Queue(store.Pending{Workspace: w, Request: make([]byte, 20_000)})
		return errors.Join(err, tx.Append(w, r), tx.PutWorkspace(store.Workspace{Workspace: w, Position: at}))
	})
	if err != nil {
		return err
	}
	fmt.Println("state", at.Index)
	err = s.Cache.Update(ctx, w, func(tx *store.CacheTx) error {
		for range perRound {
			e := id.New[id.Entry]()
			err := errors.Join(
				tx.PutVersions(store.Version{Entry: e, Number: 1, Base: 1, Index: at.Index, Manifest: make([]byte, 300)}),
				tx.PutChildren(store.Child{Folder: id.RootEntry(w), Name: e.String(), Entry: e, Kind: manifest.File}))
			if err != nil {
				return err
			}
		}
		mark, err := tx.Mark()
		if err != nil || mark.Position.Index > at.Index {
			return fmt.Errorf("mark %d before %d: %w", mark.Position.Index, at.Index, err)
		}
		return tx.PutMark(store.Mark{Position: at, Manifests: mark.Manifests + 1})
	})
	fmt.Println("cache", at.Index)
	return err
}

// acknowledged is the newest index that a killed writer reported.
type acknowledged struct{ state, cache uint64 }

// killWriter starts a writer and kills it behind its n-th report.
func killWriter(t *testing.T, p place, n int) acknowledged {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(),
		writerDir+"="+p.dir, writerDevice+"="+p.device.String(), writerKey+"="+hex.EncodeToString(p.key[:]))
	out, err := child.StdoutPipe()
	check(t, err)
	check(t, child.Start())
	var last acknowledged
	for lines := bufio.NewScanner(out); lines.Scan(); n-- {
		if n == 0 {
			check(t, child.Process.Kill())
		}
		var what string
		var index uint64
		if _, err := fmt.Sscan(lines.Text(), &what, &index); err != nil {
			t.Fatalf("the writer says %q", lines.Text())
		}
		if what == "state" {
			last.state = index
		} else {
			last.cache = index
		}
	}
	if err := child.Wait(); !strings.Contains(fmt.Sprint(err), "killed") {
		t.Fatalf("the writer ended with %v", err)
	}
	return last
}

func TestAKilledWriterLeavesAPrefixOfItsUpdates(t *testing.T) {
	ctx := t.Context()
	p := newPlace(t)
	check(t, p.create(t).Close())
	w := writersWorkspace()
	for range 8 {
		last := killWriter(t, p, 1+rand.IntN(20))
		s := p.open(t)
		at := must(s.State.Position(ctx, w))(t)
		if at.Index < last.state {
			t.Fatalf("the state ends at %d, and %d was acknowledged", at.Index, last.state)
		}
		known, _, err := s.State.Workspace(ctx, w)
		check(t, err)
		same(t, known.Position, at)
		same(t, collect(t, s.State.Records(ctx, w, 0)), records(0, int(at.Index)))
		if n := len(collect(t, s.State.Outbox(ctx))); n != int(at.Index) {
			t.Errorf("%d requests for %d records", n, at.Index)
		}
		mark := must(s.Cache.Mark(ctx, w))(t)
		if mark.Position.Index > at.Index || mark.Position.Index < last.cache {
			t.Errorf("the cache is at %d, the state at %d, and %d was acknowledged", mark.Position.Index, at.Index, last.cache)
		}
		if n := len(collect(t, s.Cache.Entries(ctx, w))); n != perRound*int(mark.Manifests) {
			t.Errorf("%d entries after %d updates", n, mark.Manifests)
		}
		if n := len(collect(t, s.Cache.Children(ctx, w, id.RootEntry(w), ""))); n != perRound*int(mark.Manifests) {
			t.Errorf("%d children after %d updates", n, mark.Manifests)
		}
		check(t, s.Close())
	}
}

// Power loss leaves each database at its last full sync, with whatever of the rest:
// nothing, a part, noise, or a hole where the file had grown. Every update of the
// state that was answered is there; of the cache anything may be, and it opens.
func TestPowerLossLeavesAllThatTheStateAcknowledged(t *testing.T) {
	p := newPlace(t)
	s := p.create(t)
	w := id.New[id.Workspace]()
	const updates = 12
	var synced [updates]int64
	logOf := func(dir, name string) string { return filepath.Join(dir, name+".db-wal") }
	for i := range updates {
		update(t, s, func(tx *store.StateTx) error { return tx.Append(w, records(uint64(i), 1)...) })
		info, err := os.Stat(logOf(p.dir, "state"))
		check(t, err)
		synced[i] = info.Size()
		cache(t, s, w, func(tx *store.CacheTx) error {
			return tx.PutVersions(store.Version{Entry: id.New[id.Entry](), Number: 1, Base: 1, Manifest: make([]byte, 300)})
		})
	}
	tails := map[string]func([]byte) []byte{
		"nothing": func([]byte) []byte { return nil },
		"a part":  func(tail []byte) []byte { return tail[:len(tail)/2] },
		"noise":   func(tail []byte) []byte { crand.Read(tail); return tail },
		"a hole":  func(tail []byte) []byte { return make([]byte, len(tail)) },
	}
	for i := range updates {
		for what, tail := range tails {
			lost := place{dir: t.TempDir(), device: p.device, key: p.key}
			for _, name := range []string{"state", "cache"} {
				whole, err := os.ReadFile(logOf(p.dir, name))
				check(t, err)
				at := min(synced[i], int64(len(whole)))
				check(t, os.WriteFile(logOf(lost.dir, name), append(whole[:at:at], tail(slices.Clone(whole[at:]))...), 0o600))
				database, err := os.ReadFile(filepath.Join(p.dir, name+".db"))
				check(t, err)
				check(t, os.WriteFile(filepath.Join(lost.dir, name+".db"), database, 0o600))
			}
			left := lost.open(t)
			got := collect(t, left.State.Records(t.Context(), w, 0))
			if len(got) <= i {
				t.Errorf("%s behind update %d: %d records are left", what, i+1, len(got))
			}
			same(t, got, records(0, len(got)))
			update(t, left, func(tx *store.StateTx) error { return tx.Append(w, records(uint64(len(got)), 1)...) })
			check(t, left.Close())
		}
	}
}

func TestAFullDiskIsNamedAndLosesNothing(t *testing.T) {
	ctx := t.Context()
	p := newPlace(t)
	s := p.create(t)
	w := id.New[id.Workspace]()
	update(t, s, func(tx *store.StateTx) error { return tx.Append(w, records(0, 3)...) })
	check(t, s.LimitPages(ctx, 40))
	request := store.Pending{Request: make([]byte, 1<<20)}
	queue := func() error {
		return s.State.Update(ctx, func(tx *store.StateTx) error {
			_, err := tx.Queue(request)
			return errors.Join(tx.Append(w, records(3, 1)...), err)
		})
	}
	fill := func() error {
		return s.Cache.Update(ctx, w, func(tx *store.CacheTx) error {
			return tx.PutVersions(store.Version{Entry: id.RootEntry(w), Number: 1, Base: 1, Manifest: request.Request})
		})
	}
	deaf := func() error {
		return s.State.Update(ctx, func(tx *store.StateTx) error {
			tx.Queue(request)
			tx.Append(w, records(3, 1)...)
			return nil
		})
	}
	for name, write := range map[string]func() error{
		"the state": queue, "the cache": fill, "a caller who does not listen": deaf,
	} {
		if err := write(); !fault.Is(err, fault.Full) || fault.HintOf(err) == "" || store.IsDamaged(err) {
			t.Errorf("%s: got %v (hint %q)", name, err, fault.HintOf(err))
		}
	}
	same(t, collect(t, s.State.Records(ctx, w, 0)), records(0, 3))
	check(t, s.LimitPages(ctx, 0))
	check(t, queue())
	check(t, fill())
	s = p.reopen(t, s)
	same(t, collect(t, s.State.Records(ctx, w, 0)), records(0, 4))
}
