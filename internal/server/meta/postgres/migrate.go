package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"parsec/internal/base/fault"
	"parsec/internal/server/schema"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrating is the advisory lock that one process holds while it changes the
// tables. Locks of organizations are of the other kind, with two numbers.
const migrating = 0x7061727365630001

// oldest is the first version of PostgreSQL that will do.
const oldest = 150000

// prepare sets up an empty database, and refuses one that does not fit.
func prepare(ctx context.Context, how *pgx.ConnConfig) error {
	return alone(ctx, how, "open metadata", func(s *schema.Schema, _ *sql.DB) error { return s.Prepare(ctx) })
}

// Migrate brings the tables of a database up to date, and returns their state before.
func Migrate(ctx context.Context, c Config) (state schema.State, err error) {
	how, err := c.pool()
	if err != nil {
		return state, err
	}
	err = alone(ctx, how.ConnConfig, "migrate metadata", func(s *schema.Schema, _ *sql.DB) (err error) {
		state, err = s.Migrate(ctx)
		return err
	})
	return state, err
}

// Check looks at a database without changing it. The warnings are about
// settings with which a commit that was answered may be lost.
func Check(ctx context.Context, c Config) (report schema.Report, err error) {
	how, err := c.pool()
	if err != nil {
		return report, err
	}
	err = alone(ctx, how.ConnConfig, "check metadata", func(s *schema.Schema, db *sql.DB) (err error) {
		if report.State, err = s.State(ctx); err != nil {
			return err
		}
		report.Engine, report.Warnings, err = settings(ctx, db)
		return err
	})
	return report, err
}

// settings returns the version, and what is dangerous about the settings.
func settings(ctx context.Context, db *sql.DB) (engine string, warnings []string, err error) {
	var synchronous, fsync, full string
	err = db.QueryRowContext(ctx, `
		SELECT 'PostgreSQL ' || current_setting('server_version'), reset_val, current_setting('fsync'), current_setting('full_page_writes')
		FROM pg_settings WHERE name = 'synchronous_commit'`).Scan(&engine, &synchronous, &fsync, &full)
	if fsync == "off" {
		warnings = append(warnings, "fsync is off: a power cut may destroy the database")
	}
	if full == "off" {
		warnings = append(warnings, "full_page_writes is off: a power cut may destroy the database")
	}
	if synchronous == "off" {
		warnings = append(warnings, "synchronous_commit is off: the server turns it on for itself, but other programs may lose what they wrote")
	}
	return engine, warnings, err
}

// alone runs fn while no other process changes the tables.
func alone(ctx context.Context, how *pgx.ConnConfig, what string, fn func(*schema.Schema, *sql.DB) error) (err error) {
	defer func() {
		if err != nil && fault.KindOf(err) == fault.Failed {
			err = wrap(ctx, what, err)
		}
	}()
	lock, err := pgx.ConnectConfig(ctx, how)
	if err != nil {
		return refused(err)
	}
	defer lock.Close(context.WithoutCancel(ctx)) // which releases the lock
	var version int
	if err := lock.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		return err
	}
	if version < oldest {
		return fault.Errorf(fault.Upgrade, "%s: PostgreSQL %d is too old, the oldest that will do is %d", what, version/10000, oldest/10000)
	}
	if _, err := lock.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrating)); err != nil {
		return err
	}
	scripts, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*how)
	defer func() { err = errors.Join(err, db.Close()) }()
	s, err := schema.Postgres(db, scripts)
	if err != nil {
		return err
	}
	return fn(s, db)
}

// refused says what an operator can do about a connection that was refused.
func refused(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && !away(e.Code) {
		return fault.WithHint(fault.Errorf(fault.Failed, "open metadata: %w", e), "check user, password and database in its URL")
	}
	return fault.WithHint(errAway("open metadata", innermost(err)), "check that it runs, and the host and port in its URL")
}
