package remote

import (
	"context"
	"errors"
	"slices"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
)

// Chain is the newest live chain of one entry, or some of its versions.
type Chain struct {
	Entry id.Entry
	// Manifests are consecutive versions, at least one.
	Manifests []SealedManifest
}

// SealedManifest is one version of an entry as its author sealed it.
type SealedManifest struct {
	Version uint64
	Sealed  []byte
}

// Grant is a workspace key as sealed to one recipient.
type Grant struct {
	// Recipient is a user's or a sequester service's id.
	Recipient  [id.Size]byte
	Generation uint64
	Sealed     []byte
}

// Commit is a commit's record with what goes beside it.
type Commit struct {
	Record []byte
	// Manifests are one for each put, in the order of the commit's changes.
	Manifests [][]byte
	// Blocks are all that the commit introduces.
	Blocks []id.Block
}

// maxCursor bounds where a stream of manifests resumes.
const maxCursor = 1 << 10

// PullWorkspace passes on a workspace's records behind an index, in order. It
// resumes by itself behind what each took, and ends with the first error of each.
func (c *Client) PullWorkspace(ctx context.Context, w id.Workspace, since uint64, each func(Batch) error) error {
	l := &log{since: since, each: each}
	err := stream(ctx, c.wire, "pull a workspace's log", c.patience,
		func(ctx context.Context) (parsecv1connect.WorkspaceServicePullClientStream, error) {
			l.begin()
			return c.workspace.Pull(ctx, &parsecv1.WorkspacePullRequest{Workspace: w.Bytes(), Since: l.since})
		},
		func(m *parsecv1.WorkspacePullResponse) error {
			return l.take(m.GetPosition(), m.GetRecords(), nil)
		})
	return l.end(err)
}

// AppendWorkspace appends a record that is not a commit, with the sealed keys
// to which it commits, and returns the position behind it. Of a record that
// the log had already, that is its first one. An error of kind [fault.Stale]
// carries a [Stale].
func (c *Client) AppendWorkspace(ctx context.Context, w id.Workspace, r []byte, grants []Grant) (record.Position, error) {
	q := &parsecv1.WorkspaceAppendRequest{Workspace: w.Bytes(), Record: r}
	for _, g := range grants {
		q.Grants = append(q.Grants, g.message())
	}
	return unary(ctx, c.wire, "append to a workspace's log", slow*c.patience, c.workspace.Append, q, appended)
}

func (g Grant) message() *parsecv1.SealedGrant {
	return &parsecv1.SealedGrant{Recipient: g.Recipient[:], Generation: g.Generation, Sealed: g.Sealed}
}

// Commit appends a commit with its manifests and returns the position behind
// it. Of a commit that the log had already, that is its first one. An error of
// kind [fault.Stale] carries a [Stale], one of kind [fault.Missing] a [Missing].
func (c *Client) Commit(ctx context.Context, w id.Workspace, commit Commit) (record.Position, error) {
	q := &parsecv1.CommitRequest{Workspace: w.Bytes(), Record: commit.Record, Manifests: commit.Manifests, Blocks: joined(commit.Blocks)}
	at, err := unary(ctx, c.wire, "commit", slow*c.patience, c.workspace.Commit, q, appended)
	if missing, ok := errors.AsType[*Missing](err); ok {
		introduced := newWanted(commit.Blocks).coming
		for _, b := range missing.Blocks {
			if !introduced[b] {
				return at, malformed("it misses a block that is not of the commit")
			}
		}
	}
	return at, err
}

// joined returns the bytes of identifiers, back to back.
func joined[T id.ID[K], K any](ids []T) []byte {
	out := make([]byte, 0, len(ids)*id.Size)
	for _, v := range ids {
		b := id.ID[K](v)
		out = append(out, b[:]...)
	}
	return out
}

// Manifests passes on the newest live chain of every entry that changed behind
// an index; of each chain only the versions that came behind it. The cursor
// resumes behind an earlier call, and is nil at the start; each gets the one
// behind what it takes. The call resumes by itself, and ends with the first
// error of each.
func (c *Client) Manifests(ctx context.Context, w id.Workspace, since uint64, cursor []byte,
	each func(chains []Chain, cursor []byte) error,
) error {
	return stream(ctx, c.wire, "fetch manifests", c.patience,
		func(ctx context.Context) (parsecv1connect.WorkspaceServiceManifestsClientStream, error) {
			return c.workspace.Manifests(ctx, &parsecv1.ManifestsRequest{Workspace: w.Bytes(), Since: since, Cursor: cursor})
		},
		func(m *parsecv1.ManifestsResponse) error {
			if err := sized("cursor", [][]byte{m.GetCursor()}, maxCursor); err != nil {
				return err
			}
			list, err := chains(m.GetChains())
			if err != nil {
				return err
			}
			if err := each(list, m.GetCursor()); err != nil {
				return err
			}
			cursor = m.GetCursor()
			return nil
		})
}

// EntryManifests passes on the newest live chain of each of the entries; none
// for an entry that does not exist or is gone. It asks for as many at once as
// the server allows.
func (c *Client) EntryManifests(ctx context.Context, w id.Workspace, entries []id.Entry, each func([]Chain) error) error {
	for part := range slices.Chunk(entries, record.MaxChanges) {
		if err := c.entryManifests(ctx, w, part, each); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) entryManifests(ctx context.Context, w id.Workspace, entries []id.Entry, each func([]Chain) error) error {
	wanted := newWanted(entries)
	return stream(ctx, c.wire, "fetch manifests", c.patience,
		func(ctx context.Context) (parsecv1connect.WorkspaceServiceEntryManifestsClientStream, error) {
			return c.workspace.EntryManifests(ctx, &parsecv1.EntryManifestsRequest{Workspace: w.Bytes(), Entries: joined(wanted.left())})
		},
		func(m *parsecv1.ManifestsResponse) error {
			list, err := chains(m.GetChains())
			if err != nil {
				return err
			}
			for _, chain := range list {
				if err := wanted.take(chain.Entry); err != nil {
					return err
				}
			}
			return each(list)
		})
}

// Span is consecutive versions of one entry, from First to Last.
type Span struct {
	Entry       id.Entry
	First, Last uint64
}

// EntryVersions passes on the versions of each span, each of another entry,
// whether they are the newest or not; none for a span of which a version does not
// exist. It asks for as many at once as the server allows.
func (c *Client) EntryVersions(ctx context.Context, w id.Workspace, spans []Span, each func([]Chain) error) error {
	for part := range slices.Chunk(spans, record.MaxChanges) {
		if err := c.entryVersions(ctx, w, part, each); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) entryVersions(ctx context.Context, w id.Workspace, spans []Span, each func([]Chain) error) error {
	entries, asked := make([]id.Entry, len(spans)), make(map[id.Entry]Span, len(spans))
	for i, s := range spans {
		entries[i], asked[s.Entry] = s.Entry, s
	}
	wanted := newWanted(entries)
	return stream(ctx, c.wire, "fetch manifests", c.patience,
		func(ctx context.Context) (parsecv1connect.WorkspaceServiceEntryVersionsClientStream, error) {
			q := &parsecv1.EntryVersionsRequest{Workspace: w.Bytes()}
			for _, e := range wanted.left() {
				q.Spans = append(q.Spans, &parsecv1.Span{Entry: e[:], First: asked[e].First, Last: asked[e].Last})
			}
			return c.workspace.EntryVersions(ctx, q)
		},
		func(m *parsecv1.ManifestsResponse) error {
			list, err := chains(m.GetChains())
			if err != nil {
				return err
			}
			for _, chain := range list {
				if err := wanted.take(chain.Entry); err != nil {
					return err
				}
				s := asked[chain.Entry]
				if first := chain.Manifests[0].Version; first != s.First || first+uint64(len(chain.Manifests))-1 != s.Last {
					return fault.Broken(authentic, "the server sent %d versions of entry %s from %d on, where %d to %d were asked for",
						len(chain.Manifests), chain.Entry, first, s.First, s.Last)
				}
			}
			return each(list)
		})
}

// Grants returns the workspace's keys as sealed to the device's user, newest first.
func (c *Client) Grants(ctx context.Context, w id.Workspace) ([]Grant, error) {
	return unary(ctx, c.wire, "get workspace keys", c.patience, c.workspace.Grants,
		&parsecv1.GrantsRequest{Workspace: w.Bytes()}, grants)
}

func grants(m *parsecv1.GrantsResponse) ([]Grant, error) {
	grants := make([]Grant, 0, len(m.GetGrants()))
	for _, g := range m.GetGrants() {
		if n := len(g.GetRecipient()); n != id.Size {
			return nil, malformed("a recipient of %d bytes", n)
		}
		if n := len(g.GetSealed()); n == 0 || n > maxGrant || g.GetGeneration() == 0 {
			return nil, malformed("a key of generation %d with %d bytes", g.GetGeneration(), n)
		}
		grants = append(grants, Grant{Recipient: [id.Size]byte(g.GetRecipient()), Generation: g.GetGeneration(), Sealed: g.GetSealed()})
	}
	return grants, nil
}

// Regrant seals an existing generation to a member again.
func (c *Client) Regrant(ctx context.Context, w id.Workspace, g Grant) error {
	_, err := unary(ctx, c.wire, "seal a workspace key again", c.patience, c.workspace.Regrant,
		&parsecv1.RegrantRequest{Workspace: w.Bytes(), Grant: g.message()}, nothing)
	return err
}

// wanted are the things that were asked for and have not come yet.
type wanted[T comparable] struct {
	asked  []T
	coming map[T]bool
}

func newWanted[T comparable](asked []T) *wanted[T] {
	w := &wanted[T]{asked: asked, coming: make(map[T]bool, len(asked))}
	for _, v := range asked {
		w.coming[v] = true
	}
	return w
}

// left returns what has not come, in the order in which it was asked for.
func (w *wanted[T]) left() []T {
	return slices.DeleteFunc(slices.Clone(w.asked), func(v T) bool { return !w.coming[v] })
}

// take notes that something came.
func (w *wanted[T]) take(v T) error {
	if !w.coming[v] {
		return fault.Broken(authentic, "the server sent %v, which was not asked for, or is there already", v)
	}
	delete(w.coming, v)
	return nil
}
