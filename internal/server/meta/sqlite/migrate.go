package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"os"

	"parsec/internal/server/schema"
)

//go:embed migrations/*.sql
var migrations embed.FS

// tables returns the schema of a database.
func tables(db *sql.DB) (*schema.Schema, error) {
	scripts, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return schema.SQLite(db, scripts)
}

// Migrate brings the tables of a database up to date, and returns their state
// before. No server may have the database open.
func Migrate(ctx context.Context, c Config) (state schema.State, err error) {
	const what = "migrate metadata"
	if err := c.Validate(); err != nil {
		return state, err
	}
	if err := createPrivate(c.Path); err != nil {
		return state, wrap(what, err)
	}
	db, err := openPool(c.Path, 1, writing)
	if err != nil {
		return state, wrap(what, err)
	}
	s, err := tables(db)
	if err == nil {
		state, err = s.Migrate(ctx)
	}
	return state, wrap(what, errors.Join(err, db.Close()))
}

// Check looks at a database without changing it. One that is not there yet is
// reported as an empty one, and not made.
func Check(ctx context.Context, c Config) (report schema.Report, err error) {
	const what = "check metadata"
	if err := c.Validate(); err != nil {
		return report, err
	}
	db, err := openPool(c.Path, 1, reading)
	if _, missing := os.Stat(c.Path); errors.Is(missing, fs.ErrNotExist) {
		db, err = sql.Open("sqlite", ":memory:")
	}
	if err != nil {
		return report, wrap(what, err)
	}
	s, err := tables(db)
	if err == nil {
		report.State, err = s.State(ctx)
	}
	if err == nil {
		err = db.QueryRowContext(ctx, "SELECT 'SQLite ' || sqlite_version()").Scan(&report.Engine)
	}
	return report, wrap(what, errors.Join(err, db.Close()))
}
