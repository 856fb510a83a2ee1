package rpc

import (
	"context"
	"encoding/binary"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/call"
	"parsec/internal/server/meta"
	"parsec/internal/server/workspace"
)

// workspaceAPI puts the workspaces on the wire.
type workspaceAPI struct{ workspaces *workspace.Service }

func workspaceID(b []byte) (id.Workspace, error) {
	return identifier[id.Workspace]("the workspace's id", b)
}

// identifiers returns the ids that stand one behind the other.
func identifiers[T id.ID[K], K any](what string, b []byte) ([]T, error) {
	if len(b)%id.Size != 0 {
		return nil, fault.Errorf(fault.Invalid, "read request: %s of %d bytes together", what, len(b))
	}
	all := make([]T, len(b)/id.Size)
	for i := range all {
		all[i] = T(b[i*id.Size:][:id.Size])
	}
	return all, nil
}

// Pull streams a workspace's log.
func (a workspaceAPI) Pull(ctx context.Context, q *parsecv1.WorkspacePullRequest, stream parsecv1connect.WorkspaceServicePullServerStream) error {
	w, err := workspaceID(q.GetWorkspace())
	if err != nil {
		return err
	}
	first := true
	return a.workspaces.Pull(ctx, callerOf(ctx), w, q.GetSince(), func(p workspace.Page) error {
		m := &parsecv1.WorkspacePullResponse{Records: p.Records}
		if first {
			m.Position, first = position(p.Position), false
		}
		return stream.Send(m)
	})
}

// Append appends a record that is not a commit.
func (a workspaceAPI) Append(ctx context.Context, q *parsecv1.WorkspaceAppendRequest) (*parsecv1.Appended, error) {
	w, err := workspaceID(q.GetWorkspace())
	if err != nil {
		return nil, err
	}
	grants := make([]meta.Grant, len(q.GetGrants()))
	for i, g := range q.GetGrants() {
		if grants[i], err = grant(g); err != nil {
			return nil, err
		}
	}
	return appendedAt(a.workspaces.Append(ctx, callerOf(ctx), w, q.GetRecord(), grants))
}

func grant(g *parsecv1.SealedGrant) (meta.Grant, error) {
	if len(g.GetRecipient()) != id.Size {
		return meta.Grant{}, fault.Errorf(fault.Invalid, "read request: a recipient of %d bytes", len(g.GetRecipient()))
	}
	return meta.Grant{Generation: g.GetGeneration(), Recipient: [id.Size]byte(g.GetRecipient()), Sealed: g.GetSealed()}, nil
}

// Commit appends a commit with its manifests.
func (a workspaceAPI) Commit(ctx context.Context, q *parsecv1.CommitRequest) (*parsecv1.Appended, error) {
	w, err := workspaceID(q.GetWorkspace())
	if err != nil {
		return nil, err
	}
	blocks, err := identifiers[id.Block]("blocks", q.GetBlocks())
	if err != nil {
		return nil, err
	}
	in := workspace.Commit{Record: q.GetRecord(), Manifests: q.GetManifests(), Blocks: blocks}
	return appendedAt(a.workspaces.Commit(ctx, callerOf(ctx), w, in))
}

// Manifests streams the chains of all entries that changed.
func (a workspaceAPI) Manifests(ctx context.Context, q *parsecv1.ManifestsRequest, stream parsecv1connect.WorkspaceServiceManifestsServerStream) error {
	w, err := workspaceID(q.GetWorkspace())
	if err != nil {
		return err
	}
	after, err := cursor(q.GetCursor())
	if err != nil {
		return err
	}
	return a.workspaces.Manifests(ctx, callerOf(ctx), w, q.GetSince(), after, func(chains []call.Chain, at meta.Cursor) error {
		encoded := append(binary.BigEndian.AppendUint64(nil, at.Index), at.Entry[:]...)
		return stream.Send(&parsecv1.ManifestsResponse{Chains: wire(chains), Cursor: encoded})
	})
}

func cursor(b []byte) (meta.Cursor, error) {
	switch len(b) {
	case 0:
		return meta.Cursor{}, nil
	case 8 + id.Size:
		return meta.Cursor{Index: binary.BigEndian.Uint64(b), Entry: id.Entry(b[8:])}, nil
	}
	return meta.Cursor{}, fault.Errorf(fault.Invalid, "read request: a cursor of %d bytes", len(b))
}

func wire(chains []call.Chain) []*parsecv1.Chain {
	all := make([]*parsecv1.Chain, len(chains))
	for i, c := range chains {
		all[i] = chain(c)
	}
	return all
}

// EntryManifests streams the chains of the entries asked for.
func (a workspaceAPI) EntryManifests(ctx context.Context, q *parsecv1.EntryManifestsRequest, stream parsecv1connect.WorkspaceServiceEntryManifestsServerStream) error {
	w, err := workspaceID(q.GetWorkspace())
	if err != nil {
		return err
	}
	entries, err := identifiers[id.Entry]("entries", q.GetEntries())
	if err != nil {
		return err
	}
	return a.workspaces.EntryManifests(ctx, callerOf(ctx), w, entries, func(chains []call.Chain) error {
		return stream.Send(&parsecv1.ManifestsResponse{Chains: wire(chains)})
	})
}

// EntryVersions streams the versions asked for.
func (a workspaceAPI) EntryVersions(ctx context.Context, q *parsecv1.EntryVersionsRequest, stream parsecv1connect.WorkspaceServiceEntryVersionsServerStream) error {
	w, err := workspaceID(q.GetWorkspace())
	if err != nil {
		return err
	}
	spans := make([]meta.Span, len(q.GetSpans()))
	for i, s := range q.GetSpans() {
		if len(s.GetEntry()) != id.Size {
			return fault.Errorf(fault.Invalid, "read request: an entry of %d bytes", len(s.GetEntry()))
		}
		spans[i] = meta.Span{Entry: id.Entry(s.GetEntry()), First: s.GetFirst(), Last: s.GetLast()}
	}
	return a.workspaces.EntryVersions(ctx, callerOf(ctx), w, spans, func(chains []call.Chain) error {
		return stream.Send(&parsecv1.ManifestsResponse{Chains: wire(chains)})
	})
}

// Grants returns the grants to the caller's user.
func (a workspaceAPI) Grants(ctx context.Context, q *parsecv1.GrantsRequest) (*parsecv1.GrantsResponse, error) {
	w, err := workspaceID(q.GetWorkspace())
	if err != nil {
		return nil, err
	}
	grants, err := a.workspaces.Grants(ctx, callerOf(ctx), w)
	if err != nil {
		return nil, err
	}
	m := new(parsecv1.GrantsResponse)
	for _, g := range grants {
		m.Grants = append(m.Grants, &parsecv1.SealedGrant{Recipient: g.Recipient[:], Generation: g.Generation, Sealed: g.Sealed})
	}
	return m, nil
}

// Regrant seals an existing generation to a member again.
func (a workspaceAPI) Regrant(ctx context.Context, q *parsecv1.RegrantRequest) (*parsecv1.RegrantResponse, error) {
	w, err := workspaceID(q.GetWorkspace())
	if err != nil {
		return nil, err
	}
	g, err := grant(q.GetGrant())
	if err != nil {
		return nil, err
	}
	if err := a.workspaces.Regrant(ctx, callerOf(ctx), w, g); err != nil {
		return nil, err
	}
	return new(parsecv1.RegrantResponse), nil
}
