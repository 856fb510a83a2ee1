//go:build linux

// Command bench measures the two programs as people run them: import and
// export of three sets of files through a server on this machine, beside what
// `cp` and the ciphers need for the same bytes, and the cost of one more file
// in a large workspace. It prints the tables of docs/performance.md.
//
// It imports nothing of the programs and asserts nothing: what it prints
// depends on the machine and on whoever else uses it, which is why the load is
// printed too. It measures with what the kernel counts for child processes,
// and runs on Linux only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"parsec/internal/bench/machine"
)

// bench is one run of the command.
type bench struct {
	programs string // the folder of both programs
	work     string // where everything is written
	runs     int
	scale    int // one in so many files, or bytes of a single file
	stages   int // those begun so far, for the names of their folders
	// objects says that what is stored goes to an S3 server of each stage.
	objects bool
	// running are the S3 servers that were started and not stopped.
	running []*objects
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	b := bench{scale: 1}
	flag.StringVar(&b.programs, "bin", "bin", "`folder` of the programs")
	flag.StringVar(&b.work, "work", filepath.Join(os.TempDir(), "parsec-bench"), "`folder` for data, which is kept for the next time, and copies")
	flag.IntVar(&b.runs, "runs", 3, "how often each thing is done; the median counts")
	only := flag.String("only", "D1,D2,D3,one,wan", "what to measure; drive is the mounted folder")
	store := flag.String("store", "file", "what servers and peers store in: file, or s3")
	rows := flag.String("rows", "", "of drive, only `rows` with one of these in their names")
	quick := flag.Bool("quick", false, "a twentieth of the data, once: to see that it works")
	flag.Parse()
	b.objects = *store == "s3"
	if *quick {
		b.runs, b.scale = 1, 20
	}
	if err := os.MkdirAll(filepath.Join(b.work, "data"), 0o700); err != nil {
		return err
	}
	// At the end and not before: ext4 makes new files several times slower for
	// some minutes after many were removed.
	defer func() { err = errors.Join(err, os.RemoveAll(b.stagesDir())) }()
	defer func() {
		for _, o := range b.running {
			err = errors.Join(err, o.stop())
		}
	}()
	fmt.Println(machine.Conditions(b.work))
	printCiphers()
	if *only == "drive" {
		return b.drive(ctx, *rows)
	}
	var results []result
	for _, name := range strings.Split(*only, ",") {
		if name == "one" || name == "wan" {
			continue
		}
		r, err := b.measure(ctx, name)
		if err != nil {
			return fmt.Errorf("measure %s: %w", name, err)
		}
		results = append(results, r)
	}
	printResults(results)
	if strings.Contains(*only, "one") {
		if err := b.oneMore(ctx); err != nil {
			return err
		}
	}
	if strings.Contains(*only, "wan") {
		return b.overWAN(ctx)
	}
	return nil
}

func (b *bench) stagesDir() string { return filepath.Join(b.work, "stages") }
