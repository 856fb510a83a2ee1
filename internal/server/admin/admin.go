// Package admin is the operator's API: it lets the operator's token in, and
// puts what the operator may do on the wire.
package admin

import (
	"context"
	"crypto/sha256"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/invitation"
	"parsec/internal/server/blob/redundant"
	"parsec/internal/server/call"
	"parsec/internal/server/meta"
	"parsec/internal/server/organization"
)

// API puts administration on the wire. The HTTP layer checks the token.
type API struct {
	organizations *organization.Service
	tokens        Tokens
	stores        *redundant.Store
	deleted       func()
	publicURL     string
}

// New returns the API. Links lead to publicURL, without a trailing slash. stores
// is nil where there is one store, as it is. deleted is called when an
// organization is to be removed.
func New(organizations *organization.Service, tokens Tokens, stores *redundant.Store, deleted func(), publicURL string) *API {
	return &API{organizations, tokens, stores, deleted, publicURL}
}

// RotateToken replaces the caller's token.
func (a *API) RotateToken(ctx context.Context, q *parsecv1.RotateTokenRequest) (*parsecv1.RotateTokenResponse, error) {
	if len(q.GetHash()) != sha256.Size {
		return nil, fault.Errorf(fault.Invalid, "the hash of a token has %d bytes, not %d", sha256.Size, len(q.GetHash()))
	}
	next, err := a.tokens.Rotate(ctx, call.Operator(ctx), [sha256.Size]byte(q.GetHash()))
	if err != nil {
		return nil, err
	}
	return &parsecv1.RotateTokenResponse{Token: next.Bytes()}, nil
}

// CreateOrganization makes room for an organization.
func (a *API) CreateOrganization(ctx context.Context, q *parsecv1.CreateOrganizationRequest) (*parsecv1.CreateOrganizationResponse, error) {
	token, err := a.organizations.Create(ctx, q.GetName())
	if err != nil {
		return nil, err
	}
	link := invitation.Link{Server: a.publicURL, Token: token, Name: q.GetName()}
	return &parsecv1.CreateOrganizationResponse{BootstrapUrl: link.String()}, nil
}

// ListOrganizations lists all organizations by name.
func (a *API) ListOrganizations(ctx context.Context, _ *parsecv1.ListOrganizationsRequest) (*parsecv1.ListOrganizationsResponse, error) {
	rows, err := a.organizations.List(ctx)
	if err != nil {
		return nil, err
	}
	m := new(parsecv1.ListOrganizationsResponse)
	for _, o := range rows {
		m.Organizations = append(m.Organizations, wire(o))
	}
	return m, nil
}

func wire(o meta.Organization) *parsecv1.Organization {
	m := &parsecv1.Organization{
		Name: o.Name, Expired: o.Expired, Created: o.Created,
		ActiveUsersLimit: o.Limits.ActiveUsers, StorageLimit: o.Limits.Storage, Outsiders: o.Limits.Outsiders,
		Deleting: o.Deleting, Problem: o.Problem,
	}
	if o.Fingerprint != (id.Fingerprint{}) {
		m.Fingerprint = o.Fingerprint[:]
	}
	return m
}

// OrganizationStats counts what an organization has stored.
func (a *API) OrganizationStats(ctx context.Context, q *parsecv1.OrganizationStatsRequest) (*parsecv1.OrganizationStatsResponse, error) {
	row, s, err := a.organizations.Stats(ctx, q.GetName())
	if err != nil {
		return nil, err
	}
	return &parsecv1.OrganizationStatsResponse{
		Organization: wire(row),
		ActiveUsers:  s.ActiveUsers, Users: s.Users, Workspaces: s.Workspaces, Records: s.Records,
		Manifests: s.Manifests, ManifestBytes: s.ManifestBytes,
		Blocks: s.Blocks, BlockBytes: s.BlockBytes, Packs: s.Packs,
	}, nil
}

// SetOrganization changes what an organization may do.
func (a *API) SetOrganization(ctx context.Context, q *parsecv1.SetOrganizationRequest) (*parsecv1.SetOrganizationResponse, error) {
	row, err := a.organizations.Set(ctx, q.GetName(), organization.Settings{
		ActiveUsers: q.ActiveUsersLimit, Storage: q.StorageLimit, Outsiders: q.Outsiders, Expired: q.Expired,
	})
	if err != nil {
		return nil, err
	}
	return &parsecv1.SetOrganizationResponse{Organization: wire(row)}, nil
}

// DeleteOrganization begins to delete an organization.
func (a *API) DeleteOrganization(ctx context.Context, q *parsecv1.DeleteOrganizationRequest) (*parsecv1.DeleteOrganizationResponse, error) {
	row, err := a.organizations.Delete(ctx, q.GetName())
	if err != nil {
		return nil, err
	}
	a.deleted()
	return &parsecv1.DeleteOrganizationResponse{Organization: wire(row)}, nil
}

// ListUsers lists the users of an organization in the order of adding.
func (a *API) ListUsers(ctx context.Context, q *parsecv1.ListUsersRequest) (*parsecv1.ListUsersResponse, error) {
	people, err := a.organizations.People(ctx, q.GetOrganization())
	if err != nil {
		return nil, err
	}
	m := new(parsecv1.ListUsersResponse)
	for _, p := range people {
		m.Users = append(m.Users, &parsecv1.AdminUser{
			User: p.ID.Bytes(), Email: p.Email, Name: p.Name, Profile: p.Profile.String(), Revoked: p.Revoked, Frozen: p.Frozen,
		})
	}
	return m, nil
}

// SetUser changes what a user may do.
func (a *API) SetUser(ctx context.Context, q *parsecv1.SetUserRequest) (*parsecv1.SetUserResponse, error) {
	if err := a.organizations.Freeze(ctx, q.GetOrganization(), q.GetEmail(), q.GetFrozen()); err != nil {
		return nil, err
	}
	return new(parsecv1.SetUserResponse), nil
}
