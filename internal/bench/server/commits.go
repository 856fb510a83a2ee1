//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/bench/machine"
	"parsec/internal/verify/verifytest"
)

// pattern is a way to commit: in so many workspaces at once, whose owners each
// send so many commits, one after the other, with so many changes.
type pattern struct {
	workspaces, commits, changes int
	rates                        []float64 // commits a second, of each round
	took                         []time.Duration
	// What all commits took of the processors.
	server, database time.Duration
}

// writer is a workspace and the device that owns it.
type writer struct {
	device    *verifytest.Device
	workspace *verifytest.Workspace
}

// measureCommits measures commits and pgbench in turns.
func (b *bench) measureCommits(ctx context.Context) (err error) {
	database, err := b.database(ctx)
	if err != nil {
		return err
	}
	s, err := b.startServer(ctx, "--database", database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	c, err := found(ctx, s, "Commits")
	if err != nil {
		return err
	}
	many := b.pick(100, 20)
	var writers []writer
	for range many {
		var w writer
		if w.device, err = c.addUser(ctx); err != nil {
			return err
		}
		if w.workspace, err = c.createWorkspace(ctx, w.device); err != nil {
			return err
		}
		writers = append(writers, w)
	}
	bench, err := b.preparePgbench(ctx)
	if err != nil {
		return err
	}
	patterns := []*pattern{
		{workspaces: 1, commits: b.pick(500, 50), changes: 1},
		{workspaces: 1, commits: b.pick(100, 10), changes: 100},
		{workspaces: many, commits: b.pick(40, 10), changes: 1},
		{workspaces: many, commits: b.pick(6, 2), changes: 100},
	}
	yardsticks := []*yardstick{{clients: 1, each: b.pick(500, 50)}, {clients: many, each: b.pick(100, 10)}}
	var syncs []float64
	for range b.pick(3, 1) {
		fsyncs, err := syncRate(filepath.Dir(s.data))
		if err != nil {
			return err
		}
		syncs = append(syncs, fsyncs)
		for _, y := range yardsticks {
			if err := y.measure(ctx, b, bench); err != nil {
				return err
			}
		}
		for _, p := range patterns {
			if err := p.measure(ctx, b, c, writers); err != nil {
				return err
			}
		}
	}
	printCommits(syncs, yardsticks, patterns)
	return nil
}

// measure makes the commits ready, and sends them.
func (p *pattern) measure(ctx context.Context, b *bench, c *company, writers []writer) error {
	ready := make([][][]byte, p.workspaces)
	for i := range ready {
		for range p.commits {
			body, err := c.commit(writers[i].device, writers[i].workspace, p.changes)
			if err != nil {
				return err
			}
			ready[i] = append(ready[i], body)
		}
	}
	server, database, err := b.usage(c.server)
	if err != nil {
		return err
	}
	begin := time.Now()
	took, err := p.send(ctx, c, writers, ready)
	if err != nil {
		return err
	}
	p.rates = append(p.rates, float64(p.workspaces*p.commits)/time.Since(begin).Seconds())
	p.took = append(p.took, slices.Concat(took...)...)
	serverNow, databaseNow, err := b.usage(c.server)
	p.server, p.database = p.server+serverNow-server, p.database+databaseNow-database
	return err
}

// usage returns what a server and the database have taken of the processors.
func (b *bench) usage(s *server) (ours, database time.Duration, err error) {
	if ours, err = cpu(s.Process.Pid); err != nil {
		return 0, 0, err
	}
	database, err = cpu(b.postmaster)
	return ours, database, err
}

// send sends all commits, and returns how long each took.
func (p *pattern) send(ctx context.Context, c *company, writers []writer, ready [][][]byte) ([][]time.Duration, error) {
	took := make([][]time.Duration, p.workspaces)
	group, ctx := errgroup.WithContext(ctx)
	for i, bodies := range ready {
		group.Go(func() error {
			for _, body := range bodies {
				sent := time.Now()
				if err := c.post(ctx, writers[i].device, parsecv1connect.WorkspaceServiceCommitProcedure, body); err != nil {
					return err
				}
				took[i] = append(took[i], time.Since(sent))
			}
			return nil
		})
	}
	return took, group.Wait()
}

// yardstick is pgbench's simple update, with so many clients.
type yardstick struct {
	clients  int
	each     int // transactions of each client in a round
	rates    []float64
	done     int           // transactions
	database time.Duration // what they took of the processors there
}

// preparePgbench fills a database, and returns its URL.
func (b *bench) preparePgbench(ctx context.Context) (string, error) {
	database, err := b.database(ctx)
	if err != nil {
		return "", err
	}
	return database, command(ctx, "pgbench", "-i", "-q", "-s", "10", database)
}

func (y *yardstick) measure(ctx context.Context, b *bench, database string) error {
	before, err := cpu(b.postmaster)
	if err != nil {
		return err
	}
	said, err := output(ctx, "pgbench", "-N", "-n", "-c", strconv.Itoa(y.clients), "-j", "2", "-t", strconv.Itoa(y.each), database)
	if err != nil {
		return err
	}
	m := regexp.MustCompile(`(?m)^tps = ([\d.]+)`).FindStringSubmatch(said)
	if m == nil {
		return fmt.Errorf("pgbench says no rate:\n%s", said)
	}
	rate, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return err
	}
	after, err := cpu(b.postmaster)
	y.rates, y.done, y.database = append(y.rates, rate), y.done+y.each*y.clients, y.database+after-before
	return err
}

// syncRate returns how many times in a second 8 KiB in a file of a folder
// become durable, as a write-ahead log makes them.
func syncRate(folder string) (float64, error) {
	f, err := os.Create(filepath.Join(folder, "synced"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	page, n, begin := make([]byte, 8<<10), 0, time.Now()
	for ; time.Since(begin) < time.Second; n++ {
		if _, err := f.WriteAt(page, 0); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}

func printCommits(syncs []float64, yardsticks []*yardstick, patterns []*pattern) {
	fmt.Printf("\nload %s\n\n", machine.Load())
	fmt.Println("| what | a second | of pgbench with as many clients | changes a second | each takes | 99 of 100 less than | server CPU each | PostgreSQL CPU each |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	fmt.Printf("| 8 KiB synced to the disk | %s | | | | | | |\n", spread(syncs))
	for _, y := range yardsticks {
		fmt.Printf("| pgbench -N, clients: %d | %s | | | | | | %s |\n", y.clients, spread(y.rates), brief(y.database/time.Duration(y.done)))
	}
	for _, p := range patterns {
		y := yardsticks[slices.IndexFunc(yardsticks, func(y *yardstick) bool { return y.clients == p.workspaces })]
		n := time.Duration(len(p.took))
		fmt.Printf("| commits, workspaces: %d, changes in each: %d | %s | %.0f %% | %.0f | %s | %s | %s | %s |\n", p.workspaces, p.changes, spread(p.rates),
			100*middle(p.rates)/middle(y.rates), middle(p.rates)*float64(p.changes), brief(quantile(p.took, 50)), brief(quantile(p.took, 99)),
			brief(p.server/n), brief(p.database/n))
	}
}

// middle returns the median.
func middle(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// spread returns the median with the least and the most behind it.
func spread(all []float64) string {
	return fmt.Sprintf("%.0f (%.0f to %.0f)", middle(all), slices.Min(all), slices.Max(all))
}

// quantile returns what so many of a hundred are not longer than.
func quantile(all []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[(len(sorted)-1)*percent/100]
}

// brief returns a time as a table has room for it.
func brief(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }
