package convergence_test

import (
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"parsec/internal/client/clienttest"
	"parsec/internal/format/record"
	"parsec/internal/server/rpc"
	"parsec/internal/server/servertest"
)

// How many cases are played in virtual time, and which: each group of `group`
// cases is that of a seed of its own, from -seed on.
var (
	cases = flag.Int("cases", 6, "cases of each property in virtual time")
	first = flag.Uint64("seed", 0, "seed of the first group of cases; 0 for any")
	real  = flag.Int("real", 2, "cases of each property over real connections, in real time")
)

// group is how many cases share a server and its devices, which grow with each.
const group = 400

// memory is where a machine has files that are on no disk.
const memory = "/dev/shm"

func TestMain(m *testing.M) {
	flag.Parse()
	if _, err := os.Stat(memory); err == nil {
		if err := os.Setenv("TMPDIR", memory); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// checker is a test for rapid, which must not ask it for a deadline in virtual time.
type checker struct{ *testing.T }

// check checks a property with so many cases.
func check(t *testing.T, n int, seed uint64, property func(*rapid.T)) {
	t.Helper()
	set := func(name, value string) {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	set("rapid.checks", strconv.Itoa(n))
	set("rapid.seed", strconv.FormatUint(seed, 10))
	set("rapid.nofailfile", "true")
	rapid.Check(checker{t}, property)
}

// inVirtualTime checks a property group by group.
func inVirtualTime(t *testing.T, how turns) {
	for i := 0; i < *cases; i += group {
		seed := *first
		if seed != 0 {
			seed += uint64(i / group)
		}
		t.Run(fmt.Sprint("group ", i/group), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, newNetwork(), everybody...)
				check(t, min(group, *cases-i), seed, func(r *rapid.T) { run(t.Context(), r, w, how) })
			})
		})
	}
}

func TestDevicesConverge(t *testing.T) { inVirtualTime(t, atOnce) }

func TestWhoTakesTurnsHasNoConflicts(t *testing.T) { inVirtualTime(t, inTurns) }

func TestBothHoldOverRealConnections(t *testing.T) {
	w := newWorld(t, nil, everybody...)
	check(t, *real, *first, func(r *rapid.T) { run(t.Context(), r, w, atOnce) })
	w.play = nil
	check(t, *real, *first, func(r *rapid.T) { run(t.Context(), r, w, inTurns) })
}

// world is what plays share: a server, and devices with their lines to it.
type world struct {
	t       *testing.T
	net     *network
	server  *servertest.Server
	devices []*device
	// fresh is another of alice's, which sees a workspace when all is done.
	fresh *device
	// play is what goes on in the workspace of the last case, nil if nothing does.
	play *play
	// people counts those who were enrolled.
	people int
}

// plenty is a rate that no run reaches.
const plenty = 1_000_000

// everybody is who has a device beside alice, and alice's second one.
var everybody = []string{"bob", laptop, "carol", "dave"}

const laptop = "laptop"

// newWorld makes the devices of all runs: alice's, and those of others by their
// names. Their network is within this process, or where it is nil that of the machine.
func newWorld(t *testing.T, in *network, others ...string) *world {
	t.Helper()
	w := &world{t: t, net: in}
	cfg := servertest.Config{Network: rpc.Config{
		AddressRate: plenty, AddressBurst: plenty, DeviceRate: plenty, DeviceBurst: plenty, OpenRate: plenty, OpenBurst: plenty,
	}}
	if in != nil {
		cfg.Listener = in.listen("server")
		// A server that refuses a body does not hang up at once, and virtual time ends with the test.
		t.Cleanup(func() { time.Sleep(time.Second) })
	}
	w.server = servertest.Start(t, cfg)
	at := clienttest.NewPlace(t)
	if in != nil {
		at.Config.Remote.Dial = in.dial
	}
	alice := w.connect("alice", clienttest.BootstrapAt(t, at, w.server.CreateOrganization("Acme"), "alice@example.com"))
	w.devices = []*device{alice}
	w.fresh = w.connect("fresh", alice.EnrollDevice())
	for _, name := range others {
		if name == laptop {
			w.devices = append(w.devices, w.connect(name, alice.EnrollDevice()))
		} else {
			w.devices = append(w.devices, w.enroll(name))
		}
	}
	return w
}

// enroll makes another person with a device.
func (w *world) enroll(name string) *device {
	w.people++
	email := fmt.Sprintf("%s-%d@example.com", name, w.people)
	return w.connect(name, w.devices[0].Enroll(email, record.ProfileStandard))
}

// replace makes a person in the place of one who was revoked.
func (w *world) replace(d *device) *device {
	d.Kill()
	next := w.enroll(d.name)
	for i := range w.devices {
		if w.devices[i] == d {
			w.devices[i] = next
		}
	}
	return next
}

// connect gives a person's device a line of its own.
func (w *world) connect(name string, p *clienttest.Person) *device {
	l := &line{server: w.server.Handler}
	l.whole()
	var at net.Listener
	if w.net != nil {
		at = w.net.listen(fmt.Sprint(name, w.people))
	} else {
		var err error
		if at, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			w.t.Fatal(err)
		}
	}
	l.open(w.t, at)
	p.ToServer("http://" + at.Addr().String())
	p.Sync()
	w.t.Cleanup(p.Close) // before the line is closed
	return &device{Person: p, line: l, name: name}
}
