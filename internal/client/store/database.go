package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/format/canon"
)

// connections bounds the readers of one database beside its one writer.
const connections = 4

// tableHeader holds the salt, in clear, and a value that proves the key right.
const tableHeader table = "header"

// settings tell the two databases apart.
type settings struct {
	path   string
	schema string
	// layout is the version of the schema and of what is in its values.
	layout int
	tables []table
	// synchronous is FULL where an update must be durable when it returns, and
	// NORMAL where a crash of the machine may take the newest ones.
	synchronous string
	// hint tells a person what to do about damage.
	hint string
}

// name is what messages and derived keys call the database.
func (s settings) name() string { return filepath.Base(s.path) }

// files are all that SQLite may keep for the database.
func (s settings) files() []string { return []string{s.path, s.path + "-wal", s.path + "-shm"} }

// database is one SQLite file with its keys.
type database struct {
	settings
	sql   *sql.DB
	vault *vault
	// statements holds prepared statements by their text.
	statements sync.Map
	// writing is held by the one update at a time.
	writing sync.Mutex
	work    work
}

// work counts what a database is asked for.
type work struct{ statements, rows atomic.Uint64 }

// createDatabase makes the database in a file that is not there or is empty.
func createDatabase(ctx context.Context, s settings, device id.Device, key secret.Key) (*database, error) {
	d, err := connect(s)
	if err != nil {
		return nil, err
	}
	if err := d.fill(ctx, device, key); err != nil {
		return nil, errors.Join(d.fail("create", err), d.close())
	}
	return d, nil
}

// fill makes the file private before SQLite writes to it, and its tables.
func (d *database) fill(ctx context.Context, device id.Device, key secret.Key) error {
	f, err := os.OpenFile(d.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	salt := make([]byte, saltSize)
	rand.Read(salt)
	if d.vault, err = newVault(key, device, d.name(), salt, d.tables); err != nil {
		return err
	}
	proof := d.vault.seal(tableHeader, nil, device[:])
	return d.update(ctx, func(t *tx) error {
		if _, err := t.sql.Exec(fmt.Sprintf("%s; PRAGMA user_version = %d", d.schema, d.layout)); err != nil {
			return err
		}
		return t.exec("INSERT INTO header (salt, proof) VALUES (?, ?)", salt, proof)
	})
}

// openDatabase opens a file that createDatabase made.
func openDatabase(ctx context.Context, s settings, device id.Device, key secret.Key) (*database, error) {
	switch info, err := os.Stat(s.path); {
	case errors.Is(err, os.ErrNotExist):
		return nil, damaged(s, errors.New("the file is missing"))
	case err == nil && info.Size() == 0:
		return nil, damaged(s, errors.New("the file is empty"))
	}
	d, err := connect(s)
	if err != nil {
		return nil, err
	}
	if err := d.unlock(ctx, device, key); err != nil {
		return nil, errors.Join(d.fail("open", err), d.close())
	}
	return d, nil
}

func (d *database) unlock(ctx context.Context, device id.Device, key secret.Key) error {
	var version int
	if err := d.sql.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > d.layout {
		return fault.Errorf(fault.Upgrade, "it was written by a newer version of this program")
	}
	if version < d.layout {
		return fmt.Errorf("its tables: %w", errLost)
	}
	var salt, proof []byte
	err := d.sql.QueryRowContext(ctx, "SELECT salt, proof FROM header").Scan(&salt, &proof)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("its header: %w", errLost)
	}
	if err != nil {
		return err
	}
	if d.vault, err = newVault(key, device, d.name(), salt, d.tables); err != nil {
		return err
	}
	_, err = d.vault.open(tableHeader, nil, proof)
	return err
}

// connect opens the file without reading it.
func connect(s settings) (*database, error) {
	path, err := filepath.Abs(s.path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", s.name(), err)
	}
	path = filepath.ToSlash(path)
	if path[0] != '/' { // a drive letter
		path = "/" + path
	}
	query := url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			"busy_timeout(10000)",
			"journal_mode(WAL)",
			"synchronous(" + s.synchronous + ")",
			"cell_size_check(1)",
			"cache_size(-8000)",        // 8 MB a connection
			"wal_autocheckpoint(4000)", // 16 MB: random keys dirty many pages, and each is copied once a checkpoint
			"journal_size_limit(32000000)",
		},
	}
	address := url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", address.String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", s.name(), err)
	}
	db.SetMaxOpenConns(1 + connections)
	db.SetMaxIdleConns(1 + connections)
	return &database{settings: s, sql: db}, nil
}

func (d *database) close() error {
	if err := d.sql.Close(); err != nil {
		return fmt.Errorf("close %s: %w", d.name(), err)
	}
	return nil
}

// prepare returns the prepared form of a query outside an update.
func (d *database) prepare(query string) (*sql.Stmt, error) {
	d.work.statements.Add(1)
	if s, ok := d.statements.Load(query); ok {
		return s.(*sql.Stmt), nil
	}
	s, err := d.sql.Prepare(query)
	if err != nil {
		return nil, err
	}
	if first, there := d.statements.LoadOrStore(query, s); there {
		return first.(*sql.Stmt), s.Close()
	}
	return s, nil
}

// tx is one update. Its statements do not watch the context: each is short,
// and watching costs more than most of them. It serves one goroutine.
type tx struct {
	db         *database
	sql        *sql.Tx
	statements map[string]*sql.Stmt
	// failed is the first failure of a statement. SQLite may have rolled back
	// because of it, and what a later statement wrote would stay: there is none.
	failed error
}

func (t *tx) prepare(query string) (*sql.Stmt, error) {
	if t.failed != nil {
		return nil, t.failed
	}
	t.db.work.statements.Add(1)
	if s, ok := t.statements[query]; ok {
		return s, nil
	}
	s, err := t.sql.Prepare(query)
	if err != nil {
		return nil, t.note(err)
	}
	t.statements[query] = s
	return s, nil
}

func (t *tx) note(err error) error {
	if t.failed == nil {
		t.failed = err
	}
	return err
}

func (t *tx) exec(query string, args ...any) error {
	s, err := t.prepare(query)
	if err != nil {
		return err
	}
	_, err = s.Exec(args...)
	return t.note(err)
}

// update runs apply in a transaction and commits it, unless apply or one of
// its statements fails or ctx has ended by then. The error of apply is
// returned as it is.
func (d *database) update(ctx context.Context, apply func(*tx) error) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return d.fail("update", err)
	}
	transaction, err := d.sql.Begin()
	if err != nil {
		return d.fail("update", err)
	}
	// Without effect after a commit. It fails where SQLite has rolled back by
	// itself, and leaves nothing either way.
	defer transaction.Rollback()
	t := &tx{db: d, sql: transaction, statements: make(map[string]*sql.Stmt)}
	if err := apply(t); err != nil {
		return err
	}
	if err := errors.Join(t.failed, ctx.Err()); err != nil {
		return d.fail("update", err)
	}
	return d.fail("update", transaction.Commit())
}

// querier runs queries inside or outside an update.
type querier interface {
	prepare(query string) (*sql.Stmt, error)
	// note is told every failure of what was prepared, and returns it.
	note(err error) error
	// did counts what was asked for.
	did() *work
}

func (d *database) did() *work { return &d.work }
func (t *tx) did() *work       { return &t.db.work }

// note does nothing: outside an update nothing follows from a failure.
func (d *database) note(err error) error { return err }

// each calls visit for every row of the query. Visit must not query.
func each(q querier, visit func(*sql.Rows) error, query string, args ...any) (err error) {
	s, err := q.prepare(query)
	if err != nil {
		return err
	}
	rows, err := s.Query(args...)
	if err != nil {
		return q.note(err)
	}
	defer func() { err = q.note(errors.Join(err, rows.Close())) }()
	for rows.Next() {
		q.did().rows.Add(1)
		if err := visit(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// number returns the one number that the query finds.
func number(q querier, query string, args ...any) (n uint64, err error) {
	s, err := q.prepare(query)
	if err != nil {
		return 0, err
	}
	return n, q.note(s.QueryRow(args...).Scan(&n))
}

// put seals a value into the row of a table with this key. By convention a
// table's columns are its key and then its one value.
func (t *tx) put(name table, plain []byte, key ...any) error {
	sealed := t.db.vault.seal(name, rowKey(key), plain)
	marks := strings.Repeat("?, ", len(key))
	err := t.exec("INSERT OR REPLACE INTO "+string(name)+" VALUES ("+marks+"?)", append(key, sealed)...)
	return t.db.fail("write", err)
}

// values opens every value that the query finds and calls visit with it. The
// query's columns are those of the table.
func (d *database) values(ctx context.Context, name table, visit func(key []any, plain []byte) error, query string, args ...any) error {
	if err := ctx.Err(); err != nil {
		return d.fail("read", err)
	}
	return d.valuesIn(d, name, visit, query, args...)
}

// valuesIn is values inside an update, or outside.
func (d *database) valuesIn(q querier, name table, visit func(key []any, plain []byte) error, query string, args ...any) error {
	return d.fail("read", each(q, func(rows *sql.Rows) error {
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		row, dest := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			dest[i] = &row[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		key, sealed := row[:len(row)-1], row[len(row)-1]
		plain, err := d.vault.open(name, rowKey(key), sealed.([]byte))
		if err != nil {
			return err
		}
		return visit(key, plain)
	}, query, args...))
}

// rowKey joins the key columns of a row. In one table they have fixed lengths,
// but for the names of single values, which stand alone.
func rowKey(columns []any) []byte {
	var key []byte
	for _, c := range columns {
		switch c := c.(type) {
		case []byte:
			key = append(key, c...)
		case string:
			key = append(key, c...)
		case uint64:
			key = binary.BigEndian.AppendUint64(key, c)
		case int64:
			key = binary.BigEndian.AppendUint64(key, uint64(c))
		default:
			panic(fmt.Sprintf("store: a key of type %T", c))
		}
	}
	return key
}

// all returns the decoded values that the query finds.
func all[T any](ctx context.Context, d *database, name table, query string, args ...any) ([]T, error) {
	var found []T
	err := d.values(ctx, name, func(_ []any, plain []byte) error {
		var v T
		err := canon.Unmarshal(plain, &v)
		found = append(found, v)
		return err
	}, query, args...)
	return found, err
}

// first returns the first of the decoded values that the query finds, if any.
func first[T any](ctx context.Context, d *database, name table, query string, args ...any) (v T, found bool, err error) {
	values, err := all[T](ctx, d, name, query, args...)
	if err != nil || len(values) == 0 {
		return v, false, err
	}
	return values[0], true, nil
}

// pages yields the items of one page after the other until one is empty. No
// query is open while an item is with the caller.
func pages[T any](next func(last *T) ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var last *T
		for {
			page, err := next(last)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			if len(page) == 0 {
				return
			}
			for _, item := range page {
				if !yield(item, nil) {
					return
				}
			}
			last = &page[len(page)-1]
		}
	}
}

// damage marks an error that says that a database does not hold what this
// device wrote.
type damage struct {
	path string
	error
}

func (d damage) Unwrap() error { return d.error }

// IsDamaged reports whether err says that a database does not hold what this
// device wrote. Of the state that is final; the cache can be [Cache.Reset].
func IsDamaged(err error) bool {
	_, is := errors.AsType[damage](err)
	return is
}

// isDamagedBy reports whether err says so of this database.
func (d *database) isDamagedBy(err error) bool {
	found, is := errors.AsType[damage](err)
	return is && found.path == d.path
}

func damaged(s settings, err error) error {
	return fault.WithHint(damage{s.path, fmt.Errorf("%s is damaged: %w", s.name(), err)}, "%s", s.hint)
}

// fail gives an error its kind and its hint. An error that has passed here
// before stays as it is.
func (d *database) fail(verb string, err error) error {
	if err == nil || IsDamaged(err) {
		return err
	}
	if errors.Is(err, errForeign) || errors.Is(err, errLost) {
		return damaged(d.settings, fault.Broken("local data is what this device wrote", "%s: %w", verb, err))
	}
	code := 0
	if engine, is := errors.AsType[*sqlite.Error](err); is {
		code = engine.Code() & 0xff
	}
	dir := filepath.Dir(d.path)
	switch {
	case code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB:
		return damaged(d.settings, fmt.Errorf("%s: %w", verb, err))
	case code == sqlite3.SQLITE_FULL || errors.Is(err, syscall.ENOSPC):
		return fault.WithHint(fault.Errorf(fault.Full, "%s %s: %w", verb, d.name(), err),
			"free some room on the disk that holds %s and run the command again: nothing is lost", dir)
	case code == sqlite3.SQLITE_READONLY || code == sqlite3.SQLITE_PERM || code == sqlite3.SQLITE_CANTOPEN || errors.Is(err, fs.ErrPermission):
		return fault.WithHint(fault.Errorf(fault.Denied, "%s %s: %w", verb, d.name(), err),
			"check that %s belongs to you and can be written", dir)
	}
	return fmt.Errorf("%s %s: %w", verb, d.name(), err)
}
