package syncer_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/edit"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
	"parsec/internal/server/servertest"
)

var entries = flag.Int("entries", 20_000, "how many entries the large workspace of a benchmark has")

// grow fills a workspace with folders of as many symlinks, by commits of so many
// changes, and returns the folders.
func (d *desk) grow(folders, each, most int) []id.Entry {
	d.t.Helper()
	ctx, e := d.t.Context(), edit.New(d.plans().Mirror())
	var all []id.Entry
	var base merge.Base
	var ops []merge.Op
	commit := func() {
		d.ok(e.See(ctx, ops, &base))
		_, err := e.Commit(ctx, edit.Edit{Ops: ops, Base: &base})
		d.ok(err)
		ops = nil
	}
	for i := range folders {
		in := id.New[id.Entry]()
		all = append(all, in)
		ops = append(ops, merge.Create{Entry: in, At: merge.Place{Folder: e.Root(), Name: fmt.Sprintf("folder %d", i)}, Node: merge.Node{Kind: manifest.Folder}})
		for k := range each {
			at := merge.Place{Folder: in, Name: fmt.Sprintf("link %d", k)}
			ops = append(ops, merge.Create{Entry: id.New[id.Entry](), At: at, Node: merge.Node{Kind: manifest.Symlink, Target: "elsewhere"}})
		}
		if len(ops)+each >= most {
			commit()
		}
	}
	if len(ops) > 0 {
		commit()
	}
	d.ok(d.plans().Refresh(ctx))
	return all
}

// effort is what something takes.
type effort struct{ Statements, Rows, Requests, Received uint64 }

// efforts returns what each of some acts takes at a device.
func (d *desk) efforts(acts []act) map[string]effort {
	d.t.Helper()
	out := map[string]effort{}
	for _, a := range acts {
		before := d.effort()
		a.do()
		after := d.effort()
		out[a.name] = effort{
			after.Statements - before.Statements, after.Rows - before.Rows,
			after.Requests - before.Requests, after.Received - before.Received,
		}
	}
	return out
}

type act struct {
	name string
	do   func()
}

func (d *desk) effort() (e effort) {
	e.Statements, e.Rows = d.Local().Work()
	m := d.Server().Meter()
	e.Requests, e.Received = uint64(m.Requests()), m.Received()
	return e
}

// daily is what people do all day, in one folder of a workspace.
func daily(first, second *desk, in id.Entry) []act {
	return []act{
		{"open", func() { second.open() }},
		{"list a folder", func() { second.names(in) }},
		{"make something", func() {
			second.make(in, "mine")
			second.ok(second.plans().Push(second.t.Context()))
		}},
		{"follow others", func() {
			first.ok(first.plans().Sync(first.t.Context()))
			first.make(in, "theirs")
			first.ok(first.plans().Push(first.t.Context()))
			second.ok(second.plans().Sync(second.t.Context()))
			second.names(in)
		}},
		{"say how it stands", func() { second.plans().Status(second.t.Context()) }},
	}
}

// vast returns two devices of a person with a workspace of folders of a hundred, of
// which the second one is complete or not, and is closed.
func vast(t testing.TB, n int, complete bool) (first, second *desk, in id.Entry) {
	t.Helper()
	server := servertest.Start(t, servertest.Config{})
	a := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	a.CreateWorkspace("plans")
	first = sit(t, a)
	first.sync()
	in = first.grow(n/100, 99, n/5)[0] // as many commits for any n, since the root folder's versions are read
	second = &desk{Person: a.EnrollDevice(), t: t, eager: 10}
	second.open()
	second.ok(second.all.Discover(t.Context()))
	second.ok(second.plans().Sync(t.Context()))
	second.names(second.over().Root) // through which people come to the other
	second.names(in)
	if complete {
		second.sync()
	}
	second.ok(second.all.Close())
	second.Reopen()
	t.Cleanup(func() { second.ok(second.all.Close()) })
	return first, second, in
}

func TestDailyWorkCostsTheSameInALargeWorkspace(t *testing.T) {
	for _, complete := range []bool{true, false} {
		var efforts []map[string]effort
		for _, n := range []int{1_000, 20_000} {
			first, second, in := vast(t, n, complete)
			efforts = append(efforts, second.efforts(daily(first, second, in)))
			if second.complete() != complete {
				t.Errorf("complete: %v, want %v", second.complete(), complete)
			}
		}
		for name, large := range efforts[1] {
			// How many versions the folders above have since their snapshots, and how
			// messages are padded, is not the same.
			small := efforts[0][name]
			if large.Statements > small.Statements || large.Rows > small.Rows+8 || large.Requests > small.Requests || large.Received > small.Received+4096 {
				t.Errorf("complete %v: to %s takes %+v in a workspace of 20,000 entries, and %+v in one of 1,000", complete, name, large, small)
			}
		}
	}
}

// What work takes in a workspace of -entries; `go test -bench Vast -benchtime 1x`.
func BenchmarkVastWorkspace(b *testing.B) {
	begin := time.Now()
	server := servertest.Start(b, servertest.Config{})
	a := clienttest.Bootstrap(b, server.CreateOrganization("Acme"), "alice@example.com")
	a.CreateWorkspace("plans")
	first := sit(b, a)
	first.sync()
	in := first.grow(*entries/1000, 999, 3000)[0]
	b.Logf("made in %v", time.Since(begin))
	second := &desk{Person: a.EnrollDevice(), t: b}
	second.open()
	b.Cleanup(func() { second.ok(second.all.Close()) })
	for b.Loop() {
		report(b, second, []act{
			{"first use", func() {
				second.ok(second.all.Discover(b.Context()))
				second.ok(second.plans().Sync(b.Context()))
			}},
			{"list the root", func() { second.names(second.over().Root) }},
			{"list a folder of 999", func() { second.names(in) }},
		})
		second.ok(second.all.Close())
		second.Reopen()
		report(b, second, daily(first, second, in))
		report(b, second, []act{{"all the rest", second.sync}})
		second.ok(second.all.Close())
		second.Reopen()
		report(b, second, daily(first, second, first.child(first.over().Root, "folder 1")))
	}
}

// report says what each act takes, and what the process needs of memory then: both
// devices and the server.
func report(b *testing.B, d *desk, acts []act) {
	b.Helper()
	for _, a := range acts {
		begin := time.Now()
		e := d.efforts([]act{a})[a.name]
		took := time.Since(begin)
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.Logf("%s: %v, %d statements, %d rows, %d requests, %d bytes received; %d MiB in use by both devices and the server, %s",
			a.name, took.Round(time.Millisecond), e.Statements, e.Rows, e.Requests, e.Received, m.HeapInuse>>20, peak())
	}
}

// peak returns what the kernel says of the process' memory.
func peak() string {
	text, _ := os.ReadFile("/proc/self/status") // "" elsewhere
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmHWM") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}
