package agent

import (
	"context"
	"errors"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"

	"parsec/internal/api/agentv1"
	"parsec/internal/api/agentv1/agentv1connect"
	"parsec/internal/base/fault"
)

// maxRequest bounds a request: a thousand names of workspaces, most of them short.
const maxRequest = 64 << 10

// tellTime is how long what was verified may take to be told to the user's other
// devices at the end of a call.
const tellTime = 10 * time.Second

// api returns the handler of the agent's API.
func (a *Agent) api() http.Handler {
	mux := http.NewServeMux()
	rpcs := connect.NewServer(a.counted)
	agentv1connect.RegisterAgentServiceHandler(rpcs, service{a})
	connecthttp.Mount(mux, rpcs,
		connecthttp.WithReadMaxBytes(maxRequest),
		connecthttp.WithCompressors(),
		connecthttp.WithCodecs(connectproto.NewBinaryCodec()))
	return mux
}

// counted counts a call as in flight, and gives its error what callers decide on.
func (a *Agent) counted(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		if !a.server.Begin() {
			return refuse(fault.Errorf(fault.Unreachable, "the process is about to end"))
		}
		defer a.server.End()
		err := next(ctx, spec, stream)
		if _, ok := errors.AsType[*connect.Error](err); ok || err == nil {
			return err
		}
		return refuse(err)
	}
}

// refuse returns an error as the API's.
func refuse(err error) error {
	e := connect.NewError(connect.Code(fault.KindOf(err).RPC()), cut(err.Error()))
	if detail, packing := connectproto.NewErrorDetail(failureOf(err)); packing == nil {
		e = e.WithDetail(detail)
	}
	return e
}

// service is the agent's API.
type service struct{ a *Agent }

var _ agentv1connect.AgentServiceHandler = service{}

// About implements [agentv1connect.AgentServiceHandler].
func (s service) About(context.Context, *agentv1.AboutRequest) (*agentv1.AboutResponse, error) {
	w := s.a.who
	return &agentv1.AboutResponse{Command: w.Command, Process: int64(w.Process), Since: w.Since.UnixNano(), Stays: s.a.cfg.Stays}, nil
}

// Stop implements [agentv1connect.AgentServiceHandler].
func (s service) Stop(context.Context, *agentv1.StopRequest) (*agentv1.StopResponse, error) {
	if !s.a.cfg.Stays {
		return nil, fault.Errorf(fault.Conflict, "%q holds the device, and ends by itself", s.a.who.Command)
	}
	s.a.stop()
	return &agentv1.StopResponse{}, nil
}

// Status implements [agentv1connect.AgentServiceHandler].
func (s service) Status(ctx context.Context, _ *agentv1.StatusRequest) (*agentv1.StatusResponse, error) {
	return s.a.Status(ctx)
}

// Sync implements [agentv1connect.AgentServiceHandler]. What was verified is told to
// the user's other devices, as at the end of a command.
func (s service) Sync(ctx context.Context, r *agentv1.SyncRequest) (*agentv1.SyncResponse, error) {
	out, err := s.a.Sync(ctx, r)
	if !fault.Is(err, fault.Unreachable) {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTime)
		defer cancel()
		if told := s.a.Publish(within); err == nil && fault.Is(told, fault.Integrity) {
			err = told
		}
	}
	if out == nil {
		return nil, err
	}
	if err != nil {
		out.Failed = failureOf(err)
	}
	return out, nil
}

// Watch implements [agentv1connect.AgentServiceHandler].
func (s service) Watch(ctx context.Context, _ *agentv1.WatchRequest, to agentv1connect.AgentServiceWatchServerStream) error {
	return s.a.Watch(ctx, to.Send)
}
