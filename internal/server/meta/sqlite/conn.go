package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"parsec/internal/base/fault"
)

// conn is a connection with the statements that it has prepared. One
// goroutine uses it at a time.
//
// Statements do not see the caller's context: they are short, and breaking
// one off costs a goroutine for each.
type conn struct {
	c          *sql.Conn
	statements map[string]*sql.Stmt
	// lost is why the transaction has to be rolled back, or nil.
	lost error
}

func connect(ctx context.Context, db *sql.DB) (*conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{c: c, statements: make(map[string]*sql.Stmt)}, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

// prepare returns the statement for a query, of which the program has a fixed
// number: queries are constants.
func (c *conn) prepare(query string) (*sql.Stmt, error) {
	if s := c.statements[query]; s != nil {
		return s, nil
	}
	s, err := c.c.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	c.statements[query] = s
	return s, nil
}

// run executes a query outside of what a transaction does.
func (c *conn) run(query string, args ...any) error {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background(), args...)
	return err
}

// exec executes a query that changes rows, and returns how many it changed.
func (c *conn) exec(what, query string, args ...any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, c.lose(what, err)
	}
	r, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, c.lose(what, err)
	}
	n, err := r.RowsAffected()
	if err != nil {
		return 0, c.lose(what, err)
	}
	return n, nil
}

// change executes a query that must find its row.
func (c *conn) change(what, query string, args ...any) error {
	n, err := c.exec(what, query, args...)
	if err == nil && n == 0 {
		return missing(what)
	}
	return err
}

// insert executes a query that adds a row, and returns the row's number.
func (c *conn) insert(what, query string, args ...any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, c.lose(what, err)
	}
	r, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, c.lose(what, err)
	}
	return r.LastInsertId()
}

// one reads the one row of a query; it fails with not found where there is none.
func (c *conn) one(what, query string, args []any, into ...any) error {
	found, err := c.any(what, query, args, into...)
	if err == nil && !found {
		return missing(what)
	}
	return err
}

// any reads the first row of a query, if there is one.
func (c *conn) any(what, query string, args []any, into ...any) (found bool, err error) {
	s, err := c.prepare(query)
	if err != nil {
		return false, c.lose(what, err)
	}
	err = s.QueryRowContext(context.Background(), args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, c.lose(what, err)
	}
	return true, nil
}

// each calls row for each row of a query, until it says that it has enough.
func (c *conn) each(what, query string, args []any, row func(*sql.Rows) (more bool, err error)) error {
	s, err := c.prepare(query)
	if err != nil {
		return c.lose(what, err)
	}
	rows, err := s.QueryContext(context.Background(), args...)
	if err != nil {
		return c.lose(what, err)
	}
	defer rows.Close()
	for rows.Next() {
		more, err := row(rows)
		if err != nil {
			return c.lose(what, err)
		}
		if !more {
			return nil
		}
	}
	if err := rows.Err(); err != nil {
		return c.lose(what, err)
	}
	return nil
}

// lose notes that the transaction is lost, and returns why.
func (c *conn) lose(what string, err error) error {
	err = wrap(what, err)
	if c.lost == nil {
		c.lost = err
	}
	return err
}

func missing(what string) error { return fault.Errorf(fault.NotFound, "%s: there is none", what) }

// wrap says what failed and gives an error of SQLite its kind.
func wrap(what string, err error) error {
	var e *sqlite.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &e):
		return fmt.Errorf("%s: %w", what, err)
	}
	switch code := e.Code(); {
	case code&0xff == sqlite3.SQLITE_FULL, code == sqlite3.SQLITE_IOERR_SHMSIZE:
		return fault.WithHint(fault.Errorf(fault.Full, "%s: %w", what, err), "free some space on the server's disk")
	case code == sqlite3.SQLITE_CONSTRAINT_UNIQUE, code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return fault.Errorf(fault.Conflict, "%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// into is where a column of a fixed length is read to: the bytes of an id, a
// digest or a head.
type into []byte

// Scan implements [sql.Scanner].
func (d into) Scan(column any) error {
	b, ok := column.([]byte)
	if !ok || len(b) != len(d) {
		return fmt.Errorf("a column of %d bytes where %d are due", len(b), len(d))
	}
	copy(d, b)
	return nil
}
