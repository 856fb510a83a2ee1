package main

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"parsec/internal/api/parsecv1"
	"parsec/internal/server/servertest"
	"parsec/internal/services"
)

// The jobs that a process is killed in the middle of: the collection of what
// uploads left behind, repairs, and the deletion of an organization.
const jobsTaken = `'blocks', 'repairs', 'organizations'`

// observer looks into the database behind the servers' backs.
type observer struct {
	t *testing.T
	c *pgx.Conn
}

func observe(t *testing.T, database string) observer {
	t.Helper()
	c, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return observer{t, c}
}

func (o observer) exec(statement string) {
	o.t.Helper()
	if _, err := o.c.Exec(o.t.Context(), statement); err != nil {
		o.t.Fatalf("%s: %v", statement, err)
	}
}

// await waits until a query answers with a number.
func (o observer) await(what string, want int, query string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), 2*time.Minute)
	defer cancel()
	for poll := time.NewTicker(20 * time.Millisecond); ; {
		got := -1
		if err := o.c.QueryRow(ctx, query).Scan(&got); err != nil {
			o.t.Fatalf("wait until %s: it is %d, %v", what, got, err)
		}
		if got == want {
			return
		}
		<-poll.C
	}
}

func (o observer) holders() (all map[string][16]byte) {
	o.t.Helper()
	rows, err := o.c.Query(o.t.Context(), `SELECT job, holder FROM turns WHERE job IN (`+jobsTaken+`)`)
	if err != nil {
		o.t.Fatal(err)
	}
	all = make(map[string][16]byte)
	var job string
	var holder []byte
	if _, err := pgx.ForEachRow(rows, []any{&job, &holder}, func() error {
		all[job] = [16]byte(holder)
		return nil
	}); err != nil {
		o.t.Fatal(err)
	}
	return all
}

// A process is killed while it does several jobs, each of which waits for a
// table that the test has locked. Another one takes all of them over.
func TestTheJobsOfAKilledServerAreDoneByAnother(t *testing.T) {
	dir, database := t.TempDir(), services.Postgres(t)
	config := filepath.Join(dir, "server.toml")
	if err := os.WriteFile(config, []byte("[limits]\njob_look = \"1s\"\njob_lease = \"2s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	folders := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	s := &studio{t: t, dir: dir, database: database, args: []string{
		"--config", config, "--redundancy", "mirror", "--store", "file:" + folders[0], "--store", "file:" + folders[1],
	}}
	s.start()
	victim := s.server
	s.found(1)
	s.calmly(2)
	zebra := s.other("Zebra")
	zebra.calmly(2)
	h, content, _ := servertest.Upload(s.w.ID, []byte("no commit follows"))
	if err := s.dial(s.kit.Admin).Upload(t.Context(), h, content); err != nil {
		t.Fatal(err)
	}
	lost := s.traces(folders[1])
	lost = lost[len(lost)-1:]
	if err := os.Remove(lost[0]); err != nil {
		t.Fatal(err)
	}

	o, locks := observe(t, database), observe(t, database)
	o.exec(`INSERT INTO repairs SELECT organization, workspace, pack, 2 FROM placements ON CONFLICT DO NOTHING`)
	locks.exec(`BEGIN`)
	locks.exec(`LOCK TABLE repairs, packs, workspaces`)
	o.exec(`UPDATE turns SET done = 0`)
	if _, err := servertest.DialAdmin(s.server.url, s.token()).Admin.DeleteOrganization(t.Context(), &parsecv1.DeleteOrganizationRequest{Name: "Zebra"}); err != nil {
		t.Fatal(err)
	}
	o.await("all jobs are begun and wait", 3, `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
	held := o.holders()
	if _, err := victim.end(syscall.SIGKILL); err == nil {
		t.Error("the server survived")
	}
	locks.exec(`UPDATE packs SET added = 1`) // older than a week
	locks.exec(`COMMIT`)
	s.args = append(s.args, "--data", "second")
	s.start()

	o.await("the organization is gone", 0, `SELECT count(*)::int FROM organizations WHERE name = 'Zebra'`)
	o.await("the repairs are done", 0, `SELECT count(*)::int FROM repairs`)
	o.await("the orphan is collected", 1, `SELECT count(*)::int FROM packs WHERE emptied > 0`)
	for job, holder := range o.holders() {
		if held[job] == [16]byte{} || holder == held[job] {
			t.Errorf("job %s was not taken over", job)
		}
	}
	for _, folder := range folders {
		if left := zebra.traces(folder); len(left) > 0 {
			t.Errorf("there is still %q", left)
		}
	}
	if _, err := os.Stat(lost[0]); err != nil {
		t.Errorf("what was lost is not repaired: %v", err)
	}
	s.check()
	s.stop()
}
