package rpc

import (
	"context"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/events"
	"parsec/internal/server/organization"
)

// suite names the only set of formats and algorithms there is.
const suite = "parsec/v1"

// serverAPI answers what anyone may ask.
type serverAPI struct{ cfg Config }

// Info says that this is a Parsec server, and what time it is here.
func (a serverAPI) Info(context.Context, *parsecv1.InfoRequest) (*parsecv1.InfoResponse, error) {
	return &parsecv1.InfoResponse{Suite: suite, Version: a.cfg.Version, Time: a.cfg.Now().UnixNano()}, nil
}

// organizationAPI puts the organizations on the wire.
type organizationAPI struct {
	organizations *organization.Service
	events        *events.Hub
	streams       *streams
	cfg           Config
}

// identifier returns the id with these bytes.
func identifier[T id.ID[K], K any](what string, b []byte) (T, error) {
	v, err := id.FromBytes[T, K](b)
	if err != nil {
		return v, fault.Errorf(fault.Invalid, "read request: %s: %w", what, err)
	}
	return v, nil
}

// optional is like [identifier], with the zero id for no bytes.
func optional[T id.ID[K], K any](what string, b []byte) (T, error) {
	if len(b) == 0 {
		return T{}, nil
	}
	return identifier[T, K](what, b)
}

// digest returns a value of 32 bytes.
func digest[T ~[32]byte](what string, b []byte) (T, error) {
	if len(b) != 32 {
		return T{}, fault.Errorf(fault.Invalid, "read request: %s of %d bytes", what, len(b))
	}
	return T(b), nil
}

func appendedAt(p record.Position, err error) (*parsecv1.Appended, error) {
	if err != nil {
		return nil, err
	}
	return &parsecv1.Appended{Position: position(p)}, nil
}

// Bootstrap creates an organization's log.
func (a organizationAPI) Bootstrap(ctx context.Context, q *parsecv1.BootstrapRequest) (*parsecv1.Appended, error) {
	token, err := identifier[id.Token]("the token", q.GetToken())
	if err != nil {
		return nil, err
	}
	return appendedAt(a.organizations.Bootstrap(ctx, token, q.GetRecord(), q.GetOpening()))
}

// Pull streams the organization's log.
func (a organizationAPI) Pull(ctx context.Context, q *parsecv1.OrganizationPullRequest, stream parsecv1connect.OrganizationServicePullServerStream) error {
	first := true
	return a.organizations.Pull(ctx, callerOf(ctx), q.GetSince(), func(p organization.Page) error {
		m := &parsecv1.OrganizationPullResponse{Records: p.Records, Openings: p.Openings}
		if first {
			m.Position, first = position(p.Position), false
		}
		return stream.Send(m)
	})
}

// Append appends a record to the organization's log.
func (a organizationAPI) Append(ctx context.Context, q *parsecv1.OrganizationAppendRequest) (*parsecv1.Appended, error) {
	in := organization.Addition{Record: q.GetRecord(), Opening: q.GetOpening()}
	var err error
	if in.Invitation, err = optional[id.Token]("the invitation's token", q.GetInvitation()); err != nil {
		return nil, err
	}
	for _, d := range q.GetDeliveries() {
		device, err := identifier[id.Device]("the device of a delivery", d.GetDevice())
		if err != nil {
			return nil, err
		}
		in.Deliveries = append(in.Deliveries, organization.Delivery{Device: device, Sealed: d.GetSealed()})
	}
	return appendedAt(a.organizations.Append(ctx, callerOf(ctx), in))
}

// ListWorkspaces lists the workspaces of the caller's user.
func (a organizationAPI) ListWorkspaces(ctx context.Context, _ *parsecv1.ListWorkspacesRequest) (*parsecv1.ListWorkspacesResponse, error) {
	_, all, err := a.organizations.Workspaces(ctx, callerOf(ctx))
	if err != nil {
		return nil, err
	}
	m := new(parsecv1.ListWorkspacesResponse)
	for _, w := range all {
		m.Workspaces = append(m.Workspaces, &parsecv1.WorkspaceHint{Workspace: w.ID.Bytes(), Index: w.Index})
	}
	return m, nil
}

// GetUsage returns how much the caller's organization has stored.
func (a organizationAPI) GetUsage(ctx context.Context, _ *parsecv1.GetUsageRequest) (*parsecv1.GetUsageResponse, error) {
	used, limit, err := a.organizations.Usage(ctx, callerOf(ctx))
	if err != nil {
		return nil, err
	}
	return &parsecv1.GetUsageResponse{Used: used, Limit: limit}, nil
}

// GetUserManifest returns the newest manifest of the caller's user.
func (a organizationAPI) GetUserManifest(ctx context.Context, _ *parsecv1.GetUserManifestRequest) (*parsecv1.GetUserManifestResponse, error) {
	m, err := a.organizations.UserManifest(ctx, callerOf(ctx))
	if err != nil {
		return nil, err
	}
	return &parsecv1.GetUserManifestResponse{Manifest: m}, nil
}

// PutUserManifest stores the next manifest of the caller's user.
func (a organizationAPI) PutUserManifest(ctx context.Context, q *parsecv1.PutUserManifestRequest) (*parsecv1.PutUserManifestResponse, error) {
	if err := a.organizations.PutUserManifest(ctx, callerOf(ctx), q.GetManifest()); err != nil {
		return nil, err
	}
	return new(parsecv1.PutUserManifestResponse), nil
}

// GetKeyDelivery returns a replaced key as sealed to the caller's device.
func (a organizationAPI) GetKeyDelivery(ctx context.Context, q *parsecv1.GetKeyDeliveryRequest) (*parsecv1.GetKeyDeliveryResponse, error) {
	key, err := digest[record.Digest]("the key's digest", q.GetKey())
	if err != nil {
		return nil, err
	}
	sealed, err := a.organizations.KeyDelivery(ctx, callerOf(ctx), key)
	if err != nil {
		return nil, err
	}
	return &parsecv1.GetKeyDeliveryResponse{Sealed: sealed}, nil
}
