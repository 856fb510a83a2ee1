// Package schema brings the tables of a metadata database up to date, and says
// whether they are. Migrations go forward only, each in a transaction; which
// there are is the adapters' business.
//
// A server works with the schema that it knows and with no other: one that is
// newer was made by a newer version, whose rules this one does not know; one
// that is older is changed by an operator who has made a backup, and not by
// whichever process happens to start first. An empty database is no
// installation, so whoever opens it first sets it up.
package schema

import (
	"context"
	"database/sql"
	"io/fs"

	"github.com/pressly/goose/v3"

	"parsec/internal/base/fault"
)

// Schema is the tables of one database. One goroutine uses it at a time, and
// the caller sees to it that no other process changes the tables meanwhile.
type Schema struct {
	provider *goose.Provider
	db       *sql.DB
	// tables names all tables of the database.
	tables string
}

// SQLite returns the schema of a SQLite database, with its migrations.
func SQLite(db *sql.DB, scripts fs.FS) (*Schema, error) {
	return open(goose.DialectSQLite3, db, scripts, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`)
}

// Postgres returns the schema of a PostgreSQL database, with its migrations.
func Postgres(db *sql.DB, scripts fs.FS) (*Schema, error) {
	return open(goose.DialectPostgres, db, scripts, "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()")
}

func open(d goose.Dialect, db *sql.DB, scripts fs.FS, tables string) (*Schema, error) {
	p, err := goose.NewProvider(d, db, scripts, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, err
	}
	return &Schema{p, db, tables}, nil
}

// State is how far a database's tables are.
type State struct {
	// Empty says that the database has no tables, but perhaps one of versions
	// that says so too.
	Empty bool
	// Has is the version of its tables, and Knows that of this program.
	Has, Knows int64
}

// State looks at the database, and changes nothing.
func (s *Schema) State(ctx context.Context) (State, error) {
	sources := s.provider.ListSources()
	state := State{Knows: sources[len(sources)-1].Version}
	var tables, versions int
	if err := s.db.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(CASE name WHEN 'goose_db_version' THEN 1 END), 0) FROM ("+s.tables+") AS t").
		Scan(&tables, &versions); err != nil {
		return state, err
	}
	if state.Empty = tables == versions; state.Empty {
		return state, nil
	}
	if versions == 0 {
		return state, fault.WithHint(fault.Errorf(fault.Conflict, "the database has tables that are not this program's"), "give it an empty database of its own")
	}
	err := s.db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version").Scan(&state.Has)
	return state, err
}

// Ready fails unless a server may work with tables in this state.
func (s State) Ready() error {
	if err := s.tooNew(); err != nil {
		return err
	}
	if s.Empty || s.Has < s.Knows {
		return fault.WithHint(fault.Errorf(fault.Conflict, "the database has schema %d, this version works with %d", s.Has, s.Knows),
			"make a backup, then run `parsec-server migrate`")
	}
	return nil
}

func (s State) tooNew() error {
	if s.Has <= s.Knows {
		return nil
	}
	return fault.WithHint(fault.Errorf(fault.Upgrade, "the database has schema %d, this version knows up to %d", s.Has, s.Knows),
		"start the newer version of the server again, or restore a backup from before it")
}

// Prepare sets an empty database up, and fails unless a server may work with
// what is there then.
func (s *Schema) Prepare(ctx context.Context) error {
	state, err := s.State(ctx)
	if err != nil {
		return err
	}
	if !state.Empty {
		return state.Ready()
	}
	_, err = s.provider.Up(ctx)
	return err
}

// Migrate brings the tables up to date, and returns their state before.
func (s *Schema) Migrate(ctx context.Context) (State, error) {
	state, err := s.State(ctx)
	if err == nil {
		err = state.tooNew()
	}
	if err != nil {
		return state, err
	}
	_, err = s.provider.Up(ctx)
	return state, err
}

// Report is what an adapter finds when it checks a database.
type Report struct {
	State
	// Engine is the database's name and version.
	Engine string
	// Warnings are settings with which something may be lost, each a sentence
	// without a full stop.
	Warnings []string
}
