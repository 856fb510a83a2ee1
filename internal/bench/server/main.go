//go:build linux

// Command server measures parsec-server as a company runs it, over
// PostgreSQL, an S3 server and OpenStack Swift: commits beside what pgbench
// does with the same database, devices that wait for events at two processes,
// and blocks through the server beside the stores themselves. It prints the
// tables of docs/performance.md.
//
// It starts everything that it needs with the scripts in tools/services, the
// database with all syncing on. It asserts nothing: what it prints depends on
// the machine and on whoever else uses it, so each table has its yardstick,
// measured in turns with it. Requests are made ready before anybody is timed,
// since whoever sends them has the same processors.
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
	program string // parsec-server
	scripts string // the folder of those that start services
	work    string // where everything is written
	quick   bool
	stages  int // folders made so far

	postgres   string // the URL of the database server
	postmaster int    // its process
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench-server:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	var b bench
	programs := flag.String("bin", "bin", "`folder` of the programs")
	flag.StringVar(&b.scripts, "services", "tools/services", "`folder` of the scripts that start services")
	parent := flag.String("work", os.TempDir(), "`folder` for a folder with everything, which is removed in the end")
	only := flag.String("only", "commits,devices,stores", "what to measure")
	flag.BoolVar(&b.quick, "quick", false, "little of everything, once: to see that it works")
	flag.Parse()
	if b.program, err = filepath.Abs(filepath.Join(*programs, "parsec-server")); err != nil {
		return err
	}
	if b.work, err = os.MkdirTemp(*parent, "parsec-bench-server-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.work)) }()
	if err := os.Chmod(b.work, 0o755); err != nil { // a database that root starts runs as another user
		return err
	}
	fmt.Println(machine.Conditions(b.work))
	database, err := b.startService(ctx, "postgres", "-c", "fsync=on", "-c", "full_page_writes=on", "-c", "synchronous_commit=on")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.stop()) }()
	b.postgres = database.url
	if b.postmaster, err = database.postmaster(); err != nil {
		return err
	}
	for _, name := range strings.Split(*only, ",") {
		measure, known := map[string]func(context.Context) error{
			"commits": b.measureCommits, "devices": b.measureDevices, "stores": b.measureStores,
		}[name]
		if !known {
			return fmt.Errorf("measure %q: there are commits, devices and stores", name)
		}
		if err := measure(ctx); err != nil {
			return fmt.Errorf("measure %s: %w", name, err)
		}
	}
	return nil
}

// folder makes a folder of its own for something.
func (b *bench) folder(name string) (string, error) {
	b.stages++
	dir := filepath.Join(b.work, fmt.Sprintf("%02d-%s", b.stages, name))
	return dir, os.Mkdir(dir, 0o755)
}

// pick returns one of two numbers: for a whole run, or a quick one.
func (b *bench) pick(whole, quick int) int {
	if b.quick {
		return quick
	}
	return whole
}
