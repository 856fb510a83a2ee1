package sqlite

import "fmt"

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
