//go:build linux

package main

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	_ "modernc.org/sqlite" // reads the databases of both sides
)

// rows are those in all tables of the databases of both sides.
type rows struct{ client, server int64 }

// rows counts. Neither side may be at work.
func (s *stage) rows() (r rows, err error) {
	if r.client, err = countAll(filepath.Join(s.path("home"), "*", "*", "*.db"), filepath.Join(s.path("home"), "*", "*.db")); err != nil {
		return r, err
	}
	r.server, err = countAll(filepath.Join(s.path("server"), "*.sqlite"))
	return r, err
}

func countAll(patterns ...string) (n int64, err error) {
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return n, err
		}
		for _, path := range paths {
			some, err := count(path)
			if err != nil {
				return n, fmt.Errorf("count rows of %s: %w", path, err)
			}
			n += some
		}
	}
	return n, nil
}

// count returns the rows in all tables of a database.
func count(path string) (n int64, err error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: "mode=ro"}).String())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var query string
	err = db.QueryRow(`SELECT 'SELECT ' || group_concat('(SELECT count(*) FROM "' || name || '")', ' + ')
		FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`).Scan(&query)
	if err != nil {
		return 0, err
	}
	err = db.QueryRow(query).Scan(&n)
	return n, err
}
