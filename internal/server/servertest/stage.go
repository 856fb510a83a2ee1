// Package servertest runs real servers for tests: the services over SQLite and
// files in a temporary folder, by themselves ([NewStage]) or behind the network
// on a loopback port ([Start]), and devices that speak to it ([Dial]).
package servertest

import (
	"path/filepath"
	"testing"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/record"
	"parsec/internal/server/access"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/file"
	"parsec/internal/server/blocks"
	"parsec/internal/server/call"
	"parsec/internal/server/events"
	"parsec/internal/server/invitation"
	"parsec/internal/server/meta"
	"parsec/internal/server/meta/sqlite"
	"parsec/internal/server/organization"
	"parsec/internal/server/workspace"
	"parsec/internal/verify"
	"parsec/internal/verify/verifytest"
)

// Stage is the services over real stores, with one bootstrapped organization.
// What the kit appends, the stage's methods bring to the server.
type Stage struct {
	*verifytest.Kit
	Meta          meta.Store
	Blobs         blob.Store
	Hub           *events.Hub
	Organizations *organization.Service
	Workspaces    *workspace.Service
	Blocks        *blocks.Service
	Invitations   *invitation.Service
	// Now is the server's clock.
	Now func() time.Time

	t   testing.TB
	key meta.OrganizationKey
}

// NewStage returns services over new stores, which the test's end closes.
func NewStage(t testing.TB) *Stage {
	t.Helper()
	s := &Stage{Kit: verifytest.New(t), t: t, Hub: events.NewHub()}
	s.Now = time.Now
	dir := t.TempDir()
	var err error
	if s.Meta, err = sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "metadata.sqlite")}); err != nil {
		t.Fatal(err)
	}
	if s.Blobs, err = file.Open(t.Context(), file.Config{Path: filepath.Join(dir, "blocks")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Meta.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Blobs.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Restart()
	s.bootstrap()
	return s
}

// Restart makes the services anew, which know nothing but what is stored.
func (s *Stage) Restart() {
	keep, now := access.New(), func() time.Time { return s.Now() }
	s.Organizations = organization.New(s.Meta, keep, s.Hub, now)
	s.Workspaces = workspace.New(s.Meta, keep, s.Hub, now)
	s.Blocks = blocks.New(s.Meta, s.Blobs, keep, now, blocks.Config{})
	s.Invitations = invitation.New(s.Meta, keep, s.Hub, now)
}

func (s *Stage) bootstrap() {
	s.t.Helper()
	token, err := s.Organizations.Create(s.t.Context(), s.Org.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.Organizations.Bootstrap(s.t.Context(), token, s.Records[0], canon.Marshal(s.Admin.Opening)); err != nil {
		s.t.Fatal(err)
	}
	all, err := s.Organizations.List(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	s.key = all[0].Key
}

// Caller returns a device of the organization as the services know it.
func (s *Stage) Caller(d *verifytest.Device) call.Caller {
	return call.Caller{Organization: s.Fingerprint(), Key: s.key, User: d.User, Device: d.ID}
}

// Newest returns the newest record of the organization's log with what
// belongs beside it.
func (s *Stage) Newest(opening *record.Opening) organization.Addition {
	s.t.Helper()
	a := organization.Addition{Record: s.Records[len(s.Records)-1]}
	if opening != nil {
		a.Opening = canon.Marshal(*opening)
	}
	r, err := record.Parse(a.Record)
	if err != nil {
		s.t.Fatal(err)
	}
	payload, err := r.Decode()
	if err != nil {
		s.t.Fatal(err)
	}
	var replacements []record.Replacement
	switch p := payload.(type) {
	case record.DeviceRevoked:
		replacements = p.Replacement
	case record.UserKeyReplaced:
		replacements = []record.Replacement{p.Replacement}
	}
	for _, r := range replacements {
		for _, d := range r.Deliveries {
			a.Deliveries = append(a.Deliveries, organization.Delivery{Device: d.Device, Sealed: s.Sealed[d.Sealed]})
		}
	}
	return a
}

// Bring brings the newest record of the organization's log to the server.
func (s *Stage) Bring(by *verifytest.Device, opening *record.Opening) {
	s.t.Helper()
	p, err := s.Organizations.Append(s.t.Context(), s.Caller(by), s.Newest(opening))
	if err != nil {
		s.t.Fatal(err)
	}
	if want := s.Org.Position(); p != want {
		s.t.Fatalf("the record stands at %v, want %v", p, want)
	}
}

// AddUser adds a user, on the server too.
func (s *Stage) AddUser(p record.Profile) *verifytest.Device {
	s.t.Helper()
	d := s.Kit.AddUser(p)
	s.Bring(s.Admin, &d.Opening)
	return d
}

// AddDevice adds another device to a device's user, on the server too.
func (s *Stage) AddDevice(by *verifytest.Device) *verifytest.Device {
	s.t.Helper()
	d := s.Kit.AddDevice(by)
	s.Bring(by, nil)
	return d
}

// RevokeUser revokes a user, on the server too.
func (s *Stage) RevokeUser(of *verifytest.Device) {
	s.t.Helper()
	s.Kit.RevokeUser(s.Admin, of)
	s.Bring(s.Admin, nil)
}

// Workspace is a workspace on the stage.
type Workspace struct {
	*verifytest.Workspace
	stage *Stage
}

// CreateWorkspace makes a workspace, on the server too.
func (s *Stage) CreateWorkspace(by *verifytest.Device) *Workspace {
	s.t.Helper()
	w := &Workspace{s.Kit.CreateWorkspace(by), s}
	w.Bring(by)
	return w
}

// Grants returns what a record commits to, as it is brought beside it.
func (w *Workspace) Grants(raw []byte) []meta.Grant {
	w.stage.t.Helper()
	r, err := record.Parse(raw)
	if err != nil {
		w.stage.t.Fatal(err)
	}
	payload, err := r.Decode()
	if err != nil {
		w.stage.t.Fatal(err)
	}
	var grants []record.Grant
	generation := w.State.Generation()
	switch p := payload.(type) {
	case record.WorkspaceCreated:
		grants = p.Rotation.Grants
	case record.KeyRotated:
		grants, generation = p.Rotation.Grants, p.Rotation.Generation
	case record.RoleChanged:
		grants = p.Grant
		for _, r := range p.Rotation {
			grants, generation = r.Grants, r.Generation
		}
	}
	all := make([]meta.Grant, len(grants))
	for i, g := range grants {
		all[i] = meta.Grant{Generation: generation, Recipient: g.Recipient, Sealed: w.stage.Sealed[g.Sealed]}
	}
	return all
}

// Manifests returns the sealed manifests of a commit.
func (w *Workspace) Manifests(raw []byte) [][]byte {
	w.stage.t.Helper()
	signed, err := verify.Authenticate(w.stage.Org, raw)
	if err != nil {
		w.stage.t.Fatal(err)
	}
	var all [][]byte
	for _, c := range signed.Payload.(record.Commit).Changes {
		if !c.Gone() {
			all = append(all, w.stage.Sealed[record.Digest(c.Manifest)])
		}
	}
	return all
}

// Send brings a record to the server, a commit with the blocks that it
// introduces.
func (w *Workspace) Send(by *verifytest.Device, raw []byte, introduced ...id.Block) (record.Position, error) {
	w.stage.t.Helper()
	r, err := record.Parse(raw)
	if err != nil {
		w.stage.t.Fatal(err)
	}
	ctx, c := w.stage.t.Context(), w.stage.Caller(by)
	if r.Kind == record.KindCommit {
		return w.stage.Workspaces.Commit(ctx, c, w.ID, workspace.Commit{Record: raw, Manifests: w.Manifests(raw), Blocks: introduced})
	}
	return w.stage.Workspaces.Append(ctx, c, w.ID, raw, w.Grants(raw))
}

// Bring brings the newest record to the server.
func (w *Workspace) Bring(by *verifytest.Device, introduced ...id.Block) {
	w.stage.t.Helper()
	p, err := w.Send(by, w.Records[len(w.Records)-1], introduced...)
	if err != nil {
		w.stage.t.Fatal(err)
	}
	if want := w.State.Position(); p != want {
		w.stage.t.Fatalf("the record stands at %v, want %v", p, want)
	}
}

// Share gives a user a role, on the server too.
func (w *Workspace) Share(by, with *verifytest.Device, role record.Role) {
	w.stage.t.Helper()
	w.Workspace.Share(by, with, role)
	w.Bring(by)
}
