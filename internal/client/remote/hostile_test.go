package remote_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/remote"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
)

// raw answers every call with the same bytes, as a call or as a stream.
type raw struct {
	unary  []byte
	stream []byte
}

func (h raw) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	kind := r.Header.Get("Content-Type")
	w.Header().Set("Content-Type", kind)
	if kind == "application/proto" {
		_, _ = w.Write(h.unary)
		return
	}
	_, _ = w.Write(h.stream)
}

// enveloped returns a message of a stream.
func enveloped(flags byte, data []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(data))), data...)
}

// message returns a message and the end of its stream.
func message(m proto.Message) raw {
	data, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return raw{data, append(enveloped(0, data), enveloped(2, []byte("{}"))...)}
}

func TestAnswersOfTheWrongShapeAreRefused(t *testing.T) {
	one, w, entry, token := []byte{1}, id.Workspace{1}, id.New[id.Entry](), id.New[id.Token]()
	chain := func(e []byte, v ...*parsecv1.SealedManifest) *parsecv1.ManifestsResponse {
		return &parsecv1.ManifestsResponse{Chains: []*parsecv1.Chain{{Entry: e, Manifests: v}}, Cursor: one}
	}
	sealed := &parsecv1.SealedManifest{Version: 1, Sealed: one}
	grant := func(recipient int, generation uint64, sealed int) *parsecv1.GrantsResponse {
		return &parsecv1.GrantsResponse{Grants: []*parsecv1.SealedGrant{{
			Recipient: make([]byte, recipient), Generation: generation, Sealed: make([]byte, sealed),
		}}}
	}
	appendIt := func(ctx context.Context, c *remote.Client) error {
		_, err := c.AppendWorkspace(ctx, w, one, []remote.Grant{{Generation: 1, Sealed: one}})
		return err
	}
	pull := func(ctx context.Context, c *remote.Client) error {
		return c.PullOrganization(ctx, 0, func(remote.Batch) error { return nil })
	}
	pullWorkspace := func(ctx context.Context, c *remote.Client) error {
		return c.PullWorkspace(ctx, w, 0, func(remote.Batch) error { return nil })
	}
	manifests := func(ctx context.Context, c *remote.Client) error {
		return c.Manifests(ctx, w, 0, nil, func([]remote.Chain, []byte) error { return nil })
	}
	list := func(ctx context.Context, c *remote.Client) error { _, err := c.ListWorkspaces(ctx); return err }
	grants := func(ctx context.Context, c *remote.Client) error { _, err := c.Grants(ctx, w); return err }
	greet := func(ctx context.Context, c *remote.Client) error {
		_, err := c.Greet(ctx, token, remote.Turn{Attempt: remote.Attempt{1}, Step: 1})
		return err
	}
	for _, x := range []struct {
		name   string
		call   func(context.Context, *remote.Client) error
		answer proto.Message
	}{
		{"a record without its position", appendIt, &parsecv1.Appended{}},
		{"a head of 33 bytes", appendIt, &parsecv1.Appended{Position: &parsecv1.Position{Index: 1, Head: make([]byte, 33)}}},
		{"a record at index 0", appendIt, &parsecv1.Appended{Position: at(0)}},
		{"a log without its position", pull, &parsecv1.OrganizationPullResponse{Records: [][]byte{one}}},
		{"a log with a short head", pull, &parsecv1.OrganizationPullResponse{Position: &parsecv1.Position{Head: one}}},
		{"an empty record", pull, &parsecv1.OrganizationPullResponse{Position: at(1), Records: [][]byte{{}}}},
		{"a record that is too long", pullWorkspace, &parsecv1.WorkspacePullResponse{Position: at(1), Records: [][]byte{make([]byte, record.MaxSize+1)}}},
		{"openings without records", pull, &parsecv1.OrganizationPullResponse{Position: at(1), Openings: [][]byte{one}}},
		{"an opening that is too long", pull, &parsecv1.OrganizationPullResponse{Position: at(1), Records: [][]byte{one}, Openings: [][]byte{make([]byte, 5000)}}},
		{"a workspace of 17 bytes", list, &parsecv1.ListWorkspacesResponse{Workspaces: []*parsecv1.WorkspaceHint{{Workspace: make([]byte, 17)}}}},
		{"a workspace without an id", list, &parsecv1.ListWorkspacesResponse{Workspaces: []*parsecv1.WorkspaceHint{{Index: 1}}}},
		{"a workspace twice", list, &parsecv1.ListWorkspacesResponse{Workspaces: []*parsecv1.WorkspaceHint{{Workspace: entry[:]}, {Workspace: entry[:]}}}},
		{"chains without a cursor", manifests, &parsecv1.ManifestsResponse{}},
		{"a long cursor", manifests, &parsecv1.ManifestsResponse{Cursor: make([]byte, 2000)}},
		{"a chain without an entry", manifests, chain(nil, sealed)},
		{"a chain without manifests", manifests, chain(entry[:])},
		{"a chain with an empty manifest", manifests, chain(entry[:], &parsecv1.SealedManifest{Version: 1})},
		{"a chain of the same version", manifests, chain(entry[:], sealed, sealed)},
		{"a chain of too many", manifests, chain(entry[:], make([]*parsecv1.SealedManifest, 2000)...)},
		{"a key for nobody", grants, grant(0, 1, 1)},
		{"a key of generation 0", grants, grant(16, 0, 1)},
		{"an empty key", grants, grant(16, 1, 0)},
		{"a long key", grants, grant(16, 1, 10_000)},
		{"an answer to another attempt", greet, &parsecv1.ExchangeResponse{Attempt: make([]byte, 16)}},
		{"an attempt of 3 bytes", greet, &parsecv1.ExchangeResponse{Attempt: make([]byte, 3)}},
		{"a turn that is too long", greet, &parsecv1.ExchangeResponse{Message: make([]byte, 64<<10+1)}},
		{
			"an event of half a workspace",
			func(ctx context.Context, c *remote.Client) error {
				return c.Subscribe(ctx, func(remote.Event) error { return nil })
			},
			&parsecv1.SubscribeResponse{Workspace: make([]byte, 8), Index: 1},
		},
		{
			"no user manifest",
			func(ctx context.Context, c *remote.Client) error { _, err := c.GetUserManifest(ctx); return err },
			&parsecv1.GetUserManifestResponse{},
		},
		{
			"no sealed key",
			func(ctx context.Context, c *remote.Client) error {
				_, err := c.GetKeyDelivery(ctx, record.Digest{})
				return err
			},
			&parsecv1.GetKeyDeliveryResponse{},
		},
		{
			"an invitation that is too long",
			func(ctx context.Context, c *remote.Client) error { _, err := c.ListInvitations(ctx); return err },
			&parsecv1.ListInvitationsResponse{Invitations: [][]byte{make([]byte, invitation.MaxSize+1)}},
		},
	} {
		t.Run(x.name, func(t *testing.T) {
			m := new(remote.Meter)
			cfg := quick()
			cfg.Meter = m
			err := x.call(t.Context(), client(t, serve(t, message(x.answer)), cfg))
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "malformed") || fault.HintOf(err) == "" {
				t.Errorf("got %v (%v), hint %q", err, fault.KindOf(err), fault.HintOf(err))
			}
			if m.Requests() != 1 {
				t.Errorf("asked %d times", m.Requests())
			}
		})
	}
}

func TestAChainThatWasNotAskedForIsABrokenPromise(t *testing.T) {
	entry, other := id.New[id.Entry](), id.New[id.Entry]()
	chain := func(e id.Entry) *parsecv1.Chain {
		return &parsecv1.Chain{Entry: e[:], Manifests: []*parsecv1.SealedManifest{{Version: 1, Sealed: []byte{1}}}}
	}
	for name, chains := range map[string][]*parsecv1.Chain{
		"another entry's": {chain(other)},
		"one twice":       {chain(entry), chain(entry)},
	} {
		h := message(&parsecv1.ManifestsResponse{Chains: chains})
		err := client(t, serve(t, h), quick()).EntryManifests(t.Context(), id.Workspace{1}, []id.Entry{entry}, func([]remote.Chain) error {
			t.Errorf("%s: it was shown", name)
			return nil
		})
		if !fault.Is(err, fault.Integrity) || fault.PromiseOf(err) != "authentic content" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// calls are one call of each form whose answer raw makes.
func calls(ctx context.Context, c *remote.Client) map[string]error {
	_, unary := c.GetUserManifest(ctx)
	return map[string]error{
		"call":   unary,
		"stream": c.PullOrganization(ctx, 0, func(remote.Batch) error { return nil }),
	}
}

func TestAnswersThatDoNotDecodeAreRefused(t *testing.T) {
	lying := []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f, 1} // a field of 34 GB
	good := enveloped(0, nil)
	for name, h := range map[string]raw{
		"noise":               {[]byte("\xff\xff\xff\xff\xff"), []byte("\xff\xff\xff\xff\xff")},
		"a huge field":        {lying, enveloped(0, lying)},
		"a group":             {[]byte{0x0b, 0x0b}, enveloped(0, []byte{0x0b, 0x0b})},
		"a huge envelope":     {lying, []byte{0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3}},
		"compressed messages": {lying, enveloped(1, []byte("\x1f\x8b"))},
		"an end that is none": {lying, enveloped(2, []byte("[]"))},
		"flags without sense": {lying, enveloped(0x7c, nil)},
		"an end with rubbish": {lying, append(good, enveloped(2, []byte(`{"error":{"code":[1]}}`))...)},
	} {
		for form, err := range calls(t.Context(), client(t, serve(t, h), once())) {
			if k := fault.KindOf(err); err == nil || k != fault.Invalid && k != fault.Unreachable {
				t.Errorf("%s, %s: got %v (%v)", name, form, err, k)
			}
		}
	}
}

// endless sends zeros for as long as somebody takes them.
func endless(start []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		_, err := w.Write(start)
		for zeros := make([]byte, 1<<16); err == nil; {
			_, err = w.Write(zeros)
		}
	})
}

func TestAnEndlessAnswerIsLeft(t *testing.T) {
	m := new(remote.Meter)
	cfg := once()
	cfg.Meter = m
	for form, err := range calls(t.Context(), client(t, serve(t, endless([]byte{0, 0xff, 0xff, 0xff, 0xff})), cfg)) {
		wantKind(t, err, fault.Invalid)
		if !strings.Contains(err.Error(), "longer than it may be") && form == "stream" {
			t.Errorf("%s: %v", form, err)
		}
	}
	if m.Received() > 30<<20 {
		t.Errorf("%d bytes were taken", m.Received())
	}
}

// growth returns how much memory a function allocated, all in all.
func growth(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestAnswersThatSwellWhenDecodedAreRefused(t *testing.T) {
	// Empty chains, two bytes each, and a hundred in memory.
	chains := []byte(strings.Repeat("\x0a\x00", 3<<20/2))
	// Details of a refusal in JSON, three bytes each.
	refusal := `{"code":"aborted","details":[{}` + strings.Repeat(",{}", 5<<20) + `]}`
	packed := `{"code":"aborted","details":[{"type":"parsec.v1.Refusal","value":"` +
		base64.RawStdEncoding.EncodeToString(protowire.AppendBytes([]byte{0x1a}, []byte(strings.Repeat("\x22\x00", 4<<20)))) + `"}]}`
	for name, x := range map[string]struct {
		handler http.Handler
		call    func(*remote.Client) error
		most    uint64
	}{
		"chains": {raw{stream: enveloped(0, chains)}, func(c *remote.Client) error {
			return c.Manifests(t.Context(), id.Workspace{1}, 0, nil, func([]remote.Chain, []byte) error { return nil })
		}, 40 << 20},
		"details": {answering(409, map[string]string{"Content-Type": "application/json"}, refusal), func(c *remote.Client) error {
			return c.PutUserManifest(t.Context(), []byte{1})
		}, 120 << 20},
		"a refusal": {answering(409, map[string]string{"Content-Type": "application/json"}, packed), func(c *remote.Client) error {
			return c.PutUserManifest(t.Context(), []byte{1})
		}, 250 << 20},
	} {
		c := client(t, serve(t, x.handler), once())
		var err error
		if n := growth(func() { err = x.call(c) }); n > x.most {
			t.Errorf("%s: took %d MiB", name, n>>20)
		}
		wantKind(t, err, fault.Invalid)
	}
}

func TestAStreamThatStopsBetweenMessagesIsUnreachable(t *testing.T) {
	whole := enveloped(0, nil)
	for n := range whole {
		err := client(t, serve(t, raw{stream: whole[:n]}), once()).PullOrganization(t.Context(), 0, func(remote.Batch) error { return nil })
		wantKind(t, err, fault.Unreachable)
	}
}

func TestALogMustSayWhereItStands(t *testing.T) {
	err := client(t, serve(t, raw{stream: enveloped(2, []byte("{}"))}), once()).PullOrganization(t.Context(), 0, func(remote.Batch) error { return nil })
	wantKind(t, err, fault.Invalid)
}

func TestManyHeadersAreRefused(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := range 2000 {
			w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 100))
		}
	})
	_, err := client(t, serve(t, h), once()).Info(t.Context())
	wantKind(t, err, fault.Unreachable)
}

// Whatever a server answers, a call ends with a result or an error.
func FuzzAnswers(f *testing.F) {
	for _, m := range []proto.Message{
		&parsecv1.OrganizationPullResponse{Position: at(1), Records: [][]byte{{1}}},
		&parsecv1.GetUserManifestResponse{Manifest: []byte{1}},
		&parsecv1.ManifestsResponse{Cursor: []byte{1}, Chains: []*parsecv1.Chain{{Entry: make([]byte, 16)}}},
	} {
		h := message(m)
		f.Add(uint16(200), "application/proto", h.unary)
		f.Add(uint16(200), "application/connect+proto", h.stream)
	}
	f.Add(uint16(409), "application/json", []byte(`{"code":"aborted","message":"m","details":[{"type":"parsec.v1.Refusal","value":"CgVzdGFsZQ"}]}`))
	f.Add(uint16(403), "application/json", []byte(`{"kind":"frozen","error":"e","hint":"h"}`))
	f.Add(uint16(200), "application/vnd.parsec.blocks", append(frame(1, 3), end()...))
	f.Fuzz(func(t *testing.T, status uint16, kind string, body []byte) {
		h := answering(100+int(status)%500, map[string]string{"Content-Type": kind}, string(body))
		cfg := once()
		cfg.Patience = 5 * time.Second
		c := client(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			h.ServeHTTP(w, r)
		})), cfg)
		ctx := t.Context()
		calls(ctx, c)
		_ = c.Manifests(ctx, id.Workspace{1}, 0, nil, func([]remote.Chain, []byte) error { return nil })
		_ = c.Download(ctx, id.Workspace{1}, []id.Block{block(1)}, func(id.Block, []byte) error { return nil })
		_, err := c.Commit(ctx, id.Workspace{1}, remote.Commit{Record: []byte{1}})
		if fault.Is(err, fault.Integrity) || fault.Is(err, fault.Canceled) || fault.Is(err, fault.Usage) {
			t.Errorf("the server made this side say %v", err)
		}
	})
}
