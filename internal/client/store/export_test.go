package store

import (
	"context"
	"fmt"
)

// Plans returns, for each query that the cache has prepared outside updates,
// how SQLite runs it.
func (c *Cache) Plans(ctx context.Context) (map[string][]string, error) {
	plans := make(map[string][]string)
	var err error
	c.db.statements.Range(func(query, _ any) bool {
		plans[query.(string)], err = c.db.explain(ctx, query.(string))
		return err == nil
	})
	return plans, err
}

func (d *database) explain(ctx context.Context, query string) (steps []string, err error) {
	rows, err := d.sql.QueryContext(ctx, "EXPLAIN QUERY PLAN "+query, make([]any, 200)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var number, parent, unused int
		var step string
		if err := rows.Scan(&number, &parent, &unused, &step); err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	return steps, rows.Err()
}

// LimitPages lets neither database grow beyond a number of pages, as a full
// disk would; 0 takes the limit away.
func (s *Store) LimitPages(ctx context.Context, n int) error {
	if n == 0 {
		n = 1 << 30
	}
	for _, d := range []*database{s.State.db, s.Cache.db} {
		d.sql.SetMaxOpenConns(1) // the limit is one connection's
		if _, err := d.sql.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", n)); err != nil {
			return err
		}
	}
	return nil
}
