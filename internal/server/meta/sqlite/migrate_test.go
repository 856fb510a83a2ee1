package sqlite_test

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"parsec/internal/base/fault"
	"parsec/internal/server/meta/metatest"
	"parsec/internal/server/meta/sqlite"
)

// fill makes the tables of an earlier version, with what is in testdata.
func fill(t *testing.T, path string, version int64) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join("testdata", "schema1.sql"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), string(data)); err != nil {
		t.Fatal(err)
	}
}

// versions returns how many versions of the tables there are.
func versions(t *testing.T) int64 {
	t.Helper()
	all, err := fs.Glob(os.DirFS("migrations"), "*.sql")
	if err != nil || len(all) == 0 {
		t.Fatalf("there are no migrations: %v", err)
	}
	return int64(len(all))
}

func TestEachEarlierSchemaIsMigratedWithWhatIsInIt(t *testing.T) {
	for version := int64(1); version < versions(t); version++ {
		path := filepath.Join(t.TempDir(), "meta.db")
		fill(t, path, version)
		if s, err := open(t.Context(), path); !fault.Is(err, fault.Conflict) || !strings.Contains(fault.HintOf(err), "parsec-server migrate") {
			t.Errorf("schema %d: got %v, %v (%s); want an error whose hint names the command", version, s, err, fault.HintOf(err))
		}
		state, err := sqlite.Migrate(t.Context(), sqlite.Config{Path: path})
		if err != nil || state.Has != version {
			t.Errorf("schema %d: migrated from %d, %v", version, state.Has, err)
		}
		s, err := open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		metatest.Kept(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACheckTellsWhatIsThereAndMakesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	report, err := sqlite.Check(t.Context(), sqlite.Config{Path: path})
	if err != nil || !report.Empty || report.Knows != versions(t) || !strings.HasPrefix(report.Engine, "SQLite 3") {
		t.Errorf("no database: %+v, %v", report, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the check made a database: %v", err)
	}
	s, err := open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	report, err = sqlite.Check(t.Context(), sqlite.Config{Path: path})
	if err != nil || report.Empty || report.Ready() != nil {
		t.Errorf("a database that a server has open: %+v, %v", report, err)
	}
}

func TestOfADeletedOrganizationNoTableHasARow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	fill(t, path, 1)
	if _, err := sqlite.Migrate(t.Context(), sqlite.Config{Path: path}); err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	metatest.Delete(t, s, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tables, err := db.QueryContext(t.Context(), `SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c ON c.name = 'organization'
		WHERE m.type = 'table' AND c.type = 'INTEGER' UNION SELECT 'organizations'`)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for tables.Next() {
		var name string
		if err := tables.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := errors.Join(tables.Err(), tables.Close()); err != nil || len(names) < 15 {
		t.Fatalf("the tables are %q, %v", names, err)
	}
	for _, name := range names {
		n := 0
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+name).Scan(&n); err != nil || n > 0 {
			t.Errorf("table %s has %d rows, %v", name, n, err)
		}
	}
}
