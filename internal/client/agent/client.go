package agent

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"

	"parsec/internal/api/agentv1"
	"parsec/internal/api/agentv1/agentv1connect"
	"parsec/internal/client/home"
	"parsec/internal/client/socket"
)

// maxAnswer bounds an answer: the other side is the own user's, but may be of
// another version, or ill.
const maxAnswer = 64 << 20

// Client speaks the agent's API with the process that holds a device.
type Client struct {
	rpc  agentv1connect.AgentServiceClient
	http *http.Client
}

// Dial returns a client of the process that holds the device of a folder. It
// connects with the first call, which fails with [socket.ErrNobody] where there is
// none.
func Dial(folder string) *Client {
	h := socket.Client(folder)
	return &Client{agentv1connect.NewAgentServiceClient(connect.NewClient(connecthttp.NewTransport(h, "http://agent",
		connecthttp.WithCodecs(connectproto.NewBinaryCodec()), connecthttp.WithCompressors(), connecthttp.WithReadMaxBytes(maxAnswer)))), h}
}

// Close closes the client's connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status implements [API].
func (c *Client) Status(ctx context.Context) (*agentv1.StatusResponse, error) {
	out, err := c.rpc.Status(ctx, &agentv1.StatusRequest{})
	return out, unwrapped(err)
}

// Sync implements [API].
func (c *Client) Sync(ctx context.Context, r *agentv1.SyncRequest) (*agentv1.SyncResponse, error) {
	out, err := c.rpc.Sync(ctx, r)
	if err != nil {
		return nil, unwrapped(err)
	}
	if out.GetFailed() != nil {
		return out, errorOf(out.GetFailed())
	}
	return out, nil
}

// Watch implements [API].
func (c *Client) Watch(ctx context.Context, show func(*agentv1.WatchResponse) error) error {
	stream, err := c.rpc.Watch(ctx, &agentv1.WatchRequest{})
	if err != nil {
		return unwrapped(err)
	}
	defer stream.Close() // what it would say, Receive has said
	for {
		news, err := stream.Receive()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return unwrapped(err)
		}
		if err := show(news); err != nil {
			return err
		}
	}
}

// Holder returns which process holds the device of a folder. It fails with
// [socket.ErrNobody] where none answers.
func Holder(ctx context.Context, folder string) (home.Holder, error) {
	c := Dial(folder)
	defer c.Close()
	about, err := c.rpc.About(ctx, &agentv1.AboutRequest{})
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
	_, err := c.rpc.Stop(ctx, &agentv1.StopRequest{})
	return unwrapped(err)
}
