package store

import (
	"context"
	"iter"

	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/record"
)

// Pending is a signed request that is kept from before it is first sent until
// it is answered, to be sent again byte for byte.
type Pending struct {
	_ struct{} `cbor:",toarray"`
	// Number orders the requests and is never used again; [StateTx.Queue] sets it.
	Number uint64
	// Workspace is the log that the record is meant for.
	Workspace id.Workspace
	// Digest is the SHA-256 of the record, by which it is found in the log when
	// the answer was lost.
	Digest record.Digest
	// Request is what is sent: the record with what travels beside it, in the
	// caller's own encoding.
	Request []byte
}

// Queue keeps a request and returns its number.
func (t *StateTx) Queue(p Pending) (uint64, error) {
	if err := t.tx.exec("INSERT INTO outbox DEFAULT VALUES"); err != nil {
		return 0, t.tx.db.fail("queue request", err)
	}
	var err error
	if p.Number, err = number(t.tx, "SELECT last_insert_rowid()"); err != nil {
		return 0, t.tx.db.fail("queue request", err)
	}
	return p.Number, t.tx.put(tableOutbox, canon.Marshal(p), p.Number)
}

// Settle forgets requests that were answered, or that can no longer apply.
// Numbers that are not there are passed over.
func (t *StateTx) Settle(numbers ...uint64) error {
	for _, n := range numbers {
		if err := t.tx.exec("DELETE FROM outbox WHERE number = ?", n); err != nil {
			return t.tx.db.fail("settle request", err)
		}
	}
	return nil
}

// Outbox returns the requests that are not settled, by ascending number.
func (s *State) Outbox(ctx context.Context) iter.Seq2[Pending, error] {
	return pages(func(last *Pending) ([]Pending, error) {
		after := uint64(0)
		if last != nil {
			after = last.Number
		}
		return all[Pending](ctx, s.db, tableOutbox,
			"SELECT number, value FROM outbox WHERE number > ? ORDER BY number LIMIT 1", after)
	})
}

// PutProgress remembers how far a piece of work is, under a name that does not
// show on the disk.
func (t *StateTx) PutProgress(name string, value []byte) error {
	key := t.tx.db.vault.hide(tableProgress, []byte(name))
	return t.tx.put(tableProgress, value, key[:])
}

// DropProgress forgets the progress under a name, if there is any.
func (t *StateTx) DropProgress(name string) error {
	key := t.tx.db.vault.hide(tableProgress, []byte(name))
	return t.tx.db.fail("drop progress", t.tx.exec("DELETE FROM progress WHERE name = ?", key[:]))
}

// Progress returns what [StateTx.PutProgress] remembered under a name, if anything.
func (s *State) Progress(ctx context.Context, name string) (value []byte, found bool, err error) {
	key := s.db.vault.hide(tableProgress, []byte(name))
	err = s.db.values(ctx, tableProgress, func(_ []any, plain []byte) error {
		value, found = plain, true
		return nil
	}, "SELECT name, value FROM progress WHERE name = ?", key[:])
	return value, found, err
}
