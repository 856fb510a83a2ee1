package hostile_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/files"
	"parsec/internal/client/history"
	"parsec/internal/client/mirror"
	"parsec/internal/client/remote"
	"parsec/internal/client/seal"
	"parsec/internal/hostile"
)

// eachEarlier lies about every chain of earlier versions that the client gets.
func eachEarlier(p *hostile.Proxy, about func([]*parsecv1.Chain) []*parsecv1.Chain) {
	lie(p, "WorkspaceService/EntryVersions", func(m *parsecv1.ManifestsResponse) { m.Chains = about(m.GetChains()) })
}

// lookedBack returns what a command does that reads all there was behind a record,
// or brings it back, and expects it to be what is there at the beginning.
func (s *scene) lookedBack(then uint64) func(*clienttest.Person) error {
	return func(p *clienttest.Person) error {
		got, err := s.lookBack(p, then)
		if err != nil {
			_, restored := s.restored(p, then)
			s.breaks(fault.PromiseOf(err), restored)
			return err
		}
		if len(got) != len(first()) || got["/notes.txt"] != "first draft" {
			s.Errorf("%s is shown %v", p.Device().Email, got)
		}
		return nil
	}
}

func (s *scene) restored(p *clienttest.Person, then uint64) ([]files.Restored, error) {
	tree, err := s.open(p)
	if err != nil {
		return nil, err
	}
	past, err := files.At(s.Context(), tree.Mirror, history.Moment{Index: then})
	if err != nil {
		return nil, err
	}
	return tree.Restore(s.Context(), past, "/", files.RestoreOptions{})
}

func TestAttack12_FalsePast(t *testing.T) {
	s := newScene(t)
	notes, deep := s.entryOf("/notes.txt"), s.entryOf("/folder/deep.txt")
	then := s.plans.Workspace().Log().Position().Index
	s.put("/notes.txt", "second draft")
	s.put("/folder/deep.txt", "deeper")
	s.put("/later.txt", "later")
	newest := s.chainOf(notes).Manifests[0].Sealed
	var other []byte
	s.ok(s.alice.Server().EntryVersions(s.Context(), s.workspace(), []remote.Span{{Entry: deep, First: 1, Last: 1}}, func(all []remote.Chain) error {
		other = bytes.Clone(all[0].Manifests[0].Sealed)
		return nil
	}))
	of := func(e id.Entry, lie func(*parsecv1.Chain)) func() {
		return func() {
			eachEarlier(s.proxy, func(all []*parsecv1.Chain) []*parsecv1.Chain {
				for _, c := range all {
					if bytes.Equal(c.GetEntry(), e[:]) {
						lie(c)
					}
				}
				return all
			})
		}
	}
	s.tries(s.bob, expectation{seal.PromiseContent, true}, s.lookedBack(then), []variant[func()]{
		{"an altered earlier manifest", of(notes, func(c *parsecv1.Chain) { c.Manifests[0].Sealed = flipped(c.Manifests[0].Sealed) })},
		{"the newest manifest in place of an earlier one", of(notes, func(c *parsecv1.Chain) { c.Manifests[0].Sealed = newest })},
		{"an earlier manifest of another entry", of(notes, func(c *parsecv1.Chain) { c.Manifests[0].Sealed = other })},
		{"another version than was asked for", of(notes, func(c *parsecv1.Chain) { c.Manifests[0].Version++ })},
		{"an earlier folder that is altered", of(s.plans.Root(), func(c *parsecv1.Chain) { c.Manifests[0].Sealed = flipped(c.Manifests[0].Sealed) })},
	})
}

func TestAttack12_WithheldPast(t *testing.T) {
	s := newScene(t)
	then := s.plans.Workspace().Log().Position().Index
	s.put("/notes.txt", "second draft")
	s.ok(s.alice.Work(s.plans, func(ctx context.Context, l *files.Local) error { return l.Remove(ctx, "/folder", true) }))
	without := func(e id.Entry) func() {
		return func() {
			eachEarlier(s.proxy, func(all []*parsecv1.Chain) []*parsecv1.Chain {
				return slices.DeleteFunc(all, func(c *parsecv1.Chain) bool { return bytes.Equal(c.GetEntry(), e[:]) })
			})
		}
	}
	s.tries(s.bob, expectation{mirror.PromiseComplete, true}, s.lookedBack(then), []variant[func()]{
		{"an earlier version of a file left out", without(s.entryOf("/notes.txt"))},
		{"an earlier version of a folder left out", without(s.plans.Root())},
		{"all of it left out", func() { eachEarlier(s.proxy, func([]*parsecv1.Chain) []*parsecv1.Chain { return nil }) }},
	})
	did, err := s.restored(s.bob, then)
	if err != nil || len(did) != 3 {
		t.Errorf("restoring did %v, %v", did, err)
	}
	s.ok(s.read(first())(s.alice))
}
