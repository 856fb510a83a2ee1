package metatest

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
)

// place is the environment variable that makes a test binary the victim of [kill].
const place = "PARSEC_METATEST_PLACE"

// Main is a TestMain. It runs the tests, and it lets the test binary be
// started again as a process that writes until it is killed.
func Main(m *testing.M, open Open) {
	at := os.Getenv(place)
	if at == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, victim(at, open))
	os.Exit(1)
}

// victim writes until it fails, and says after each write which it was.
func victim(at string, open Open) error {
	ctx := context.Background()
	s, err := open(ctx, at)
	if err != nil {
		return err
	}
	for {
		var index uint64
		if err := s.Write(ctx, func(tx meta.Tx) (err error) {
			index, err = step(tx)
			return err
		}); err != nil {
			return err
		}
		fmt.Println(index)
	}
}

// step appends a commit with its entries and blocks: writes of many tables
// that belong together.
func step(tx meta.Tx) (uint64, error) {
	o, err := tx.Organizations().ByName("Acme")
	if err != nil {
		return 0, err
	}
	w, _, err := tx.Workspaces().Lock(o.Key, id.Workspace{1})
	if err != nil {
		return 0, err
	}
	index := w.Position.Index + 1
	records := chained(w.Position, fmt.Sprint(index))
	w.Position = records[0].Position
	changes := make([]meta.Change, 20)
	blocks := make([]meta.Block, 20)
	for i := range changes {
		n := index*100 + uint64(i)
		changes[i] = meta.Change{Entry: numbered(n), Number: 1, Base: 1, Sealed: make([]byte, 300)}
		blocks[i] = meta.Block{ID: id.Block(numbered(n)), Length: 10}
	}
	pack := meta.Pack{ID: id.Pack(numbered(index)), Size: 200}
	if _, err := tx.Blocks().Add(w.Key, pack, blocks); err != nil {
		return 0, err
	}
	if err := tx.Entries().Put(w.Key, index, changes); err != nil {
		return 0, err
	}
	if err := tx.Logs().Append(w.Key.Log(), records); err != nil {
		return 0, err
	}
	return index, tx.Workspaces().Update(w)
}

func numbered(n uint64) (e id.Entry) {
	binary.BigEndian.PutUint64(e[8:], n)
	return e
}

// kill kills a process in the middle of its writes, several times, and finds
// everything that it said was written, whole.
func kill(t *testing.T, a Adapter) {
	at := a.New(t)
	s := a.open(t, at)
	o := s.newOrganization(t, "Acme")
	s.write(t, func(tx meta.Tx) error {
		_, err := tx.Workspaces().Create(meta.Workspace{ID: id.Workspace{1}, Key: meta.WorkspaceKey{Organization: o}})
		return err
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, after := range []int{1, 7, 30} {
		told := killAfter(t, at, after)
		s := a.open(t, at)
		s.read(t, func(tx meta.Tx) error { return whole(t, tx, o, told) })
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter runs the victim until it told of so many writes, kills it, and
// returns the last write of which it told.
func killAfter(t *testing.T, at string, writes int) (told uint64) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), place+"="+at)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 1; lines.Scan(); n++ {
		if told, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
		if n == writes {
			c.Process.Kill()
		}
	}
	if err := c.Wait(); err == nil || told == 0 {
		t.Fatalf("the victim ended by itself: %v", err)
	}
	return told
}

// whole checks that all writes are there, up to the one told at least, and
// each with all its parts.
func whole(t *testing.T, tx meta.Tx, o meta.OrganizationKey, told uint64) error {
	w, err := tx.Workspaces().Get(o, id.Workspace{1})
	if err != nil {
		return err
	}
	newest := w.Position.Index
	if newest < told {
		t.Errorf("the newest write is %d, but %d was told", newest, told)
	}
	records, err := tx.Logs().Since(w.Key.Log(), 0, 1<<20)
	if err != nil {
		return err
	}
	position := record.Position{}
	for _, r := range records {
		position = position.Next(r.Digest)
		same(t, "position", r.Position, position)
	}
	same(t, "newest position", position, w.Position)
	stats, err := tx.Organizations().Stats(o)
	if err != nil {
		return err
	}
	same(t, "stats", stats, meta.Stats{
		Workspaces: 1, Records: newest, Manifests: 20 * newest, ManifestBytes: 6000 * newest,
		Blocks: 20 * newest, BlockBytes: 200 * newest, Packs: newest,
	})
	chains, err := tx.Entries().Changed(w.Key, 0, meta.Cursor{}, 1<<30)
	same(t, "entries", uint64(len(chains)), 20*newest)
	return err
}
