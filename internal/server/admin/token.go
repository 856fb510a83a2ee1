package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

// NewToken returns a new bearer token of 256 bits.
func NewToken() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Hash returns what the server keeps of a token. A token has too many bits to
// be guessed from it.
func Hash(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// Tokens knows the operator by a bearer token, of which the metadata store
// keeps the hash: so all processes over one store let in the same token, and
// refuse an old one from the moment it is replaced. It is safe for concurrent
// use.
type Tokens struct {
	store meta.Store
	now   func() time.Time
}

// NewTokens returns the tokens that are kept in a store.
func NewTokens(store meta.Store, now func() time.Time) Tokens { return Tokens{store, now} }

// Check returns the id of the token, or fails unless it is the valid one.
func (t Tokens) Check(ctx context.Context, token string) (id.AdminToken, error) {
	var valid meta.AdminToken
	err := t.store.Read(ctx, func(tx meta.Tx) (err error) {
		valid, err = tx.AdminTokens().Valid()
		return err
	})
	hash := Hash(token)
	switch {
	case err != nil && !fault.Is(err, fault.NotFound):
		return id.AdminToken{}, err
	case err != nil, token == "", subtle.ConstantTimeCompare(hash[:], valid.Hash[:]) != 1:
		return id.AdminToken{}, refused()
	}
	return valid.ID, nil
}

func refused() error {
	return fault.WithHint(fault.Errorf(fault.Unauthenticated, "not the operator's token"),
		"the valid one stands in the file admin-token of the data folder in which it was made or rotated; `parsec-server token reset` makes a new one")
}

// Known reports whether there is a valid token.
func (t Tokens) Known(ctx context.Context) (known bool, err error) {
	err = t.store.Read(ctx, func(tx meta.Tx) error {
		_, err := tx.AdminTokens().Valid()
		known = err == nil
		return unlessMissing(err)
	})
	return known, err
}

func unlessMissing(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// Adopt makes a token the valid one where there never was another. It reports
// whether the token is valid now.
func (t Tokens) Adopt(ctx context.Context, token string) (valid bool, err error) {
	made := t.row(Hash(token))
	err = t.store.Write(ctx, func(tx meta.Tx) error {
		there, err := tx.AdminTokens().Valid()
		if err == nil {
			valid = there.Hash == made.Hash
			return nil
		}
		if valid = true; !fault.Is(err, fault.NotFound) {
			return err
		}
		return tx.AdminTokens().Add(made)
	})
	if fault.Is(err, fault.Conflict) { // another process was faster, or the token is an old one
		valid, err = false, nil
	}
	return valid && err == nil, err
}

func (t Tokens) row(hash [sha256.Size]byte) meta.AdminToken {
	return meta.AdminToken{ID: id.New[id.AdminToken](), Hash: hash, Created: t.now().UnixNano()}
}

// Rotate replaces the token with an id by another, of which the hash is given.
// It returns the id of that.
func (t Tokens) Rotate(ctx context.Context, old id.AdminToken, hash [sha256.Size]byte) (id.AdminToken, error) {
	next := t.row(hash)
	err := t.store.Write(ctx, func(tx meta.Tx) error {
		if err := tx.AdminTokens().Revoke(old, next.Created); fault.Is(err, fault.NotFound) {
			return refused() // it was replaced by another call meanwhile
		} else if err != nil {
			return err
		}
		return tx.AdminTokens().Add(next)
	})
	return next.ID, reused(err)
}

func reused(err error) error {
	if fault.Is(err, fault.Conflict) {
		return fault.WithHint(fault.Errorf(fault.Conflict, "the token was used before"), "make a new one")
	}
	return err
}

// Reset makes a token the valid one, whatever there was before. It is for who
// has the database itself, and lost the token.
func (t Tokens) Reset(ctx context.Context, token string) error {
	next := t.row(Hash(token))
	return reused(t.store.Write(ctx, func(tx meta.Tx) error {
		there, err := tx.AdminTokens().Valid()
		if err == nil {
			if there.Hash == next.Hash { // as after a reset that was broken off
				return nil
			}
			err = tx.AdminTokens().Revoke(there.ID, next.Created)
		}
		if unlessMissing(err) != nil {
			return err
		}
		return tx.AdminTokens().Add(next)
	}))
}
