package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/format/record"
	"parsec/internal/server/call"
)

// This file is the one place where an error of a service becomes an answer.

// public returns what may be said about err outside: of a failure without a
// kind, which is the server's own trouble, only where to find it in the log.
func public(ctx context.Context, err error) string {
	if fault.KindOf(err) == fault.Failed {
		return "the server failed; its log has the reason under request " + noteOf(ctx).id
	}
	return err.Error()
}

// refuse returns err as an RPC's error, with the detail that clients decide on.
// An error of the RPC layer itself stays what it is.
func refuse(ctx context.Context, err error) error {
	noteOf(ctx).err = err
	if _, ok := errors.AsType[*connect.Error](err); ok {
		return err
	}
	kind := fault.KindOf(err)
	refusal := &parsecv1.Refusal{Kind: kind.String(), Hint: fault.HintOf(err)}
	if stale, ok := errors.AsType[*call.Stale](err); ok {
		refusal.Stale = staleDetail(stale)
	}
	if missing, ok := errors.AsType[*call.Missing](err); ok {
		refusal.Missing = new(parsecv1.Missing)
		for _, b := range missing.Blocks {
			refusal.Missing.Blocks = append(refusal.Missing.Blocks, b.Bytes())
		}
	}
	answer := connect.NewError(connect.Code(kind.RPC()), public(ctx, err)).WithCause(err)
	detail, packing := connectproto.NewErrorDetail(refusal)
	if packing != nil {
		return answer
	}
	return answer.WithDetail(detail)
}

func staleDetail(s *call.Stale) *parsecv1.Stale {
	detail := &parsecv1.Stale{Position: position(s.Position), Records: s.Records}
	if s.Organization.Index > 0 {
		detail.Organization = position(s.Organization)
	}
	for _, c := range s.Chains {
		detail.Chains = append(detail.Chains, chain(c))
	}
	return detail
}

func position(p record.Position) *parsecv1.Position {
	return &parsecv1.Position{Index: p.Index, Head: p.Head[:]}
}

func chain(c call.Chain) *parsecv1.Chain {
	m := make([]*parsecv1.SealedManifest, len(c.Manifests))
	for i, v := range c.Manifests {
		m[i] = &parsecv1.SealedManifest{Version: v.Version, Sealed: v.Sealed}
	}
	return &parsecv1.Chain{Entry: c.Entry[:], Manifests: m}
}

// interceptor turns the errors of all RPCs into refusals.
func interceptor(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		if err := next(ctx, spec, stream); err != nil {
			return refuse(ctx, err)
		}
		return nil
	}
}

// rpcPaths is where the paths of all RPCs begin.
const rpcPaths = "/parsec.v1."

// reply answers a request that failed before, or outside of, an RPC.
func reply(w http.ResponseWriter, r *http.Request, rpcs *connecthttp.ErrorWriter, err error) {
	if strings.HasPrefix(r.URL.Path, rpcPaths) && rpcs.IsSupported(r) {
		_ = rpcs.Write(w, r, refuse(r.Context(), err)) // a client that left needs no answer
		return
	}
	noteOf(r.Context()).err = err
	kind := fault.KindOf(err)
	answer, _ := json.Marshal(plainRefusal{Kind: kind.String(), Error: public(r.Context(), err), Hint: fault.HintOf(err)})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(kind.HTTP())
	_, _ = w.Write(append(answer, '\n'))
}

// plainRefusal is how the plain HTTP endpoints refuse.
type plainRefusal struct {
	Kind  string `json:"kind"`
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}
