package store

import (
	"context"
	"fmt"
)

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
