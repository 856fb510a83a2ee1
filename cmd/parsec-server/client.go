package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/spf13/cobra"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
)

// adminFlags are those of the commands that go through the admin API.
type adminFlags struct {
	server, tokenFile, data string
	json                    bool
}

func (a *adminFlags) register(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&a.server, "server", "http://"+defaultListen, "`URL` of the running server")
	f.StringVar(&a.tokenFile, "admin-token-file", "", "`file` with the administrator's token (default DATA/"+tokenFile+")")
	f.StringVar(&a.data, "data", defaultData, "data `folder` of the server, where its token is")
	f.BoolVar(&a.json, "json", false, "print JSON")
}

// tokenPath is the file with the administrator's token.
func (a *adminFlags) tokenPath() string {
	if a.tokenFile != "" {
		return a.tokenFile
	}
	return filepath.Join(a.data, tokenFile)
}

// connect returns the admin API of the running server.
func (a *adminFlags) connect() (parsecv1connect.AdminServiceClient, error) {
	if err := a.checkServer(); err != nil {
		return nil, err
	}
	token, err := readToken(a.tokenPath())
	if fault.Is(err, fault.NotFound) {
		err = fault.WithHint(err, "name the server's data folder with --data, or the file with --admin-token-file")
	}
	if err != nil {
		return nil, err
	}
	return a.connectWith(token), nil
}

// checkServer refuses what is not the address of a server.
func (a *adminFlags) checkServer() error {
	u, err := url.Parse(a.server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fault.Errorf(fault.Usage, "read --server: %q is not an http or https address", a.server)
	}
	return nil
}

// connectWith returns the admin API of the running server, with a token.
func (a *adminFlags) connectWith(token string) parsecv1connect.AdminServiceClient {
	caller := bearer{token, &http.Client{Timeout: time.Minute}}
	transport := connecthttp.NewTransport(caller, strings.TrimSuffix(a.server, "/"),
		connecthttp.WithCodecs(connectproto.NewBinaryCodec()), connecthttp.WithCompressors())
	return parsecv1connect.NewAdminServiceClient(connect.NewClient(transport))
}

// bearer sends each request with the administrator's token.
type bearer struct {
	token  string
	client *http.Client
}

// Do sends a request.
func (b bearer) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.client.Do(r)
}

// ask calls the admin API and turns its refusals back into errors with a kind.
func ask[Q, A any](ctx context.Context, method func(context.Context, Q) (A, error), q Q) (A, error) {
	answer, err := method(ctx, q)
	if err == nil {
		return answer, nil
	}
	said, ok := errors.AsType[*connect.Error](err)
	if !ok || !said.IsRemote() {
		return answer, fault.WithHint(fault.Errorf(fault.Unreachable, "reach the server: %w", err), "check that it runs, and its address with --server")
	}
	for _, d := range said.Details() {
		m, err := connectproto.UnmarshalErrorDetail(d)
		refusal, ok := m.(*parsecv1.Refusal)
		if err != nil || !ok {
			continue
		}
		for _, k := range fault.Kinds() {
			if k.String() == refusal.GetKind() {
				return answer, &fault.Error{Kind: k, Hint: refusal.GetHint(), Err: errors.New(said.Message())}
			}
		}
	}
	return answer, fault.WithHint(fault.Errorf(fault.Failed, "the answer is not that of a Parsec server: %w", said), "check the address with --server")
}
