package postgres_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"parsec/internal/base/fault"
	"parsec/internal/server/meta/metatest"
	"parsec/internal/server/meta/postgres"
	"parsec/internal/services"
)

// migrateTo makes the tables of an earlier version.
func migrateTo(t *testing.T, place string, version int64) {
	t.Helper()
	db := stdlib.OpenDB(*sql(t, place).Config())
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), version); err != nil {
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
		place := services.Postgres(t)
		migrateTo(t, place, version)
		data, err := os.ReadFile(filepath.Join("testdata", "schema1.sql"))
		if err != nil {
			t.Fatal(err)
		}
		execute(t, place, string(data))
		if s, err := open(t.Context(), place); !fault.Is(err, fault.Conflict) || !strings.Contains(fault.HintOf(err), "parsec-server migrate") {
			t.Errorf("schema %d: got %v, %v (%s); want an error whose hint names the command", version, s, err, fault.HintOf(err))
		}
		state, err := postgres.Migrate(t.Context(), postgres.Config{URL: place})
		if err != nil || state.Has != version {
			t.Errorf("schema %d: migrated from %d, %v", version, state.Has, err)
		}
		s, err := open(t.Context(), place)
		if err != nil {
			t.Fatal(err)
		}
		metatest.Kept(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADatabaseThatDoesNotFitIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		statement string
		want      fault.Kind
	}{
		"one of a newer version":        {"INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, true)", fault.Upgrade},
		"one that another program uses": {"DROP TABLE goose_db_version", fault.Conflict},
	} {
		s, place := newStore(t)
		s.Close()
		execute(t, place, test.statement)
		if s, err := open(t.Context(), place); !fault.Is(err, test.want) || fault.HintOf(err) == "" {
			t.Errorf("open %s: got %v, %v; want an error of kind %v with a hint", name, s, err, test.want)
		}
		if _, err := postgres.Migrate(t.Context(), postgres.Config{URL: place}); !fault.Is(err, test.want) {
			t.Errorf("migrate %s: got %v, want an error of kind %v", name, err, test.want)
		}
	}
}

func TestProcessesThatStartAtOnceSetTheDatabaseUpOnce(t *testing.T) {
	place := services.Postgres(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s, err := open(context.Background(), place)
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			s.Close()
		})
	}
	all.Wait()
}

func TestACheckTellsWhatIsThereAndWhatIsDangerous(t *testing.T) {
	place := services.Postgres(t)
	report, err := postgres.Check(t.Context(), postgres.Config{URL: place})
	if err != nil || !report.Empty || report.Has != 0 || report.Knows != versions(t) || !strings.HasPrefix(report.Engine, "PostgreSQL 1") {
		t.Errorf("an empty database: %+v, %v", report, err)
	}
	for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		if !strings.Contains(strings.Join(report.Warnings, "\n"), setting+" is off") {
			t.Errorf("nothing warns of %s: %q", setting, report.Warnings)
		}
	}
	s, err := open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	report, err = postgres.Check(t.Context(), postgres.Config{URL: place})
	if err != nil || report.Empty || report.Has != versions(t) || report.Ready() != nil {
		t.Errorf("a database in use: %+v, %v", report, err)
	}
}

func TestOfADeletedOrganizationNoTableHasARow(t *testing.T) {
	place := services.Postgres(t)
	migrateTo(t, place, 1)
	data, err := os.ReadFile(filepath.Join("testdata", "schema1.sql"))
	if err != nil {
		t.Fatal(err)
	}
	execute(t, place, string(data))
	if _, err := postgres.Migrate(t.Context(), postgres.Config{URL: place}); err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	metatest.Delete(t, s, 1)
	db := stdlib.OpenDB(*sql(t, place).Config())
	defer db.Close()
	tables, err := db.QueryContext(t.Context(), `SELECT table_name, query_to_xml('SELECT count(*) FROM ' || table_name, false, false, '')::text
		FROM information_schema.columns WHERE table_schema = current_schema() AND column_name = 'organization' AND data_type = 'bigint'
		UNION SELECT 'organizations', query_to_xml('SELECT count(*) FROM organizations', false, false, '')::text`)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for tables.Next() {
		var name, rows string
		if err := tables.Scan(&name, &rows); err != nil {
			t.Fatal(err)
		}
		if n++; !strings.Contains(rows, "<count>0</count>") {
			t.Errorf("table %s has rows: %s", name, rows)
		}
	}
	if err := errors.Join(tables.Err(), tables.Close()); err != nil || n < 15 {
		t.Errorf("there are %d tables, %v", n, err)
	}
}
