package postgres

import (
	"context"
	"maps"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Trace counts round trips, and keeps the queries that were sent.
type Trace struct {
	mu      sync.Mutex
	trips   int
	queries map[string][]any
}

// NewTrace returns a trace of nothing yet.
func NewTrace() *Trace { return &Trace{queries: make(map[string][]any)} }

// Trips returns the number of round trips.
func (t *Trace) Trips() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.trips
}

// Queries returns the queries, each with arguments that it was sent with.
func (t *Trace) Queries() map[string][]any {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.queries)
}

func (t *Trace) note(trips int, query string, args []any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trips += trips
	if query != "" {
		t.queries[query] = args
	}
}

func (t *Trace) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	t.note(1, "", nil)
	return ctx
}

func (t *Trace) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (t *Trace) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	t.note(1, "", nil)
	return ctx
}

func (t *Trace) TraceBatchQuery(_ context.Context, _ *pgx.Conn, d pgx.TraceBatchQueryData) {
	t.note(0, d.SQL, d.Args)
}

func (t *Trace) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// OpenTraced is Open with a trace.
func OpenTraced(ctx context.Context, c Config, t *Trace) (*Store, error) {
	return openTraced(ctx, c, t)
}
