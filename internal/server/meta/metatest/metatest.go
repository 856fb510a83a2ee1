// Package metatest is the conformance suite of package meta: what every
// adapter promises, checked against the real thing. It also holds a store
// whose writes can be made to fail, for the tests of services.
//
// An adapter's whole test is
//
//	func TestMain(m *testing.M) { metatest.Main(m, open) }
//
//	func TestAdapterKeepsItsPromises(t *testing.T) {
//		metatest.Run(t, metatest.Adapter{New: newPlace, Open: open})
//	}
package metatest

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
)

// Open opens the database at a place: a path, or the address of a schema.
type Open func(ctx context.Context, place string) (meta.Store, error)

// Adapter is what the suite is run against.
type Adapter struct {
	// New returns a new place, where an empty database is, or will be once opened.
	New func(t *testing.T) string
	// Open opens the database there; of those that a test opened, one at a time.
	Open Open
}

// Run checks an adapter.
func Run(t *testing.T, a Adapter) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Adapter)
	}{
		{"Transactions", transactions},
		{"Organizations", organizations},
		{"Users", users},
		{"Invitations", invitations},
		{"Workspaces", workspaces},
		{"Logs", logs},
		{"Entries", entries},
		{"Blocks", blocks},
		{"Grants", grants},
		{"Placements", placements},
		{"AdminTokens", adminTokens},
		{"Audit", audit},
		{"Turns", turns},
		{"Leftovers", leftovers},
		{"Deletions", deletions},
		{"Kill", kill},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, a) })
	}
}

// cases runs tests, each with a store of its own.
func cases(t *testing.T, a Adapter, tests map[string]func(*testing.T, *store)) {
	t.Helper()
	for name, run := range tests {
		t.Run(name, func(t *testing.T) { run(t, a.open(t, a.New(t))) })
	}
}

// store is a store in a test, with words for what tests do.
type store struct {
	meta.Store
}

func (a Adapter) open(t *testing.T, place string) *store {
	t.Helper()
	s, err := a.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &store{s}
}

// write runs fn, which must succeed.
func (s *store) write(t *testing.T, fn func(tx meta.Tx) error) {
	t.Helper()
	if err := s.Write(context.Background(), fn); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// fails runs fn, which must fail with a kind of error.
func (s *store) fails(t *testing.T, kind fault.Kind, fn func(tx meta.Tx) error) {
	t.Helper()
	if err := s.Write(context.Background(), fn); !fault.Is(err, kind) {
		t.Errorf("write: got %v, want an error of kind %v", err, kind)
	}
}

// read runs fn, which must succeed.
func (s *store) read(t *testing.T, fn func(tx meta.Tx) error) {
	t.Helper()
	if err := s.Read(context.Background(), fn); err != nil {
		t.Fatalf("read: %v", err)
	}
}

// missing runs fn, which must not find what it asks for.
func (s *store) missing(t *testing.T, fn func(tx meta.Tx) error) {
	t.Helper()
	if err := s.Read(context.Background(), fn); !fault.Is(err, fault.NotFound) {
		t.Errorf("read: got %v, want an error of kind %v", err, fault.NotFound)
	}
}

// same compares what a store answered; empty bytes may be nil.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func (s *store) newOrganization(t *testing.T, name string) meta.OrganizationKey {
	t.Helper()
	var key meta.OrganizationKey
	s.write(t, func(tx meta.Tx) (err error) {
		key, err = tx.Organizations().Create(meta.Organization{Name: name})
		return err
	})
	return key
}

func (s *store) newWorkspace(t *testing.T, o meta.OrganizationKey) meta.Workspace {
	t.Helper()
	w := meta.Workspace{ID: id.New[id.Workspace](), Key: meta.WorkspaceKey{Organization: o}}
	s.write(t, func(tx meta.Tx) error {
		key, err := tx.Workspaces().Create(w)
		if err == nil {
			w.Key = key
		}
		return err
	})
	return w
}

// workspace makes an organization with a workspace.
func (s *store) workspace(t *testing.T) meta.WorkspaceKey {
	t.Helper()
	return s.newWorkspace(t, s.newOrganization(t, "Acme")).Key
}

func (s *store) stats(t *testing.T, o meta.OrganizationKey) (stats meta.Stats) {
	t.Helper()
	s.read(t, func(tx meta.Tx) (err error) {
		stats, err = tx.Organizations().Stats(o)
		return err
	})
	return stats
}

// chained returns records of a log behind a position.
func chained(p record.Position, raws ...string) []meta.Record {
	records := make([]meta.Record, len(raws))
	for i, raw := range raws {
		digest := record.Digest(sha256.Sum256([]byte(raw)))
		p = p.Next(digest)
		records[i] = meta.Record{Position: p, Digest: digest, Raw: []byte(raw)}
	}
	return records
}

var errRefused = errors.New("refused by the caller")
