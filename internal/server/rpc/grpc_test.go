package rpc_test

import (
	"net/http"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/server/servertest"
)

func TestClientsOfGRPCAreAnswered(t *testing.T) {
	s := servertest.Start(t, servertest.Config{})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	client := connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: transport}, s.URL,
		connecthttp.WithGRPC(), connecthttp.WithCodecs(connectproto.NewBinaryCodec()), connecthttp.WithCompressors()))
	info, err := parsecv1connect.NewServerServiceClient(client).Info(t.Context(), &parsecv1.InfoRequest{})
	if err != nil || info.GetSuite() != "parsec/v1" {
		t.Errorf("got %v, %v", info, err)
	}
	_, err = parsecv1connect.NewOrganizationServiceClient(client).ListWorkspaces(t.Context(), &parsecv1.ListWorkspacesRequest{})
	if _, err = servertest.Refusal(err); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("without a token: %v", err)
	}
}
