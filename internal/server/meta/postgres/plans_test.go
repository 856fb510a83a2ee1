package postgres_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
	"parsec/internal/server/meta/metatest"
	"parsec/internal/server/meta/postgres"
	"parsec/internal/services"
)

func TestTheStoreKeepsTheContractAndReadsNoTableWhole(t *testing.T) {
	trace := postgres.NewTrace()
	metatest.Run(t, metatest.Adapter{
		New: func(t *testing.T) string { return services.Postgres(t) },
		Open: func(ctx context.Context, place string) (meta.Store, error) {
			return postgres.OpenTraced(ctx, postgres.Config{URL: place}, trace)
		},
	})
	place := services.Postgres(t)
	s, err := open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := pgx.Connect(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	// In tables as small as a test's, reading all would be right. So it is
	// made so dear that it is chosen only where no index will do.
	if _, err := c.Exec(t.Context(), "SET enable_seqscan = off"); err != nil {
		t.Fatal(err)
	}
	queries := trace.Queries()
	for query, args := range queries {
		checkPlan(t, c, query, args)
	}
	if len(queries) < 50 {
		t.Errorf("the suite ran only %d queries", len(queries))
	}
}

// checkPlan reports the nodes of a plan that read a table or an index from one
// end to the other.
func checkPlan(t *testing.T, c *pgx.Conn, query string, args []any) {
	t.Helper()
	if regexp.MustCompile(`^(BEGIN|COMMIT|SELECT pg_advisory)`).MatchString(query) ||
		regexp.MustCompile(`FROM (packs p|stores ORDER|repairs GROUP)`).MatchString(query) { // once at each start; the stores; those of all repairs, for who asks
		return
	}
	rows, err := c.Query(t.Context(), "EXPLAIN "+query, args...)
	if err != nil {
		t.Fatalf("explain %s: %v", query, err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("explain %s: %v", query, err)
	}
	plan := strings.Join(lines, "\n")
	for i, line := range lines {
		switch {
		case strings.Contains(line, "Seq Scan on"):
		case strings.Contains(line, "Filter:") && strings.Contains(line, "= ANY"): // all of a workspace, for some of it
		case strings.Contains(line, "Index") && strings.Contains(line, "Scan") && (i+1 == len(lines) || !strings.Contains(lines[i+1], "Index Cond:")):
		default:
			continue
		}
		t.Errorf("%s\nreads all of a table or an index:\n%s", query, plan)
		return
	}
}

// aCommit does what a commit of n changes does, as the service of workspaces does it.
func aCommit(n int, w meta.Workspace) func(meta.Tx) error {
	return func(tx meta.Tx) error {
		now, _, err := tx.Workspaces().Lock(w.Key.Organization, w.ID)
		if err != nil {
			return err
		}
		now.Position.Index++
		digest := record.Digest(sha256.Sum256([]byte(rand.Text())))
		entries, blocks, changes := make([]id.Entry, n), make([]id.Block, n), make([]meta.Change, n)
		for i := range changes {
			entries[i] = id.New[id.Entry]()
			changes[i] = meta.Change{Entry: entries[i], Number: 1, Base: 1, Sealed: make([]byte, 300)}
			blocks[i] = id.New[id.Block]()
		}
		if _, err := tx.Entries().Versions(w.Key, entries); err != nil {
			return err
		}
		if err := tx.Entries().Put(w.Key, now.Position.Index, changes); err != nil {
			return err
		}
		if _, err := tx.Blocks().Mark(w.Key, now.Position.Index, blocks); err != nil {
			return err
		}
		if err := tx.Workspaces().Update(now); err != nil {
			return err
		}
		return tx.Logs().Append(w.Key.Log(), []meta.Record{{Position: now.Position, Digest: digest, Raw: []byte(fmt.Sprint(now.Position.Index))}})
	}
}

func TestACommitOfAThousandChangesTakesAsManyRoundTripsAsOneOfOne(t *testing.T) {
	trace := postgres.NewTrace()
	s, err := postgres.OpenTraced(t.Context(), postgres.Config{URL: services.Postgres(t)}, trace)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := newWorkspace(t, s)
	for _, n := range []int{1, 1000} {
		write(t, s, aCommit(n, w)) // the first of a size prepares its statements
		before := trace.Trips()
		write(t, s, aCommit(n, w))
		if got, want := trace.Trips()-before, 4; got != want {
			t.Errorf("%d changes: %d round trips, want %d", n, got, want)
		}
	}
}

// What is asked of a few rows of a workspace looks up these and no others, also
// where the database has never counted what is there.
func TestARequestForAFewRowsReadsFewPagesWithoutStatistics(t *testing.T) {
	trace, place := postgres.NewTrace(), services.Postgres(t)
	s, err := postgres.OpenTraced(t.Context(), postgres.Config{URL: place}, trace)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := newWorkspace(t, s)
	for range 4 {
		write(t, s, aCommit(1000, w))
		write(t, s, func(tx meta.Tx) error {
			blocks := make([]meta.Block, 1000)
			for i := range blocks {
				blocks[i].ID = id.New[id.Block]()
			}
			_, err := tx.Blocks().Add(w.Key, meta.Pack{ID: id.New[id.Pack]()}, blocks)
			return err
		})
	}
	few, some := make([]id.Entry, 10), make([]id.Block, 10)
	for i := range few {
		few[i], some[i] = id.New[id.Entry](), id.New[id.Block]()
	}
	before := trace.Queries()
	write(t, s, func(tx meta.Tx) error {
		if _, err := tx.Entries().Versions(w.Key, few); err != nil {
			return err
		}
		if _, err := tx.Blocks().Locate(w.Key, some); err != nil {
			return err
		}
		_, err := tx.Blocks().Mark(w.Key, 1, some)
		return err
	})
	c, err := pgx.Connect(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	asked := 0
	for query, args := range trace.Queries() {
		if !strings.Contains(query, "a.id OFFSET 0") || fmt.Sprint(before[query]) == fmt.Sprint(args) {
			continue
		}
		asked++
		if pages := pagesOf(t, c, query, args); pages > 100 {
			t.Errorf("%s\nreads %d pages for 10 rows", query, pages)
		}
	}
	if asked != 3 {
		t.Errorf("looked at %d queries, want 3", asked)
	}
}

// pagesOf returns how many pages a query reads, which is undone.
func pagesOf(t *testing.T, c *pgx.Conn, query string, args []any) (pages int) {
	t.Helper()
	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	rows, err := tx.Query(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, TIMING off) "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	_, whole, _ := strings.Cut(strings.Join(lines, "\n"), "Buffers:")
	whole, _, _ = strings.Cut(whole, "\n")
	for _, m := range regexp.MustCompile(`(?:hit|read)=(\d+)`).FindAllStringSubmatch(whole, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		pages += n
	}
	if pages == 0 {
		t.Errorf("no pages in %q", lines)
	}
	return pages
}

func newWorkspace(t testing.TB, s meta.Store) meta.Workspace {
	t.Helper()
	w := meta.Workspace{ID: id.New[id.Workspace]()}
	write(t, s, func(tx meta.Tx) (err error) {
		o := meta.Organization{Name: w.ID.String(), Fingerprint: sha256.Sum256([]byte(rand.Text()))}
		if w.Key.Organization, err = tx.Organizations().Create(o); err != nil {
			return err
		}
		w.Key, err = tx.Workspaces().Create(w)
		return err
	})
	return w
}

func write(t testing.TB, s meta.Store, fn func(meta.Tx) error) {
	t.Helper()
	if err := s.Write(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}
