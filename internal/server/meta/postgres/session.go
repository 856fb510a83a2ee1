package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"parsec/internal/base/fault"
	"parsec/internal/server/meta"
)

// session is one transaction on one connection.
type session struct {
	ctx  context.Context
	pool *pgxpool.Pool
	conn *pgxpool.Conn
	// begin is the statement that begins the transaction; begun says that it did.
	begin string
	begun bool
	// reads says that nothing is locked or written.
	reads bool
	// later are the writes that were put off.
	later []statement
	// counts is what the counters of organizations change by.
	counts map[meta.OrganizationKey]*meta.Stats
	// lost is why the transaction cannot be committed, or nil; collided says
	// that it is worth another time.
	lost     error
	collided bool
}

// statement is a query for a purpose.
type statement struct {
	what, query string
	args        []any
	// row is called for each row of the answer; nil where there are none to read.
	row func(pgx.Rows) error
}

// put writes what answers nothing, when something is asked or at the commit.
// Where it has to find a row, the query says so with parsec_must.
func (s *session) put(what, query string, args ...any) error {
	if s.lost != nil {
		return s.lost
	}
	if s.reads {
		return s.lose(what, errors.New("a read does not write"))
	}
	s.later = append(s.later, statement{what, query, args, nil})
	return nil
}

// ask sends what was put off and a query, and calls row for each row of its answer.
func (s *session) ask(what, query string, args []any, row func(pgx.Rows) error) error {
	return s.askAll(statement{what, query, args, row})
}

// askAll sends what was put off and queries, each of which sees what those
// before it locked.
func (s *session) askAll(all ...statement) error {
	if s.lost != nil {
		return s.lost
	}
	err := s.send(append(s.later, all...))
	s.later = nil
	return err
}

// change is ask for a query that changes rows, in a transaction that may.
func (s *session) change(what, query string, args []any, row func(pgx.Rows) error) error {
	if s.reads && s.lost == nil {
		return s.lose(what, errors.New("a read does not write"))
	}
	return s.ask(what, query, args, row)
}

// any reads the one row of a query, if there is one.
func (s *session) any(what, query string, args []any, into ...any) (found bool, err error) {
	err = s.ask(what, query, args, func(rows pgx.Rows) error {
		found = true
		return rows.Scan(into...)
	})
	return found, err
}

// one reads the one row of a query; it fails with not found where there is none.
func (s *session) one(what, query string, args []any, into ...any) error {
	found, err := s.any(what, query, args, into...)
	if err == nil && !found {
		return fault.Errorf(fault.NotFound, "%s: there is none", what)
	}
	return err
}

// send sends statements in one round trip, the first time behind the one that
// begins the transaction. As long as it has not begun, a connection that turns
// out to be dead is replaced.
func (s *session) send(all []statement) error {
	for n := 1; ; n++ {
		what, err := s.trip(s.ctx, all)
		switch {
		case err == nil:
			return nil
		case s.begun || n > connections || s.ctx.Err() != nil || !broken(err):
			return s.lose(what, err)
		}
		s.conn.Release()
		s.conn = nil
		if s.conn, err = s.pool.Acquire(s.ctx); err != nil {
			return s.lose(what, err)
		}
	}
}

// trip is one round trip. It returns which statement failed, and why.
func (s *session) trip(ctx context.Context, all []statement) (what string, err error) {
	batch := new(pgx.Batch)
	if !s.begun {
		batch.Queue(s.begin)
	}
	for _, q := range all {
		batch.Queue(q.query, q.args...)
	}
	answers := s.conn.SendBatch(ctx, batch)
	defer func() {
		if closing := answers.Close(); err == nil {
			err = closing
		}
	}()
	if !s.begun {
		if _, err := answers.Exec(); err != nil {
			return all[0].what, err
		}
		s.begun = true
	}
	for _, q := range all {
		if err := q.read(answers); err != nil {
			return q.what, err
		}
	}
	return all[len(all)-1].what, nil
}

// read reads the answer to a statement.
func (q statement) read(answers pgx.BatchResults) error {
	if q.row == nil {
		_, err := answers.Exec()
		return err
	}
	rows, err := answers.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := q.row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// lose notes that the transaction is lost, and returns why.
func (s *session) lose(what string, err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case serializationFailure, deadlockDetected, changedPlan:
			s.collided = true
		}
	}
	// Nothing was committed, so it does no harm to begin anew elsewhere.
	s.collided = s.collided || s.begun && broken(err)
	s.lost = wrap(s.ctx, what, err)
	return s.lost
}

// commit sends what was put off together with the commit, and makes all of it
// durable. The end of the caller's context breaks nothing off any more.
func (s *session) commit() error {
	const what = "commit metadata"
	s.count()
	if s.lost != nil || !s.begun && len(s.later) == 0 {
		return s.lost
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), commitTime)
	defer cancel()
	s.ctx = ctx
	if len(s.later) > 0 && !s.begun {
		// A connection that is dead is found out before anything hangs on it.
		if err := s.send([]statement{{what: what, query: "SELECT"}}); err != nil {
			return err
		}
	}
	failed, err := s.trip(ctx, append(s.later, statement{what: what, query: "COMMIT"}))
	s.later = nil
	if err != nil {
		wasBroken := broken(err)
		err = s.lose(failed, err)
		s.collided = s.collided && !wasBroken // it may be committed
		return err
	}
	if status := s.conn.Conn().PgConn().TxStatus(); status != 'I' {
		return s.lose(what, fmt.Errorf("the transaction is in state %q", status))
	}
	s.begun = false
	return nil
}

// end undoes what was not committed, and gives the connection back.
func (s *session) end() {
	if s.conn == nil {
		return
	}
	defer s.conn.Release() // which closes it where undoing failed
	if s.begun && !s.conn.Conn().IsClosed() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), cleanTime)
		defer cancel()
		_, _ = s.conn.Exec(ctx, "ROLLBACK")
	}
}

// into is where a column of a fixed length is read to: the bytes of an id, a
// digest or a head.
type into []byte

// ScanBytes implements [pgtype.BytesScanner].
func (d into) ScanBytes(column []byte) error {
	if len(column) != len(d) {
		return fmt.Errorf("a column of %d bytes where %d are due", len(column), len(d))
	}
	copy(d, column)
	return nil
}

// orZero is into where NULL stands for zeros.
type orZero []byte

// ScanBytes implements [pgtype.BytesScanner].
func (d orZero) ScanBytes(column []byte) error {
	if column == nil {
		clear(d)
		return nil
	}
	return into(d).ScanBytes(column)
}

// blob is not NULL where there are no bytes.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// bytesOf returns the bytes of ids, for a parameter that is an array.
func bytesOf[T ~[16]byte](ids []T) [][]byte {
	all := make([][]byte, len(ids))
	for i := range ids {
		b := [16]byte(ids[i])
		all[i] = b[:]
	}
	return all
}

// tx implements [meta.Tx].
type tx struct{ s *session }

func (t tx) Organizations() meta.Organizations { return organizations{t.s} }
func (t tx) Users() meta.Users                 { return users{t.s} }
func (t tx) Logs() meta.Logs                   { return logs{t.s} }
func (t tx) Workspaces() meta.Workspaces       { return workspaces{t.s} }
func (t tx) Entries() meta.Entries             { return entries{t.s} }
func (t tx) Blocks() meta.Blocks               { return blocks{t.s} }
func (t tx) Grants() meta.Grants               { return grants{t.s} }
func (t tx) Invitations() meta.Invitations     { return invitations{t.s} }
func (t tx) Placements() meta.Placements       { return placements{t.s} }
func (t tx) AdminTokens() meta.AdminTokens     { return adminTokens{t.s} }
func (t tx) Audit() meta.Audit                 { return audit{t.s} }
func (t tx) ObjectStores() meta.ObjectStores   { return objectStores{t.s} }
func (t tx) Turns() meta.Turns                 { return turns{t.s} }
func (t tx) Leftovers() meta.Leftovers         { return leftovers{t.s} }
func (t tx) Deletions() meta.Deletions         { return deletions{t.s} }
