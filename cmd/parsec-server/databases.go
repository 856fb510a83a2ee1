package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/server/events"
	"parsec/internal/server/events/notify"
	"parsec/internal/server/meta"
	"parsec/internal/server/meta/postgres"
	"parsec/internal/server/meta/sqlite"
	"parsec/internal/server/schema"
)

// databaseForms is how a metadata database is written.
const databaseForms = "sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE"

// database is what can be done with a metadata database, whose URL was understood.
type database struct {
	open    func(context.Context) (meta.Store, error)
	migrate func(context.Context) (schema.State, error)
	check   func(context.Context) (schema.Report, error)
	// bus returns what reaches the other processes that use the database; nil
	// for one that a single process uses.
	bus func(*slog.Logger) (events.Bus, error)
	// shared says that several processes may have it open at once.
	shared bool
}

// parseDatabase reads the URL of a metadata database; the embedded one in the
// data folder where there is no URL. It may hold a password, so that what is
// not understood is not shown.
func parseDatabase(text, data string) (database, error) {
	if text == "" {
		text = "sqlite:" + filepath.Join(data, "metadata.sqlite")
	}
	scheme, rest, found := strings.Cut(text, ":")
	switch {
	case !found || rest == "":
		return database{}, fault.Errorf(fault.Usage, "read --database: want %s", databaseForms)
	case scheme == "sqlite":
		c := sqlite.Config{Path: rest}
		return database{
			open:    func(ctx context.Context) (meta.Store, error) { return sqlite.Open(ctx, c) },
			migrate: func(ctx context.Context) (schema.State, error) { return sqlite.Migrate(ctx, c) },
			check:   func(ctx context.Context) (schema.Report, error) { return sqlite.Check(ctx, c) },
			bus:     func(*slog.Logger) (events.Bus, error) { return nil, nil },
		}, misread(c.Validate())
	case scheme == "postgres", scheme == "postgresql":
		c := postgres.Config{URL: text}
		return database{
			open:    func(ctx context.Context) (meta.Store, error) { return postgres.Open(ctx, c) },
			migrate: func(ctx context.Context) (schema.State, error) { return postgres.Migrate(ctx, c) },
			check:   func(ctx context.Context) (schema.Report, error) { return postgres.Check(ctx, c) },
			bus: func(log *slog.Logger) (events.Bus, error) {
				return notify.New(notify.Config{URL: c.URL, Log: log})
			},
			shared: true,
		}, misread(c.Validate())
	}
	return database{}, fault.Errorf(fault.Usage, "read --database: this version does not know %s:, only %s", scheme, databaseForms)
}

// misread makes what is wrong with a URL a mistake of whoever wrote it.
func misread(err error) error {
	if err == nil {
		return nil
	}
	return fault.WithHint(fault.Errorf(fault.Usage, "read --database: %w", err), "%s", fault.HintOf(err))
}
