package convergence_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/client/syncer"
)

// distance is a wide network between the two ends of a connection: what is sent
// arrives later, in order, and what is lost on the way is sent again by whoever
// carries it, so that all behind it comes later still.
type distance struct {
	// delay is how long a segment is under way.
	delay time.Duration
	// loss is the part of all segments that are lost; each costs a retransmission.
	loss float64
	// stalls is after how many more segments nothing goes on in any connection
	// there is; 0 for never.
	stalls atomic.Int64

	mu     sync.Mutex // guards chance
	chance *rand.Rand
	moving sync.WaitGroup
}

// Sizes of a network as there are many.
const (
	segment        = 1400                   // bytes
	retransmission = 200 * time.Millisecond // after a loss, beside another delay
	window         = 1 << 10                // segments under way at once
)

// newDistance returns a wide network, which the test's end waits for.
func newDistance(t *testing.T, delay time.Duration, loss float64) *distance {
	d := &distance{delay: delay, loss: loss, chance: rand.New(rand.NewPCG(1, 2))}
	t.Cleanup(d.moving.Wait)
	return d
}

// pipe returns the two ends of a connection.
func (d *distance) pipe() (here, there net.Conn) {
	here, near := net.Pipe()
	far, there := net.Pipe()
	d.moving.Go(func() { d.move(near, far) })
	d.moving.Go(func() { d.move(far, near) })
	return here, there
}

// packet is what is under way.
type packet struct {
	bytes   []byte
	arrives time.Time
}

// move takes one direction of a connection to its end.
func (d *distance) move(from, to net.Conn) {
	way := make(chan packet, window)
	d.moving.Go(func() {
		for p := range way {
			// Not by a timer: with many of them in virtual time, the race detector of
			// Go 1.26 corrupts its memory every few runs.
			time.Sleep(time.Until(p.arrives))
			if _, err := to.Write(p.bytes); err != nil {
				break
			}
		}
		_ = errors.Join(to.Close(), from.Close()) // of pipes, which cannot fail
		for range way {                           // what nobody hears any more
		}
	})
	defer close(way)
	last := time.Now()
	for {
		b := make([]byte, segment)
		n, err := from.Read(b)
		if n > 0 && !d.stalled() {
			if at := time.Now().Add(d.late()); at.After(last) {
				last = at
			}
			way <- packet{b[:n], last}
		}
		if err != nil { // io.EOF or a closed pipe
			return
		}
	}
}

// stalled says that a segment gets nowhere, and nothing after it.
func (d *distance) stalled() bool {
	switch left := d.stalls.Load(); {
	case left == 0:
		return false
	case left == 1:
		return true
	}
	return d.stalls.Add(-1) == 1
}

// late returns how long a segment is under way.
func (d *distance) late() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	late := d.delay
	for d.chance.Float64() < d.loss {
		late += d.delay + retransmission
	}
	return late
}

func TestWorkGoesThroughANetworkThatIsFarAndLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		alice, bob := newWorld(t, net, "bob").share(t.Context(), t)
		net.far = newDistance(t, 100*time.Millisecond, 0.01)
		alice.Server().Close()
		bob.Server().Close()
		for round := range 3 {
			for i := range 20 {
				alice.write(fmt.Sprint("of alice ", i), fmt.Sprint(i, round))
				bob.write(fmt.Sprint("of bob ", i), fmt.Sprint(i, round))
			}
			alice.write("large", fmt.Sprint(large, round))
			finish(t, alice, bob)
			if got := same(t, alice, bob); len(got) != 41 || got["/large"] != fmt.Sprint(large, round) {
				t.Fatalf("round %d: %d files are there", round, len(got))
			}
		}
	})
}

func TestALineThatStallsIsLeftAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		net := newNetwork()
		alice, bob := newWorld(t, net, "bob").share(ctx, t)
		net.far = newDistance(t, time.Millisecond, 0)
		alice.Server().Close()
		stalls := 0
		for n := int64(2); ; n += 300 {
			alice.write("large", fmt.Sprint(large, n))
			alice.settle()
			net.far.stalls.Store(n)
			err := alice.sync.Sync(ctx)
			stalled := net.far.stalls.Swap(0) == 1
			if !stalled {
				alice.ok(err)
				break
			}
			stalls++
			if err != nil && !fault.Is(err, fault.Unreachable) {
				t.Fatalf("stalled after %d segments: %v", n-1, err)
			}
			if st := alice.sync.Status(ctx); err != nil && (st.State != syncer.Offline || st.Pending == 0 || st.Reason == "") {
				t.Errorf("stalled after %d segments, the status is %+v", n-1, st)
			}
			alice.ok(alice.sync.Finish(ctx))
			bob.ok(bob.sync.Finish(ctx))
			if got := same(t, alice, bob); got["/large"] != fmt.Sprint(large, n) {
				t.Fatalf("stalled after %d segments, %d files are there", n-1, len(got))
			}
		}
		if stalls < 5 {
			t.Errorf("the line stalled %d times", stalls)
		}
	})
}
