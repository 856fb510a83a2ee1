package blockcache_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"parsec/internal/base/id"
	"parsec/internal/client/blockcache"
)

type block struct {
	id     id.Block
	sealed []byte
}

func blocks(n, size int) []block {
	all := make([]block, n)
	for i := range all {
		all[i] = block{id.New[id.Block](), make([]byte, size)}
		rand.Read(all[i].sealed)
	}
	return all
}

func open(t *testing.T, cfg blockcache.Config) *blockcache.Cache {
	t.Helper()
	c, err := blockcache.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func put(t *testing.T, c *blockcache.Cache, all ...block) {
	t.Helper()
	for _, b := range all {
		if err := c.Put(b.id, b.sealed); err != nil {
			t.Fatal(err)
		}
	}
}

// held counts the blocks that are there, and fails for one that is another.
func held(t *testing.T, c *blockcache.Cache, all []block) (n int) {
	t.Helper()
	for i, b := range all {
		got, ok := c.Get(b.id, []byte("before"))
		if !ok {
			continue
		}
		n++
		if !bytes.Equal(got, append([]byte("before"), b.sealed...)) {
			t.Fatalf("block %d is another", i)
		}
	}
	return n
}

func TestBlocksAreThereAlsoForTheNextProcess(t *testing.T) {
	cfg := blockcache.Config{Dir: filepath.Join(t.TempDir(), "c"), SegmentSize: 10_000}
	all := blocks(100, 700)
	c := open(t, cfg)
	if held(t, c, all) != 0 {
		t.Fatal("a new cache holds something")
	}
	put(t, c, all...)
	put(t, c, all[5]) // once more
	for _, closed := range []bool{true, false} {
		if n := held(t, c, all); n != len(all) {
			t.Fatalf("%d of %d blocks are there", n, len(all))
		}
		if closed {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		} // the second process does not close: it was killed
		c = open(t, cfg)
	}
}

func TestTheBudgetIsKeptAndWhatIsUsedStays(t *testing.T) {
	cfg := blockcache.Config{Dir: t.TempDir(), Budget: 100_000, SegmentSize: 10_000}
	c := open(t, cfg)
	used := blocks(5, 1000)
	put(t, c, used...)
	var old []block
	for range 60 {
		some := blocks(10, 1000)
		put(t, c, some...)
		old = append(old, some...)
		if n := held(t, c, used); n != len(used) {
			t.Fatalf("%d of %d blocks that are used again and again are there", n, len(used))
		}
	}
	if size := c.Size(); size > cfg.Budget+cfg.SegmentSize || size != onDisk(t, cfg.Dir) {
		t.Fatalf("the cache takes %d bytes, and %d on the disk, with a budget of %d", size, onDisk(t, cfg.Dir), cfg.Budget)
	}
	if n := held(t, c, old[:300]); n > 0 {
		t.Fatalf("%d of the 300 oldest blocks are there, which nobody used", n)
	}
	if n := held(t, c, old[len(old)-40:]); n != 40 {
		t.Fatalf("%d of the 40 newest blocks are there", n)
	}
}

func onDisk(t *testing.T, dir string) (n int64) {
	t.Helper()
	items, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range items {
		info, err := i.Info()
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

// Whatever a disk does to the files, a block is what was kept or is not there,
// and can be kept anew.
func TestDamagedFilesCostBlocksOnly(t *testing.T) {
	cfg := blockcache.Config{Dir: filepath.Join(t.TempDir(), "c"), SegmentSize: 2000}
	all := blocks(5, 500)
	c := open(t, cfg)
	put(t, c, all...)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(cfg.Dir)
	if err != nil || len(names) < 2 {
		t.Fatalf("%v, %v; want two files at least", names, err)
	}
	for _, name := range names {
		path := filepath.Join(cfg.Dir, name.Name())
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := range whole {
			hurt := bytes.Clone(whole)
			hurt[at] ^= 0xff
			if err := os.WriteFile(path, hurt, 0o600); err != nil {
				t.Fatal(err)
			}
			check(t, cfg, all)
		}
		for length := range whole {
			if err := os.WriteFile(path, whole[:length], 0o600); err != nil {
				t.Fatal(err)
			}
			check(t, cfg, all)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func check(t *testing.T, cfg blockcache.Config, all []block) {
	t.Helper()
	c, err := blockcache.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	held(t, c, all)
	put(t, c, all...)
	if n := held(t, c, all); n != len(all) {
		t.Fatalf("%d of %d blocks are there after they were kept anew", n, len(all))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestManyUseItAtOnce(t *testing.T) {
	c := open(t, blockcache.Config{Dir: t.TempDir(), Budget: 50_000, SegmentSize: 5000})
	var group sync.WaitGroup
	for range 4 {
		all := blocks(300, 300)
		group.Go(func() {
			for i, b := range all {
				if err := c.Put(b.id, b.sealed); err != nil {
					t.Error(err)
				}
				if got, ok := c.Get(all[i/2].id, nil); ok && !bytes.Equal(got, all[i/2].sealed) {
					t.Error("a block is another")
				}
			}
		})
	}
	group.Wait()
}
