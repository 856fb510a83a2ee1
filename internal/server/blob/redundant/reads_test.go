package redundant_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/faulty"
	"parsec/internal/server/blob/redundant"
)

// gets returns how often the members were asked to read.
func (c *cluster) gets() (calls int) {
	for _, m := range c.members {
		calls += m.Calls(faulty.Get)
	}
	return calls
}

func TestARangeIsOneRequestToEachStoreThatHasPartOfIt(t *testing.T) {
	for layout, want := range map[string]int{"@1": 1, "mirror@3": 1, "stripe@3": 1, "erasure:2+1@3": 2, "erasure:3+2@6": 3} {
		t.Run(layout, func(t *testing.T) {
			c := newCluster(t, layout, redundant.Config{Hedge: time.Hour})
			content := noise(5<<20 + 1)
			key := c.put(t, content)
			got, err := c.read(key, 0, len(content))
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
			if got := c.gets(); got != want {
				t.Errorf("%d reads of stores, want %d", got, want)
			}
		})
	}
}

// What befalls a store in the middle of what it sends is read around, and
// every byte before and behind it is right.
func TestAStoreThatFailsWhileItSendsIsReadAround(t *testing.T) {
	flip := func(at int64, b []byte) { faulty.Flip(1<<20)(at, b) }
	for name, f := range map[string]faulty.Fault{
		"it ends":  {Err: away(), After: 600_000},
		"it rots":  {Rot: flip},
		"it hangs": {Stall: make(chan struct{}), After: 600_000},
	} {
		for _, layout := range []string{"mirror@3", "erasure:2+1@3"} {
			t.Run(layout+", "+name, func(t *testing.T) {
				c := newCluster(t, layout, redundant.Config{Hedge: time.Millisecond})
				content := noise(4 << 20)
				key := c.put(t, content)
				first := c.first(t, key, content)
				if layout == "mirror@3" { // then only one other has it
					c.members[(first+1)%3].Fail(away())
				}
				c.members[first].Inject(faulty.Get, f)
				r, err := c.Get(t.Context(), key, 10, int64(len(content)-10))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, content[10:]) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
			})
		}
	}
}

// counting counts the readers that are open.
type counting struct {
	blob.Store
	open atomic.Int64
}

type counted struct {
	io.ReadCloser
	open *atomic.Int64
}

func (s *counting) Get(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error) {
	r, err := s.Store.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	s.open.Add(1)
	return counted{r, &s.open}, nil
}

func (r counted) Close() error {
	r.open.Add(-1)
	return r.ReadCloser.Close()
}

func TestAReaderThatIsClosedEarlyLeavesNothingOpen(t *testing.T) {
	for layout := range layouts() {
		t.Run(layout, func(t *testing.T) {
			var counts []*counting
			c := newClusterOver(t, layout, redundant.Config{Hedge: time.Millisecond}, func(s blob.Store) blob.Store {
				counts = append(counts, &counting{Store: s})
				return counts[len(counts)-1]
			})
			content := noise(4 << 20)
			key := c.put(t, content)
			for _, n := range []int{0, 1, 1 << 20, len(content)} {
				r, err := c.Get(t.Context(), key, 0, int64(len(content)))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(r, make([]byte, n)); err != nil {
					t.Fatal(err)
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				if _, err := r.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
					t.Errorf("reading on after closing: %v", err)
				}
			}
			c.wait(t, func() bool { // for those that were overtaken
				for _, s := range counts {
					if s.open.Load() != 0 {
						return false
					}
				}
				return true
			})
		})
	}
}

func TestAReadWhoseContextEndsFailsAndDoesNotEnd(t *testing.T) {
	c := newCluster(t, "erasure:2+1@3", redundant.Config{})
	content := noise(4 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := c.Get(ctx, c.put(t, content), 0, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel()
	if n, err := io.Copy(io.Discard, r); !fault.Is(err, fault.Canceled) {
		t.Errorf("got %d bytes, %v", n, err)
	}
}
