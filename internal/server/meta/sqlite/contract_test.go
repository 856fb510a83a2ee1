package sqlite_test

import (
	"context"
	"maps"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"parsec/internal/server/meta"
	"parsec/internal/server/meta/metatest"
	"parsec/internal/server/meta/sqlite"
)

// planned notes, when it is closed, how its queries were run.
type planned struct {
	*sqlite.Store
	note func(map[string][]string, error)
}

func (p planned) Close() error {
	p.note(p.Plans())
	return p.Store.Close()
}

func TestTheStoreKeepsTheContractAndReadsNoTableWhole(t *testing.T) {
	var mu sync.Mutex
	all := make(map[string][]string)
	metatest.Run(t, metatest.Adapter{
		New: func(t *testing.T) string { return filepath.Join(t.TempDir(), "meta.db") },
		Open: func(ctx context.Context, place string) (meta.Store, error) {
			s, err := sqlite.Open(ctx, sqlite.Config{Path: place})
			if err != nil {
				return nil, err
			}
			return planned{s, func(plans map[string][]string, err error) {
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				maps.Copy(all, plans)
			}}, nil
		},
	})
	for query, steps := range all {
		if regexp.MustCompile(`FROM (packs p|stores ORDER|repairs GROUP)`).MatchString(query) { // once at each start; the stores; those of all repairs, for who asks
			continue
		}
		for _, step := range steps {
			if strings.HasPrefix(step, "SCAN") && step != "SCAN CONSTANT ROW" && !strings.HasPrefix(step, "SCAN (subquery-") {
				t.Errorf("%s\nreads all of a table: %s", query, step)
			}
		}
	}
	if len(all) < 50 {
		t.Errorf("the suite ran only %d queries", len(all))
	}
}
