//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// way is one way of moving a set, as often as it was measured.
type way struct {
	name           string
	client, server []cost
}

func (w *way) add(client, server cost) {
	w.client, w.server = append(w.client, client), append(w.server, server)
}

// result is what was measured with one set.
type result struct {
	set   set
	files int
	bytes int64
	ways  []*way
	// rows are those that an import adds to the databases of each side.
	clientRows, serverRows int64
}

// measure copies a set in all ways.
func (b *bench) measure(ctx context.Context, name string) (result, error) {
	s, dir, err := b.data(ctx, name)
	r := result{set: s, files: s.files}
	if err != nil {
		return r, err
	}
	if r.bytes, err = read(dir); err != nil {
		return r, err
	}
	cp, in, out := &way{name: "cp, sync"}, &way{name: "import"}, &way{name: "export"}
	r.ways = []*way{cp, in, out}
	for _, p := range peers() {
		r.ways = append(r.ways, &way{name: p.name + ", in"}, &way{name: p.name + ", out"})
	}
	for i := range b.runs {
		fmt.Fprintf(os.Stderr, "%s, %d of %d\n", name, i+1, b.runs)
		st, err := b.newStage(ctx)
		if err != nil {
			return r, err
		}
		if err := b.once(ctx, &r, st, dir, i == 0); err != nil {
			return r, err
		}
		if err := b.oncePeers(ctx, &r, dir); err != nil {
			return r, err
		}
		if err := st.end(s.files == 1); err != nil {
			return r, err
		}
	}
	return r, nil
}

// once copies a set in all ways, once.
func (b *bench) once(ctx context.Context, r *result, st *stage, dir string, check bool) error {
	if _, err := read(dir); err != nil {
		return err
	}
	plain, err := copyPlainly(ctx, dir, st.path("plain"))
	if err != nil {
		return err
	}
	r.ways[0].add(plain, cost{})
	if _, err := st.stop(); err != nil {
		return err
	}
	before, err := st.rows()
	if err != nil {
		return err
	}
	if _, err := read(dir); err != nil {
		return err
	}
	client, server, err := st.move(ctx, "cp", "-r", dir, workspace+":/set")
	if err != nil {
		return err
	}
	r.ways[1].add(client, server)
	after, err := st.rows()
	if err != nil {
		return err
	}
	r.clientRows, r.serverRows = after.client-before.client, after.server-before.server
	if err := syncDisks(ctx); err != nil {
		return err
	}
	if client, server, err = st.move(ctx, "cp", "-r", workspace+":/set", st.path("out")); err != nil {
		return err
	}
	r.ways[2].add(client, server)
	if check {
		return same(ctx, dir, st.path("out"))
	}
	return syncDisks(ctx)
}

// oncePeers copies a set with each of the peers.
func (b *bench) oncePeers(ctx context.Context, r *result, dir string) error {
	for i, p := range peers() {
		st, err := b.emptyStage()
		if err != nil {
			return err
		}
		if _, err := read(dir); err != nil {
			return err
		}
		in, out, err := p.move(ctx, st, dir)
		if err != nil {
			return err
		}
		r.ways[3+2*i].add(in, cost{})
		r.ways[4+2*i].add(out, cost{})
		if err := st.end(r.set.files == 1); err != nil {
			return err
		}
	}
	return nil
}

func syncDisks(ctx context.Context) error { return exec.CommandContext(ctx, "sync").Run() }

// copyPlainly is what the disk needs for the same files.
func copyPlainly(ctx context.Context, from, to string) (cost, error) {
	return synced(ctx, exec.CommandContext(ctx, "cp", "-r", from, to))
}

// same fails where a copy differs.
func same(ctx context.Context, from, to string) error {
	if out, err := exec.CommandContext(ctx, "diff", "-rq", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("the copy differs: %w\n%s", err, bytes.TrimSpace(out[:min(len(out), 1000)]))
	}
	return nil
}

// oneMore measures what one more file costs in a folder of few and of many.
func (b *bench) oneMore(ctx context.Context) error {
	fmt.Println("\n| one more file of 1 kB in a folder of | time | client CPU | requests | bytes sent | received | rows, client | server |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, name := range []string{"ten", "many"} {
		s, dir, err := b.data(ctx, name)
		if err != nil {
			return err
		}
		st, err := b.newStage(ctx)
		if err != nil {
			return err
		}
		if _, err := st.client(ctx, "cp", "-r", filepath.Join(dir, "folder 000"), workspace+":/set"); err != nil {
			return err
		}
		if err := b.addOne(ctx, s, st); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) addOne(ctx context.Context, s set, st *stage) error {
	before, err := st.rows()
	if err != nil {
		return err
	}
	const times = 9
	w := new(way)
	for i := range times {
		name := st.path(fmt.Sprintf("one more %d", i))
		if err := os.WriteFile(name, bytes.Repeat([]byte{byte(i)}, 1000), 0o600); err != nil {
			return err
		}
		c, err := st.client(ctx, "cp", name, workspace+":/set/")
		if err != nil {
			return err
		}
		w.add(c, cost{})
	}
	if _, err := st.stop(); err != nil {
		return err
	}
	after, err := st.rows()
	if err != nil {
		return err
	}
	c := w.client[len(w.client)/2]
	fmt.Printf("| %d | %d ms | %d ms | %d | %d | %d | %.1f | %.1f |\n", s.files, median(w.client, wall).Milliseconds(), median(w.client, cpu).Milliseconds(),
		c.requests, c.sent, c.received, float64(after.client-before.client)/times, float64(after.server-before.server)/times)
	return nil
}
