package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"

	"parsec/internal/api/agentv1"
	"parsec/internal/api/agentv1/agentv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/client/home"
	"parsec/internal/client/socket"
)

// maxRequest is more than any request of the API is long.
const maxRequest = 4 << 10

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

// counted counts a call as in flight, and gives its error the code of its kind.
func (a *Agent) counted(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		if !a.server.Begin() {
			return connect.NewError(connect.CodeUnavailable, "the process is about to end")
		}
		defer a.server.End()
		err := next(ctx, spec, stream)
		if _, ok := errors.AsType[*connect.Error](err); ok || err == nil {
			return err
		}
		return connect.NewError(connect.Code(fault.KindOf(err).RPC()), err.Error())
	}
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

// Client speaks the agent's API with the process that holds a device.
type Client struct {
	agentv1connect.AgentServiceClient
	http *http.Client
}

// Dial returns a client of the process that holds the device of a folder. It
// connects with the first call.
func Dial(folder string) *Client {
	h := socket.Client(folder)
	return &Client{agentv1connect.NewAgentServiceClient(connect.NewClient(connecthttp.NewTransport(h, "http://agent",
		connecthttp.WithCodecs(connectproto.NewBinaryCodec()), connecthttp.WithCompressors()))), h}
}

// Close closes the client's connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Holder returns which process holds the device of a folder. It fails with
// [socket.ErrNobody] where none answers.
func Holder(ctx context.Context, folder string) (home.Holder, error) {
	c := Dial(folder)
	defer c.Close()
	about, err := c.About(ctx, &agentv1.AboutRequest{})
	if err != nil {
		return home.Holder{}, unwrapped(err)
	}
	return home.Holder{
		Command: about.GetCommand(), Process: int(about.GetProcess()), Since: time.Unix(0, about.GetSince()),
		Serves: true, Stays: about.GetStays(),
	}, nil
}

// Stop tells the agent that holds the device of a folder to stop. It returns
// when the agent has heard it, not when it has ended.
func Stop(ctx context.Context, folder string) error {
	c := Dial(folder)
	defer c.Close()
	_, err := c.AgentServiceClient.Stop(ctx, &agentv1.StopRequest{})
	return unwrapped(err)
}

// unwrapped returns an error of a call with the kind that it had on the other side.
func unwrapped(err error) error {
	if errors.Is(err, socket.ErrNobody) {
		return socket.ErrNobody
	}
	e, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return err
	}
	for _, k := range []fault.Kind{fault.NotFound, fault.Conflict, fault.Denied, fault.Unreachable, fault.Integrity} {
		if connect.Code(k.RPC()) == e.Code() {
			return fault.Errorf(k, "%s", e.Message())
		}
	}
	return fmt.Errorf("ask the agent: %w", err)
}
