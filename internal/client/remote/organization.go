package remote

import (
	"context"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
)

// maxSealedKey bounds a user key's private half as sealed to a device.
const maxSealedKey = 4 << 10

// Batch is a part of a log, as the server sends it.
type Batch struct {
	// Position is where the server says that the log stands. It is there in
	// the first batch, and again in the first after a broken connection.
	Position *record.Position
	// Records follow those of the batch before.
	Records [][]byte
	// Openings belong to users added in these records; of the organization's log only.
	Openings [][]byte
}

// Delivery is the private half of a replaced user key as sealed to one device.
type Delivery struct {
	Device id.Device
	Sealed []byte
}

// OrganizationRecord is a record of the organization's log, with what goes
// beside it.
type OrganizationRecord struct {
	Record []byte
	// Opening is there with user added.
	Opening []byte
	// Deliveries are there with user key replaced.
	Deliveries []Delivery
	// Invitation is the token of the invitation that the record fulfils, or zero.
	Invitation id.Token
}

// WorkspaceHint says how far a workspace's log goes, as the server says.
type WorkspaceHint struct {
	Workspace id.Workspace
	Index     uint64
}

// Event is a hint that a log moved. Duplicates and order do not matter.
type Event struct {
	// Workspace is the one whose log moved, or zero for the organization's.
	Workspace id.Workspace
	// Index is the newest of the log.
	Index uint64
}

// Bootstrap creates the organization of a bootstrap link, with its first
// record and the opening of its first user.
func (g *Guest) Bootstrap(ctx context.Context, genesis, opening []byte) (record.Position, error) {
	return unary(ctx, g.wire, "bootstrap the organization", slow*g.patience, g.organization.Bootstrap,
		&parsecv1.BootstrapRequest{Token: g.link.Token.Bytes(), Record: genesis, Opening: opening}, appended)
}

// PullOrganization passes on the organization's records behind an index, in
// order. It resumes by itself behind what each took, and ends with the first
// error of each.
func (c *Client) PullOrganization(ctx context.Context, since uint64, each func(Batch) error) error {
	l := &log{since: since, each: each}
	err := stream(ctx, c.wire, "pull the organization's log", c.patience,
		func(ctx context.Context) (parsecv1connect.OrganizationServicePullClientStream, error) {
			l.begin()
			return c.organization.Pull(ctx, &parsecv1.OrganizationPullRequest{Since: l.since})
		},
		func(m *parsecv1.OrganizationPullResponse) error {
			return l.take(m.GetPosition(), m.GetRecords(), m.GetOpenings())
		})
	return l.end(err)
}

// log is the reading end of a log's stream.
type log struct {
	since uint64
	first bool // whether the next message is the first of its stream
	each  func(Batch) error
}

func (l *log) begin() { l.first = true }

func (l *log) take(at *parsecv1.Position, records, openings [][]byte) error {
	b := Batch{Records: records, Openings: openings}
	if l.first || at != nil {
		p, err := position(at)
		if err != nil {
			return err
		}
		b.Position = &p
	}
	l.first = false
	if err := sized("record", records, record.MaxSize); err != nil {
		return err
	}
	if err := sized("opening", openings, maxOpening); err != nil {
		return err
	}
	if len(openings) > len(records) {
		return malformed("%d openings with %d records", len(openings), len(records))
	}
	if err := l.each(b); err != nil {
		return err
	}
	l.since += uint64(len(records))
	return nil
}

// end returns how a stream ended that had to say at least where the log stands.
func (l *log) end(err error) error {
	if err == nil && l.first {
		return malformed("a log without its position")
	}
	return err
}

// AppendOrganization appends a record and returns the position behind it. Of a
// record that the log had already, that is its first one. An error of kind
// [fault.Stale] carries a [Stale].
func (c *Client) AppendOrganization(ctx context.Context, r OrganizationRecord) (record.Position, error) {
	q := &parsecv1.OrganizationAppendRequest{Record: r.Record, Opening: r.Opening}
	for _, d := range r.Deliveries {
		q.Deliveries = append(q.Deliveries, &parsecv1.KeyDelivery{Device: d.Device.Bytes(), Sealed: d.Sealed})
	}
	if !r.Invitation.IsZero() {
		q.Invitation = r.Invitation.Bytes()
	}
	return unary(ctx, c.wire, "append to the organization's log", slow*c.patience, c.organization.Append, q, appended)
}

func appended(m *parsecv1.Appended) (record.Position, error) {
	p, err := position(m.GetPosition())
	if err == nil && p.Index == 0 {
		err = malformed("a record at index 0")
	}
	return p, err
}

// ListWorkspaces returns the workspaces of which the device's user is a
// member, as the server says.
func (c *Client) ListWorkspaces(ctx context.Context) ([]WorkspaceHint, error) {
	return unary(ctx, c.wire, "list workspaces", c.patience, c.organization.ListWorkspaces,
		&parsecv1.ListWorkspacesRequest{}, workspaces)
}

func workspaces(m *parsecv1.ListWorkspacesResponse) ([]WorkspaceHint, error) {
	raw := make([][]byte, 0, len(m.GetWorkspaces()))
	for _, h := range m.GetWorkspaces() {
		raw = append(raw, h.GetWorkspace())
	}
	ids, err := identifiers[id.Workspace](raw)
	if err != nil {
		return nil, err
	}
	hints := make([]WorkspaceHint, 0, len(ids))
	for i, h := range m.GetWorkspaces() {
		hints = append(hints, WorkspaceHint{Workspace: ids[i], Index: h.GetIndex()})
	}
	return hints, nil
}

// Usage is how many bytes an organization has stored, and how many it may, as
// the server says.
type Usage struct {
	Used uint64
	// Limit is 0 where there is none.
	Limit uint64
}

// GetUsage returns how much the organization has stored.
func (c *Client) GetUsage(ctx context.Context) (Usage, error) {
	return unary(ctx, c.wire, "ask how much is stored", c.patience, c.organization.GetUsage,
		&parsecv1.GetUsageRequest{}, func(m *parsecv1.GetUsageResponse) (Usage, error) {
			return Usage{m.GetUsed(), m.GetLimit()}, nil
		})
}

// GetUserManifest returns the newest user manifest of the device's user. An
// error of kind [fault.NotFound] says that there is none.
func (c *Client) GetUserManifest(ctx context.Context) ([]byte, error) {
	return unary(ctx, c.wire, "get the user manifest", c.patience, c.organization.GetUserManifest,
		&parsecv1.GetUserManifestRequest{}, func(m *parsecv1.GetUserManifestResponse) ([]byte, error) {
			return m.GetManifest(), sized("user manifest", [][]byte{m.GetManifest()}, usermanifest.MaxSize)
		})
}

// PutUserManifest stores the next user manifest. An error of kind
// [fault.Stale] says that another device was first.
func (c *Client) PutUserManifest(ctx context.Context, manifest []byte) error {
	_, err := unary(ctx, c.wire, "put the user manifest", c.patience, c.organization.PutUserManifest,
		&parsecv1.PutUserManifestRequest{Manifest: manifest}, nothing)
	return err
}

// GetKeyDelivery returns the private half of a replaced user key as sealed to
// the device.
func (c *Client) GetKeyDelivery(ctx context.Context, key record.Digest) ([]byte, error) {
	return unary(ctx, c.wire, "get a user key", c.patience, c.organization.GetKeyDelivery,
		&parsecv1.GetKeyDeliveryRequest{Key: key[:]}, func(m *parsecv1.GetKeyDeliveryResponse) ([]byte, error) {
			return m.GetSealed(), sized("sealed key", [][]byte{m.GetSealed()}, maxSealedKey)
		})
}

// Subscribe passes on hints until the context ends, an error of each, or the
// server can no longer be reached. First come hints of where each log stands.
// Subscribing again is up to the caller.
func (c *Client) Subscribe(ctx context.Context, each func(Event) error) error {
	what := "follow events"
	// The server sends a beat every 30 s, so this much silence is none of its own.
	err := stream(ctx, c.wire, what, c.patience+poll, func(ctx context.Context) (parsecv1connect.OrganizationServiceSubscribeClientStream, error) {
		return c.organization.Subscribe(ctx, &parsecv1.SubscribeRequest{})
	}, func(m *parsecv1.SubscribeResponse) error {
		e := Event{Index: m.GetIndex()}
		if e.Index == 0 {
			return nil // a beat
		}
		var err error
		if len(m.GetWorkspace()) > 0 {
			e.Workspace, err = identifier[id.Workspace](m.GetWorkspace())
		}
		if err != nil {
			return err
		}
		return each(e)
	})
	if err == nil {
		return fault.Errorf(fault.Unreachable, "%s: the server ended the stream", what)
	}
	return err
}
