// Package postgres keeps the metadata in PostgreSQL, from version 15 on, for
// servers of many processes. It implements package meta and holds no rules of
// its own.
//
// # Round trips
//
// A transaction costs what its round trips cost. So a write that answers
// nothing is put off until something is asked, or until the commit, and goes
// with it; whatever there is many of goes as arrays. A commit of a thousand
// changes takes as many round trips as that of one.
//
// # Isolation
//
// Writes run at read committed, with locks. That is serializable for what the
// services do: they decide by rows that cannot change until the transaction
// ends, because whoever changes them takes the same lock of a workspace, an
// organization or an invitation first, and every statement behind a lock sees
// what its last holder wrote; where there is no lock, a key that is unique or
// a version that is compared decides. A stricter level would break writers off
// that only waited for their lock, and make all wait for the counters. The one
// thing that is decided by what others may change meanwhile is whether there
// is room: uploads that run at the same time may together go beyond a quota.
//
// Organizations are locked by advisory locks, which many can share without
// writing to the row. Reads are snapshots, at repeatable read.
//
// # Failures
//
// What collides with another transaction, or loses its connection before the
// commit was sent, runs again. A process that ends takes its locks with it.
// Connections to a database that was away are made again by themselves.
package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"parsec/internal/base/fault"
	"parsec/internal/server/meta"
)

var _ meta.Store = (*Store)(nil)

const (
	// connections is how many a process holds at most: PostgreSQL allows a
	// hundred by default, and a few processes share them.
	connections = 20
	// attempts is how often a write runs that collides, or loses its connection.
	attempts = 10
	// pause is the longest before the second attempt; it doubles.
	pause = 5 * time.Millisecond
	// commitTime is how long a commit may take.
	commitTime = time.Minute
	// cleanTime is how long it may take to undo.
	cleanTime = 5 * time.Second
)

// Config says where the database is.
type Config struct {
	// URL is a postgres:// URL as libpq reads it. It may hold a password and
	// is shown to nobody. pool_max_conns bounds the connections; default 20.
	URL string
}

// Store is an open database.
type Store struct {
	pool   *pgxpool.Pool
	closed atomic.Bool
}

// Open connects to a database. It sets up one that is empty, and refuses one
// whose tables are not those that this version works with.
func Open(ctx context.Context, c Config) (*Store, error) {
	return openTraced(ctx, c, nil)
}

func openTraced(ctx context.Context, c Config, tracer tracer) (*Store, error) {
	how, err := c.pool()
	if err != nil {
		return nil, err
	}
	if tracer != nil {
		how.ConnConfig.Tracer = tracer
	}
	if err := prepare(ctx, how.ConnConfig); err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, how)
	if err != nil {
		return nil, wrap(ctx, "open metadata", err)
	}
	return &Store{pool: pool}, nil
}

// Pool returns how the connections are used.
func (s *Store) Pool() meta.Pool {
	p := s.pool.Stat()
	return meta.Pool{
		InUse: int64(p.AcquiredConns()), Idle: int64(p.IdleConns()), Most: int64(p.MaxConns()),
		Waits: p.EmptyAcquireCount(), Waited: p.EmptyAcquireWaitTime(),
	}
}

// Close implements [meta.Store].
func (s *Store) Close() error {
	s.closed.Store(true)
	s.pool.Close()
	return nil
}

// errClosed is what a closed store answers.
func errClosed(what string) error {
	return fault.Errorf(fault.Failed, "%s: the metadata store is closed", what)
}

// Write implements [meta.Store].
func (s *Store) Write(ctx context.Context, fn func(meta.Tx) error) error {
	for n := 1; ; n++ {
		again, err := s.write(ctx, fn)
		if !again {
			return err
		}
		if n == attempts {
			return fault.WithHint(fault.Errorf(fault.Busy, "write metadata: %d attempts collided: %w", n, err), "try again")
		}
		if err := rest(ctx, n); err != nil {
			return err
		}
	}
}

// rest waits before another attempt, for a time that no two take alike.
func rest(ctx context.Context, n int) error {
	t := time.NewTimer(rand.N(pause << min(n, 7)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return canceled("write metadata", ctx)
	}
}

// write runs fn once, and says whether it is worth another time.
func (s *Store) write(ctx context.Context, fn func(meta.Tx) error) (again bool, err error) {
	t, err := s.begin(ctx, "write metadata", "BEGIN ISOLATION LEVEL READ COMMITTED")
	if err != nil {
		return false, err
	}
	defer t.end()
	err = fn(tx{t})
	if err == nil {
		err = t.commit()
	}
	return t.collided && ctx.Err() == nil, err
}

// Read implements [meta.Store].
func (s *Store) Read(ctx context.Context, fn func(meta.Tx) error) error {
	t, err := s.begin(ctx, "read metadata", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	if err != nil {
		return err
	}
	defer t.end()
	t.reads = true
	if err := fn(tx{t}); err != nil {
		return err
	}
	return t.lost
}

// begin takes a connection for a transaction, which begins with its first
// statement.
func (s *Store) begin(ctx context.Context, what, begin string) (*session, error) {
	if ctx.Err() != nil {
		return nil, canceled(what, ctx)
	}
	if s.closed.Load() {
		return nil, errClosed(what)
	}
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, wrap(ctx, what, err)
	}
	return &session{ctx: ctx, pool: s.pool, conn: c, begin: begin}, nil
}

func canceled(what string, ctx context.Context) error {
	return fault.Errorf(fault.Canceled, "%s: %w", what, context.Cause(ctx))
}

// The codes of PostgreSQL's errors that are told apart.
const (
	uniqueViolation = "23505"
	noDataFound     = "P0002"
	diskFull        = "53100"
	// These two say that transactions collided.
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	// changedPlan is what a prepared statement meets once, behind a migration.
	changedPlan = "0A000"
)

// wrap says what failed and gives an error of PostgreSQL its kind. Which
// database does not answer is not said: this goes to clients too, and the
// operator knows.
func wrap(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return canceled(what, ctx)
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case e.Code == uniqueViolation:
			return fault.Errorf(fault.Conflict, "%s: %w", what, e)
		case e.Code == noDataFound:
			return fault.Errorf(fault.NotFound, "%s: %w", what, e)
		case e.Code == diskFull:
			return fault.WithHint(fault.Errorf(fault.Full, "%s: %w", what, e), "free some space on the database's disk")
		case away(e.Code):
			return unreachable(what, e)
		}
		return fault.Errorf(fault.Failed, "%s: %w", what, e)
	}
	if broken(err) {
		return unreachable(what, innermost(err))
	}
	return fault.Errorf(fault.Failed, "%s: %w", what, err)
}

func unreachable(what string, err error) error {
	return fault.WithHint(errAway(what, err), "try again in a moment")
}

func errAway(what string, err error) error {
	return fault.Errorf(fault.Unreachable, "%s: the server's database does not answer: %w", what, err)
}
