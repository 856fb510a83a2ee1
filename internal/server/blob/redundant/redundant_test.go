package redundant_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/blobtest"
	"parsec/internal/server/blob/faulty"
	"parsec/internal/server/blob/file"
	"parsec/internal/server/blob/redundant"
	"parsec/internal/server/blob/s3"
	"parsec/internal/server/blob/swift"
	"parsec/internal/server/meta"
	"parsec/internal/server/meta/sqlite"
	"parsec/internal/services"
)

// cluster is a store over three or more folders, each of which can fail.
type cluster struct {
	*redundant.Store
	rows    meta.Store
	members []*faulty.Store
}

// Close closes the database too.
func (c *cluster) Close() error { return errors.Join(c.Store.Close(), c.rows.Close()) }

// openMember opens the object store at a folder or URL.
func openMember(ctx context.Context, place string) (blob.Store, error) {
	switch scheme, _, _ := strings.Cut(place, ":"); scheme {
	case "s3":
		c, err := s3.ParseURL(place)
		if err != nil {
			return nil, err
		}
		return s3.Open(ctx, c)
	case "swift":
		c, err := swift.ParseURL(place)
		if err != nil {
			return nil, err
		}
		return swift.Open(ctx, c)
	}
	return file.Open(ctx, file.Config{Path: place})
}

// openAt opens a cluster whose layout and number of stores stand in the name
// of its folder. The URLs of the first stores may stand behind it; the others
// are folders.
func openAt(ctx context.Context, place string, more redundant.Config) (*cluster, error) {
	return openOver(ctx, place, more, func(s blob.Store) blob.Store { return s })
}

// openOver opens a cluster whose stores something stands before.
func openOver(ctx context.Context, place string, more redundant.Config, over func(blob.Store) blob.Store) (*cluster, error) {
	urls := strings.Split(place, "|")
	place, urls = urls[0], urls[1:]
	layout, number, _ := strings.Cut(filepath.Base(place), "@")
	var stores int
	if _, err := fmt.Sscan(number, &stores); err != nil {
		return nil, err
	}
	l, err := redundant.ParseLayout(layout, stores)
	if err != nil {
		return nil, err
	}
	rows, err := sqlite.Open(ctx, sqlite.Config{Path: place + ".sqlite"})
	if err != nil {
		return nil, err
	}
	c := &cluster{rows: rows}
	var members []redundant.Member
	for i := range stores {
		at := fmt.Sprint(place, i)
		if i < len(urls) {
			at = urls[i]
		}
		s, err := openMember(ctx, at)
		if err != nil {
			return nil, err
		}
		c.members = append(c.members, faulty.New(over(s)))
		m := redundant.Member{Name: fmt.Sprint(i), Store: c.members[i]}
		if err := rows.Write(ctx, func(tx meta.Tx) error {
			m.ID, err = tx.ObjectStores().Register(m.Name)
			return err
		}); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	more.Layout = l
	c.Store, err = redundant.New(rows, members, more)
	return c, err
}

func open(ctx context.Context, place string) (blob.Store, error) {
	return openAt(ctx, place, redundant.Config{})
}

func TestMain(m *testing.M) { blobtest.Main(m, open) }

// layouts are those that tests run over, with how many stores may be lost.
func layouts() map[string]int {
	return map[string]int{"@1": 0, "mirror@3": 2, "stripe@3": 0, "erasure:2+1@3": 1, "erasure:3+2@6": 2}
}

func TestEveryLayoutKeepsTheContract(t *testing.T) {
	for layout := range layouts() {
		t.Run(layout, func(t *testing.T) {
			blobtest.Run(t, blobtest.Adapter{
				New:  func(t *testing.T) string { return filepath.Join(t.TempDir(), layout) },
				Open: open,
			})
		})
	}
}

// Stores of all kinds go together, as they are with several providers.
func TestStoresOfDifferentKindsKeepTheContractTogether(t *testing.T) {
	blobtest.Run(t, blobtest.Adapter{
		New: func(t *testing.T) string {
			return strings.Join([]string{filepath.Join(t.TempDir(), "erasure:2+1@3"), services.S3(t), services.Swift(t)}, "|")
		},
		Open: open,
	})
}

func newCluster(t *testing.T, layout string, c redundant.Config) *cluster {
	t.Helper()
	return newClusterOver(t, layout, c, func(s blob.Store) blob.Store { return s })
}

func newClusterOver(t *testing.T, layout string, c redundant.Config, over func(blob.Store) blob.Store) *cluster {
	t.Helper()
	s, err := openOver(t.Context(), filepath.Join(t.TempDir(), layout), c, over)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newKey() blob.Key {
	return blob.Key{Scope: blob.Scope{Organization: id.Fingerprint{1}, Workspace: id.New[id.Workspace]()}, Pack: id.New[id.Pack]()}
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func (c *cluster) put(t *testing.T, content []byte) blob.Key {
	t.Helper()
	key := newKey()
	if err := c.Put(t.Context(), key, [][]byte{content}); err != nil {
		t.Fatal(err)
	}
	return key
}

func (c *cluster) read(key blob.Key, offset, length int) ([]byte, error) {
	r, err := c.Get(context.Background(), key, int64(offset), int64(length))
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(r)
	return got, errors.Join(err, r.Close())
}

// check reads a pack whole and in a few ranges.
func (c *cluster) check(t *testing.T, key blob.Key, want []byte) {
	t.Helper()
	for _, span := range [][2]int{{0, len(want)}, {1, 1}, {len(want) / 2, 70_000}, {len(want) - 5, 5}} {
		offset, length := span[0], min(span[1], len(want)-span[0])
		got, err := c.read(key, offset, length)
		if err != nil || !bytes.Equal(got, want[offset:offset+length]) {
			t.Errorf("bytes %d to %d: got %d bytes, %v", offset, offset+length, len(got), err)
		}
	}
}

// away is what befalls a store that is gone.
func away() error { return fault.Errorf(fault.Unreachable, "the store is away") }

// subsets calls fn for every choice of n of the members.
func (c *cluster) subsets(n int, fn func(chosen []int)) {
	for bits := range 1 << len(c.members) {
		var chosen []int
		for i := range c.members {
			if bits>>i&1 == 1 {
				chosen = append(chosen, i)
			}
		}
		if len(chosen) == n {
			fn(chosen)
		}
	}
}

func TestWhatWasStoredIsReadWithTheStoresLostThatMayBe(t *testing.T) {
	for layout, lost := range layouts() {
		t.Run(layout, func(t *testing.T) {
			c := newCluster(t, layout, redundant.Config{})
			content := noise(700_001)
			key := c.put(t, content)
			c.check(t, key, content)
			c.subsets(lost, func(chosen []int) {
				for _, i := range chosen {
					c.members[i].Fail(away())
				}
				c.check(t, key, content)
				for _, m := range c.members {
					m.Heal()
				}
			})
			for _, m := range c.members {
				m.Fail(away())
			}
			if _, err := c.read(key, 0, len(content)); !fault.Is(err, fault.Unreachable) {
				t.Errorf("with all stores away: %v", err)
			}
		})
	}
}

func TestWhatAStoreRefusedIsNotAcknowledged(t *testing.T) {
	for layout := range layouts() {
		for _, persisted := range []bool{false, true} {
			t.Run(fmt.Sprint(layout, " persisted: ", persisted), func(t *testing.T) {
				c := newCluster(t, layout, redundant.Config{})
				for _, m := range c.members {
					m.Inject(faulty.Put, faulty.Fault{Err: away(), Persisted: persisted})
				}
				key, content := newKey(), noise(300_000)
				if err := c.Put(t.Context(), key, [][]byte{content}); !fault.Is(err, fault.Unreachable) {
					t.Errorf("all stores refused: %v", err)
				}
				for _, m := range c.members {
					m.Heal()
				}
				if err := c.Put(t.Context(), key, [][]byte{content}); err != nil {
					t.Fatal(err)
				}
				c.check(t, key, content)
			})
		}
	}
}

func TestWithAQuorumWhatIsMissingIsQueuedBeforeThePackIsAcknowledged(t *testing.T) {
	for layout, quorum := range map[string]int{"mirror@3": 1, "erasure:3+2@6": 3} {
		for _, persisted := range []bool{false, true} {
			t.Run(fmt.Sprint(layout, " persisted: ", persisted), func(t *testing.T) {
				c := newCluster(t, layout, redundant.Config{Quorum: quorum})
				for _, m := range c.members[:2] {
					m.Inject(faulty.Put, faulty.Fault{Err: away(), Persisted: persisted})
				}
				content := noise(300_000)
				var keys []blob.Key
				for range 5 { // so that some have parts at the stores that fail
					keys = append(keys, c.put(t, content))
				}
				if len(c.queued(t)) < 2 {
					t.Error("nothing is queued")
				}
				for _, m := range c.members {
					m.Heal()
				}
				if err := c.Mend(t.Context()); err != nil {
					t.Fatal(err)
				}
				if left := c.queued(t); len(left) > 0 {
					t.Errorf("%d repairs are left", len(left))
				}
				c.subsets(len(c.members)-(layoutOf(layout).Data+len(c.members)-layoutOf(layout).Parts()), func(chosen []int) {
					for _, i := range chosen {
						c.members[i].Fail(away())
					}
					for _, key := range keys {
						c.check(t, key, content)
					}
					for _, m := range c.members {
						m.Heal()
					}
				})
				for _, m := range c.members[:3] {
					m.Fail(away())
				}
				if layout == "mirror@3" {
					if err := c.Put(t.Context(), newKey(), [][]byte{content}); err == nil {
						t.Error("acknowledged what all stores refused")
					}
				}
			})
		}
	}
}

func layoutOf(place string) redundant.Layout {
	layout, _, _ := strings.Cut(place, "@")
	l, err := redundant.ParseLayout(layout, int(place[len(place)-1]-'0'))
	if err != nil {
		panic(err)
	}
	return l
}

func (c *cluster) queued(t *testing.T) (all []meta.Repair) {
	t.Helper()
	if err := c.rows.Read(t.Context(), func(tx meta.Tx) (err error) {
		all, err = tx.Placements().Queued(meta.Repair{}, 1000)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRottenBytesAreReadAroundAndMended(t *testing.T) {
	for _, layout := range []string{"mirror@3", "erasure:2+1@3"} {
		t.Run(layout, func(t *testing.T) {
			c := newCluster(t, layout, redundant.Config{})
			content := noise(700_000)
			key := c.put(t, content)
			// Another content under the same name, as long as the right one.
			ctx := t.Context()
			rotten := c.first(t, key, content)
			size, err := c.members[rotten].Size(ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.members[rotten].Delete(ctx, key), c.members[rotten].Put(ctx, key, [][]byte{make([]byte, size)})); err != nil {
				t.Fatal(err)
			}
			for range 20 { // whichever store is asked first
				c.check(t, key, content)
			}
			run, stop := context.WithCancel(ctx)
			done := make(chan error)
			go func() { done <- c.Run(run) }()
			c.wait(t, func() bool {
				if err := c.Mend(ctx); err != nil {
					t.Error(err)
				}
				r, err := c.members[rotten].Get(ctx, key, 0, size)
				if err != nil {
					return false
				}
				defer r.Close()
				got, err := io.ReadAll(r)
				return err == nil && !bytes.Equal(got, make([]byte, size))
			})
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
			for i := range layoutOf(layout).Parity {
				c.members[(rotten+1+i)%len(c.members)].Fail(away())
			}
			c.check(t, key, content)
		})
	}
}

// first returns a member that holds the beginning of a pack as it is: no read goes
// by it. The parity of an erasure code is not asked for while nothing is wrong.
func (c *cluster) first(t *testing.T, key blob.Key, content []byte) int {
	t.Helper()
	for i, m := range c.members {
		r, err := m.Get(t.Context(), key, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(got, content[:1000]) {
			return i
		}
	}
	t.Fatal("no member holds the beginning")
	return 0
}

// wait polls until something holds.
func (c *cluster) wait(t *testing.T, holds func() bool) {
	t.Helper()
	end := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-end:
			t.Fatal("it does not come about")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestASlowStoreIsReadAround(t *testing.T) {
	for _, layout := range []string{"mirror@3", "erasure:2+1@3"} {
		t.Run(layout, func(t *testing.T) {
			c := newCluster(t, layout, redundant.Config{Hedge: time.Millisecond})
			content := noise(300_000)
			key := c.put(t, content)
			c.members[1].Inject(faulty.Get, faulty.Fault{Wait: make(chan struct{})})
			for range 5 {
				c.check(t, key, content)
			}
		})
	}
}

func TestASmallReadReadsLittle(t *testing.T) {
	c := newCluster(t, "erasure:2+1@3", redundant.Config{Hedge: time.Hour})
	key := c.put(t, noise(4<<20))
	if _, err := c.read(key, 1<<20, 1000); err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, m := range c.members {
		calls += m.Calls(faulty.Get)
	}
	if calls != 1 {
		t.Errorf("%d reads for a range in one part", calls)
	}
}

func TestLayoutsThatCannotBeAreRefused(t *testing.T) {
	for _, l := range []struct {
		text   string
		stores int
	}{{"", 2}, {"mirror", 1}, {"stripe", 1}, {"erasure:2+1", 2}, {"erasure:1+1", 3}, {"erasure:2+0", 3}, {"erasure:2+1x", 3}, {"raid", 3}} {
		if got, err := redundant.ParseLayout(l.text, l.stores); !fault.Is(err, fault.Usage) {
			t.Errorf("%q over %d stores: %v, %v", l.text, l.stores, got, err)
		}
	}
	if _, err := openAt(t.Context(), filepath.Join(t.TempDir(), "erasure:2+1@3"), redundant.Config{Quorum: 1}); !fault.Is(err, fault.Usage) {
		t.Errorf("a quorum that cannot be read back: %v", err)
	}
}
