//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// row is one thing that programs do in a folder.
type row struct {
	name, unit string
	// cold says that nothing is remembered of the folder when it begins, warm that
	// it was done before.
	cold, warm bool
	// more says that a larger figure is the better one.
	more bool
	// do does it in a folder of one run, and returns the figure.
	do func(ctx context.Context, d *driving, dir string) (float64, error)
}

// driving is what the rows need beside a folder.
type driving struct {
	*bench
	tar, large string
	bytes      int64 // of large
}

// seconds is a row of a command.
func seconds(name string, args ...string) row {
	return row{name: name, unit: "s", cold: strings.HasSuffix(name, "cold"), warm: strings.HasSuffix(name, "warm"), do: func(ctx context.Context, _ *driving, dir string) (float64, error) {
		took, err := within(ctx, filepath.Join(dir, "src"), args...)
		return took.Seconds(), err
	}}
}

// driveRows returns what is measured, in this order: each builds on those before.
func driveRows() []row {
	return []row{
		{name: "untar of the Go source tree", unit: "s", do: func(ctx context.Context, d *driving, dir string) (float64, error) {
			took, err := within(ctx, dir, "tar", "-xf", d.tar)
			return took.Seconds(), err
		}},
		seconds("ls -lR, cold", "ls", "-lR"),
		seconds("ls -lR, warm", "ls", "-lR"),
		seconds("grep -r, cold", "grep", "-rc", "package"),
		seconds("grep -r, warm", "grep", "-rc", "package"),
		seconds("git init, add, commit", "sh", "-c", "git init -q && git add . && git commit -qm tree"),
		seconds("git status", "git", "status"),
		{name: "sequential write", unit: "MB/s", more: true, do: func(ctx context.Context, d *driving, dir string) (float64, error) {
			took, err := within(ctx, dir, "dd", "if="+d.large, "of=large", "bs=1M", "conv=fsync")
			return float64(d.bytes) / took.Seconds() / 1e6, err
		}},
		{name: "sequential read, cold", unit: "MB/s", cold: true, more: true, do: func(ctx context.Context, d *driving, dir string) (float64, error) {
			took, err := within(ctx, dir, "dd", "if=large", "of=/dev/null", "bs=1M")
			return float64(d.bytes) / took.Seconds() / 1e6, err
		}},
		{name: "4 KiB at random, each with fsync", unit: "/s", more: true, do: func(ctx context.Context, d *driving, dir string) (float64, error) {
			return randomWrites(ctx, filepath.Join(dir, "random"), 10*time.Second/time.Duration(d.scale))
		}},
		seconds("rm -rf of the tree", "sh", "-c", "rm -rf ../src"),
	}
}

// randomWrites returns how many blocks of 4 KiB can be written a second at random
// places of a file of 128 MiB, each with an fsync.
func randomWrites(ctx context.Context, path string, long time.Duration) (float64, error) {
	c := exec.CommandContext(ctx, "fio", "--name=random", "--filename="+path, "--rw=randwrite", "--bs=4k", "--size=128m", "--fsync=1",
		"--time_based", fmt.Sprintf("--runtime=%d", max(1, int(long.Seconds()))), "--fallocate=none", "--output-format=json")
	out, err := c.Output()
	if err != nil {
		return 0, fmt.Errorf("fio: %w\n%s", err, out)
	}
	var said struct {
		Jobs []struct {
			Write struct{ IOPS float64 }
		}
	}
	if err := json.Unmarshal(out, &said); err != nil || len(said.Jobs) != 1 {
		return 0, fmt.Errorf("read what fio says: %w", err)
	}
	return said.Jobs[0].Write.IOPS, nil
}

// figures are those of one row, by face.
type figures [][]float64

// drive measures the mounted folder beside gocryptfs and the bare disk.
func (b *bench) drive(ctx context.Context, only string) (err error) {
	st, err := b.emptyStage()
	if err != nil {
		return err
	}
	faces, err := b.faces(ctx, st)
	if err != nil {
		return err
	}
	d := &driving{bench: b}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	for _, f := range faces {
		if err := f.begin(ctx); err != nil {
			return fmt.Errorf("begin %s: %w", f.name(), err)
		}
		defer func() { err = errors.Join(err, f.end(context.WithoutCancel(ctx))) }()
	}
	memory := make([]int64, len(faces))
	printFaces(faces)
	for _, r := range driveRows() {
		if only != "" && !slices.ContainsFunc(strings.Split(only, ","), func(part string) bool { return strings.Contains(r.name, part) }) {
			continue
		}
		all := make(figures, len(faces))
		for n := range b.runs {
			if err := d.row(ctx, r, faces, n, all, memory); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
		}
		r.print(all)
	}
	fmt.Print("| most memory of the process | MiB |")
	for _, most := range memory {
		fmt.Printf(" %d |", most>>20)
	}
	fmt.Println(" |")
	return nil
}

// prepare makes what is unpacked and copied.
func (d *driving) prepare(ctx context.Context) error {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("find the Go source tree: %w", err)
	}
	tree := "src"
	if d.scale > 1 {
		tree = "src/net"
	}
	d.tar = filepath.Join(d.work, "data", strings.ReplaceAll(tree, "/", "-")+".tar")
	name := "s,^" + tree + ",src,"
	if _, err := timed(exec.CommandContext(ctx, "tar", "-C", strings.TrimSpace(string(root)), "--transform", name, "-cf", d.tar, tree)); err != nil {
		return err
	}
	s, dir, err := d.data(ctx, "D3")
	if err != nil {
		return err
	}
	d.large, d.bytes = filepath.Join(dir, "folder 000", "file 00000.bin"), s.size
	return nil
}

// row does one thing in all faces once, one after the other.
func (d *driving) row(ctx context.Context, r row, faces []face, n int, to figures, memory []int64) error {
	for i, f := range faces {
		fmt.Fprintf(os.Stderr, "%s, %d of %d, %s\n", r.name, n+1, d.runs, f.name())
		figure, err := d.once(ctx, r, f, n)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name(), err)
		}
		to[i] = append(to[i], figure)
		if f.process() == 0 {
			continue
		}
		most, err := mostOf(f.process())
		if err != nil {
			return err
		}
		memory[i] = max(memory[i], most)
	}
	return nil
}

// once does one thing in a face, with what goes on beside.
func (d *driving) once(ctx context.Context, r row, f face, n int) (figure float64, err error) {
	if r.cold {
		if err := f.end(ctx); err != nil {
			return 0, err
		}
		if err := dropCaches(ctx); err != nil {
			return 0, err
		}
		if err := f.begin(ctx); err != nil {
			return 0, err
		}
	}
	dir := filepath.Join(f.root(), fmt.Sprintf("run %d", n))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	if r.warm {
		if _, err := r.do(ctx, d, dir); err != nil {
			return 0, err
		}
	}
	for _, path := range []string{d.tar, d.large} { // what is read is in memory
		if !r.cold {
			if _, err := read(path); err != nil {
				return 0, err
			}
		}
	}
	if err := syncDisks(ctx); err != nil {
		return 0, err
	}
	beside, stop := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return f.busy(beside) })
	figure, err = r.do(ctx, d, dir)
	stop()
	err = errors.Join(err, g.Wait())
	if err == nil {
		err = f.rest(ctx)
	}
	return figure, err
}

// printFaces begins the table.
func printFaces(faces []face) {
	fmt.Print("\n| what | unit |")
	for _, f := range faces {
		fmt.Printf(" %s |", f.name())
	}
	fmt.Println(" parsec beside gocryptfs |")
	fmt.Println("|---|---|" + strings.Repeat("---|", len(faces)+1))
}

// print prints the medians of a row, with the least and the most behind.
func (r row) print(all figures) {
	fmt.Printf("| %s | %s |", r.name, r.unit)
	var middle []float64
	for _, figures := range all {
		slices.Sort(figures)
		middle = append(middle, figures[len(figures)/2])
		fmt.Printf(" %.3g (%.3g to %.3g) |", middle[len(middle)-1], figures[0], figures[len(figures)-1])
	}
	ratio := middle[1] / middle[2]
	if r.more {
		ratio = 1 / ratio
	}
	fmt.Printf(" %.1f times as fast |\n", ratio)
}
