package servertest

import (
	"crypto/sha256"
	"testing"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
	"parsec/internal/verify/verifytest"
)

// Bootstrap makes a kit's organization on a server, from its genesis.
func Bootstrap(t testing.TB, s *Server) *verifytest.Kit {
	t.Helper()
	k := verifytest.New(t)
	link, err := invitation.ParseLink(s.CreateOrganization(k.Org.Name()))
	if err != nil {
		t.Fatal(err)
	}
	c := Dial(s.URL, id.Fingerprint{}, nil)
	defer c.Close()
	_, err = c.Server.Info(t.Context(), &parsecv1.InfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Organization.Bootstrap(t.Context(), &parsecv1.BootstrapRequest{
		Token: link.Token.Bytes(), Record: k.Records[0], Opening: canon.Marshal(k.Admin.Opening),
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// AppendRequest returns the request that brings a record of a workspace.
func AppendRequest(t testing.TB, k *verifytest.Kit, w *verifytest.Workspace, raw []byte) *parsecv1.WorkspaceAppendRequest {
	t.Helper()
	q := &parsecv1.WorkspaceAppendRequest{Workspace: w.ID.Bytes(), Record: raw}
	for _, g := range (&Workspace{w, &Stage{Kit: k, t: t}}).Grants(raw) {
		q.Grants = append(q.Grants, &parsecv1.SealedGrant{Recipient: g.Recipient[:], Generation: g.Generation, Sealed: g.Sealed})
	}
	return q
}

// CommitRequest returns the request that brings a commit with the blocks that
// it introduces.
func CommitRequest(t testing.TB, k *verifytest.Kit, w *verifytest.Workspace, raw []byte, introduced ...id.Block) *parsecv1.CommitRequest {
	t.Helper()
	q := &parsecv1.CommitRequest{Workspace: w.ID.Bytes(), Record: raw, Manifests: (&Workspace{w, &Stage{Kit: k, t: t}}).Manifests(raw)}
	for _, b := range introduced {
		q.Blocks = append(q.Blocks, b[:]...)
	}
	return q
}

// AddRequest returns the request that brings the newest record of the
// organization's log, with the opening of an added user.
func AddRequest(k *verifytest.Kit, opening *record.Opening) *parsecv1.OrganizationAppendRequest {
	q := &parsecv1.OrganizationAppendRequest{Record: k.Records[len(k.Records)-1]}
	if opening != nil {
		q.Opening = canon.Marshal(*opening)
	}
	return q
}

// Upload makes an upload of blocks with these contents.
func Upload(w id.Workspace, contents ...[]byte) (h pack.Header, content []byte, ids []id.Block) {
	h.Workspace = w
	for _, c := range contents {
		b := pack.Block{ID: id.New[id.Block](), Length: uint32(len(c)), Digest: sha256.Sum256(c)}
		h.Blocks, ids, content = append(h.Blocks, b), append(ids, b.ID), append(content, c...)
	}
	return h, content, ids
}
