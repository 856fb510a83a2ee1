package services_test

import (
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"

	"parsec/internal/services"
)

// count returns how many tables of a test's making a database has.
func count(t *testing.T, database string) (n int) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if err := c.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func makeTable(t *testing.T, database string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if _, err := c.Exec(t.Context(), "CREATE TABLE things (name text)"); err != nil {
		t.Fatal(err)
	}
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	one, other := services.Postgres(t), services.Postgres(t)
	makeTable(t, one)
	if count(t, one) != 1 || count(t, other) != 0 {
		t.Errorf("there are %d and %d tables, want 1 and 0", count(t, one), count(t, other))
	}
}

func TestAClusterThatCrashedIsResumedUnderItsAddress(t *testing.T) {
	c := services.StartPostgres(t)
	makeTable(t, c.URL)
	c.Crash()
	if conn, err := pgx.Connect(t.Context(), c.URL); err == nil {
		conn.Close(t.Context())
		t.Error("a server that has stopped answered")
	}
	c.Resume()
	count(t, c.URL)
}

func TestProgramsThatAreAskedForAreThere(t *testing.T) {
	services.Programs(t, "git", "setfattr")
	for _, name := range []string{"git", "setfattr"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Error(err)
		}
	}
}
