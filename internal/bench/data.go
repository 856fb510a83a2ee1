//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// set is a set of files that do not compress. Sizes are uniform between a
// twentieth of the average and as much below its double, or all the same.
type set struct {
	name    string
	files   int
	folders int
	size    int64
	same    bool
}

// sets returns the three sets that are copied, and those of the other measurements.
func sets(scale int) []set {
	return []set{
		{"D1", 4000 / scale, 160 / scale, 160_000, false},
		{"D2", 20_000 / scale, 200 / scale, 2_000, true},
		{"D3", 1, 1, (2 << 30) / int64(scale), true},
		{"small", 2000 / scale, 20, 2000, true},
		{"ten", 10, 1, 300, true},
		{"many", 10_000 / scale, 1, 300, true},
	}
}

// data returns the folder of a set, which is made if it is not there yet.
func (b *bench) data(ctx context.Context, name string) (set, string, error) {
	for _, s := range sets(b.scale) {
		if s.name != name {
			continue
		}
		dir := filepath.Join(b.work, "data", fmt.Sprintf("%s-%d", s.name, b.scale))
		if _, err := os.Stat(dir); err == nil {
			return s, dir, nil
		}
		made := dir + ".unfinished"
		if err := os.RemoveAll(made); err != nil {
			return s, dir, err
		}
		if err := s.make(ctx, made); err != nil {
			return s, dir, err
		}
		return s, dir, os.Rename(made, dir)
	}
	return set{}, "", fmt.Errorf("there is no set %q", name)
}

func (s set) make(ctx context.Context, dir string) error {
	fmt.Fprintf(os.Stderr, "making %s in %s\n", s.name, dir)
	source := rand.NewChaCha8([32]byte{byte(len(s.name)), byte(s.files)})
	sizes := rand.New(source)
	for i := range s.files {
		folder := filepath.Join(dir, fmt.Sprintf("folder %03d", i*s.folders/s.files))
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		n := s.size
		if !s.same {
			n = n/20 + sizes.Int64N(n*19/10)
		}
		if err := write(ctx, filepath.Join(folder, fmt.Sprintf("file %05d.bin", i)), io.LimitReader(source, n)); err != nil {
			return err
		}
	}
	return nil
}

func write(ctx context.Context, path string, content io.Reader) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, content, make([]byte, 1<<20))
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// read reads a tree, so that it is in memory before somebody is timed who
// reads it, and returns the bytes in it.
func read(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		n, err := io.Copy(struct{ io.Writer }{io.Discard}, f)
		total += n
		return err
	})
	return total, err
}
