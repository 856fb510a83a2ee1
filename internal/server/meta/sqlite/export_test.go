package sqlite

import (
	"context"
	"fmt"
)

// OnCommit has commits go through a function, which gets the real one. No
// write may be running.
func (s *Store) OnCommit(through func(commit func() error) error) {
	commit := s.writer.commit
	s.writer.commit = func() error { return through(commit) }
}

// LimitPages lets the database grow to a number of pages, or not at all if it
// has more of them. No write may be running.
func (s *Store) LimitPages(n int) error {
	return s.writer.conn.run(fmt.Sprintf("PRAGMA max_page_count = %d", n))
}

// Undo rolls back the transaction in place of its commit.
func (s *Store) Undo() error { return s.writer.conn.run("ROLLBACK") }

// Plans returns, for each query that the store has prepared, how SQLite runs
// it; nothing once the store is closed.
func (s *Store) Plans() (map[string][]string, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return nil, nil
	}
	plans := make(map[string][]string)
	conns := []*conn{s.writer.conn}
	for range cap(s.readers) {
		c := <-s.readers
		defer func() { s.readers <- c }()
		conns = append(conns, c)
	}
	for _, c := range conns {
		for query := range c.statements {
			if plans[query] != nil {
				continue
			}
			steps, err := c.explain(query)
			if err != nil {
				return nil, fmt.Errorf("explain %s: %w", query, err)
			}
			plans[query] = steps
		}
	}
	return plans, nil
}

func (c *conn) explain(query string) (steps []string, err error) {
	rows, err := c.c.QueryContext(context.Background(), "EXPLAIN QUERY PLAN "+query, make([]any, 20)...)
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
