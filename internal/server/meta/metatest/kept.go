package metatest

import (
	"bytes"
	"testing"

	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
)

// Kept checks that a store has what testdata/schema1.sql of its adapter puts
// into the tables of the first version, and can go on from there.
func Kept(t *testing.T, open meta.Store) {
	t.Helper()
	s := &store{open}
	o := meta.Organization{
		Key: 1, Name: "Acme", Bootstrap: [32]byte(repeat(1, 32)), Fingerprint: id.Fingerprint(repeat(2, 32)), Root: repeat(3, 32),
		Position: record.Position{Index: 1, Head: record.Head(repeat(4, 32))}, Created: 100,
		Limits: meta.Limits{ActiveUsers: 7, Storage: 1000, Outsiders: true},
	}
	w := meta.Workspace{
		Key: meta.WorkspaceKey{Organization: 1, Number: 1}, ID: id.Workspace(repeat(11, 16)),
		Position: record.Position{Index: 1, Head: record.Head(repeat(12, 32))}, State: []byte("state"), Updated: 120,
	}
	s.read(t, func(tx meta.Tx) error { return keptOrganization(t, tx, o) })
	s.read(t, func(tx meta.Tx) error { return keptWorkspace(t, tx, w) })
	// Where placements are younger than the tables, the packs are placed when
	// the first store is registered.
	s.write(t, func(tx meta.Tx) error { _, err := tx.ObjectStores().Register("first"); return err })
	s.read(t, func(tx meta.Tx) error {
		stores, err := tx.ObjectStores().List()
		same(t, "stores", stores, []meta.ObjectStore{{ID: 1, Name: "first"}})
		if err != nil {
			return err
		}
		placed, err := tx.Placements().List(meta.PackKey{}, 10)
		same(t, "placements", placed, []meta.Placement{{
			Key:  meta.PackKey{Organization: o.Fingerprint, Workspace: w.ID, Pack: id.Pack(repeat(16, 16))},
			Size: 30, Data: 1, Stores: []meta.StoreID{1},
		}})
		return err
	})
	same(t, "stats", s.stats(t, 1), meta.Stats{
		Users: 2, ActiveUsers: 1, Workspaces: 1, Records: 2, Manifests: 2, ManifestBytes: 13, Blocks: 2, BlockBytes: 30, Packs: 1,
	})
	if v := s.newWorkspace(t, 1); v.Key == w.Key {
		t.Error("a new workspace has the key of an old one")
	}
	if key := s.newOrganization(t, "Another"); key == 1 {
		t.Error("a new organization has the key of an old one")
	}
	s.put(t, w.Key, 2, meta.Change{Entry: id.Entry(repeat(15, 16)), Number: 3, Base: 1, Sealed: []byte("more")})
}

func repeat(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func keptOrganization(t *testing.T, tx meta.Tx, want meta.Organization) error {
	t.Helper()
	o, err := tx.Organizations().ByName("Acme")
	if err != nil {
		return err
	}
	same(t, "organization", o, want)
	ada, bob := id.User(repeat(5, 16)), id.User(repeat(6, 16))
	users, err := tx.Users().Get(1, []id.User{ada, bob})
	if err != nil {
		return err
	}
	same(t, "users", users, []meta.User{
		{ID: ada, Email: "ada@acme", Opening: []byte("opening")}, {ID: bob, Email: "bob@acme", Opening: []byte("opening"), Revoked: 90},
	})
	d, err := tx.Users().Delivery(1, id.Device(repeat(7, 16)), record.Digest(repeat(8, 32)))
	if err != nil {
		return err
	}
	same(t, "delivery", string(d.Sealed), "sealed")
	version, manifest, err := tx.Users().Manifest(1, ada)
	if err != nil {
		return err
	}
	same(t, "user manifest", []any{version, string(manifest)}, []any{uint64(3), "manifest"})
	token := meta.Token(repeat(9, 32))
	pending, err := tx.Invitations().Pending(1, ada, meta.Invitation{}, 10)
	if err != nil {
		return err
	}
	same(t, "invitations", pending, []meta.Invitation{
		{Token: token, Inviter: ada, State: meta.InvitationPending, Created: 110, Expires: 999, Statement: []byte("statement")},
	})
	attempts, err := tx.Invitations().Attempts(1, token)
	if err != nil {
		return err
	}
	attempt := meta.Attempt(repeat(10, 16))
	same(t, "attempts", attempts, []meta.AttemptState{{Attempt: attempt, Aborted: true}})
	message, err := tx.Invitations().Message(1, token, attempt, 1)
	same(t, "message", string(message), "message")
	return err
}

func keptWorkspace(t *testing.T, tx meta.Tx, want meta.Workspace) error {
	t.Helper()
	ada := id.User(repeat(5, 16))
	w, err := tx.Workspaces().Get(1, want.ID)
	if err != nil {
		return err
	}
	same(t, "workspace", w, want)
	of, err := tx.Workspaces().OfMember(1, ada, id.Workspace{}, 10)
	if err != nil {
		return err
	}
	same(t, "memberships", of, []meta.Membership{{ID: w.ID, Index: 1, Role: record.RoleOwner}})
	records, err := tx.Logs().Since(w.Key.Log(), 0, 1000)
	if err != nil {
		return err
	}
	same(t, "records", records, []meta.Record{{Position: want.Position, Digest: record.Digest(repeat(14, 32)), Raw: []byte("record")}})
	chains, err := tx.Entries().Changed(w.Key, 0, meta.Cursor{}, 1000)
	if err != nil {
		return err
	}
	same(t, "chains", chains, []meta.Chain{{Entry: id.Entry(repeat(15, 16)), Index: 1, Manifests: []meta.Manifest{
		{Number: 1, Sealed: []byte("snapshot")}, {Number: 2, Sealed: []byte("delta")},
	}}})
	first, second := id.Block(repeat(17, 16)), id.Block(repeat(18, 16))
	pack := id.Pack(repeat(16, 16))
	blocks, err := tx.Blocks().Locate(w.Key, []id.Block{first, second})
	if err != nil {
		return err
	}
	same(t, "blocks", blocks, []meta.Block{
		{ID: first, Pack: pack, Length: 10, Digest: [32]byte(repeat(19, 32)), Index: 1},
		{ID: second, Pack: pack, Offset: 10, Length: 20, Digest: [32]byte(repeat(20, 32))},
	})
	grants, err := tx.Grants().Of(w.Key, ada, 0, 10)
	same(t, "grants", grants, []meta.Grant{{Generation: 1, Recipient: ada, Sealed: []byte("grant")}})
	return err
}
