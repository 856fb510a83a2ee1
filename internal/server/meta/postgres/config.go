package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"parsec/internal/base/fault"
)

// tracer sees each round trip.
type tracer interface {
	pgx.QueryTracer
	pgx.BatchTracer
}

// Validate refuses a configuration that cannot work.
func (c Config) Validate() error {
	_, err := c.pool()
	return err
}

// pool returns how to connect. What is wrong with the URL is not said, since
// it holds a password.
func (c Config) pool() (*pgxpool.Config, error) {
	if !strings.HasPrefix(c.URL, "postgres://") && !strings.HasPrefix(c.URL, "postgresql://") {
		return nil, errURL()
	}
	how, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, errURL()
	}
	if !strings.Contains(c.URL, "pool_max_conns=") {
		how.MaxConns = connections
	}
	if how.ConnConfig.ConnectTimeout == 0 {
		how.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	how.ConnConfig.RuntimeParams["application_name"] = "parsec-server"
	// A statement whose caller left is canceled, and the connection stays.
	how.ConnConfig.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cleanTime}
	}
	how.AfterConnect = settle
	return how, nil
}

func errURL() error {
	return fault.WithHint(fault.Errorf(fault.Invalid, "the URL is not one of PostgreSQL"),
		"write postgres://USER:PASSWORD@HOST/DATABASE, with signs like @ and / in a password percent-encoded")
}

// settle prepares a connection. A commit that is answered is on the disk,
// whatever the database's default is; stricter settings stay. The locks of a
// process whose machine vanished are released within two minutes.
func settle(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `
		SELECT set_config('idle_in_transaction_session_timeout', '60s', false),
			set_config('tcp_keepalives_idle', '30', false),
			set_config('tcp_keepalives_interval', '10', false),
			set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)`)
	return err
}
