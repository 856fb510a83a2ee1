package rpc

import (
	"log/slog"
	"net/http"
	"net/netip"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"

	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/id"
	"parsec/internal/format/pack"
	"parsec/internal/format/usermanifest"
	"parsec/internal/server/blocks"
	"parsec/internal/server/events"
	"parsec/internal/server/invitation"
	"parsec/internal/server/limit"
	"parsec/internal/server/organization"
	"parsec/internal/server/workspace"
)

// Services is what the server puts on the network.
type Services struct {
	Organizations *organization.Service
	Workspaces    *workspace.Service
	Blocks        *blocks.Service
	Invitations   *invitation.Service
	Events        *events.Hub
	Admin         parsecv1connect.AdminServiceHandler
	Operator      Operator
	// Ready says whether what the server stands on answers; it may be nil.
	Ready Readiness
	// Observer is told of every request; it may be nil.
	Observer Observer
}

// The largest bodies, in bytes. What surrounds the opaque bytes is small.
const (
	smallBody = 4 << 10
	// recordBody holds a record of the largest size, and the deliveries of a
	// key to hundreds of devices.
	recordBody = 2 << 20
	// rotationBody holds a rotation for ten thousand members with its grants.
	rotationBody = 16 << 20
	exchangeBody = invitation.MaxMessage + smallBody
	entriesBody  = workspace.MaxEntries*id.Size + smallBody
	spansBody    = workspace.MaxEntries*(id.Size+24) + smallBody
	downloadBody = pack.MaxBlocks*(id.Size+1) + smallBody
)

// New returns the handler of all addresses of the server.
func New(s Services, log *slog.Logger, cfg Config) *Server {
	cfg = cfg.withDefaults()
	server := &Server{
		cfg: cfg, log: log, mux: http.NewServeMux(), endpoints: endpoints(cfg),
		gate: s.Organizations, operator: s.Operator, observer: s.Observer,
		ready:     &readiness{of: s.Ready, now: cfg.Now},
		rpcErrors: connecthttp.NewErrorWriter(),
		memory:    limit.NewMemory(cfg.BodyMemory, cfg.Waiters),
		open:      limit.NewMemory(cfg.OpenMemory, cfg.Waiters),
		addresses: limit.NewRates[netip.Addr](cfg.AddressRate, cfg.AddressBurst),
		openings:  limit.NewRates[netip.Addr](cfg.OpenRate, cfg.OpenBurst),
		devices:   limit.NewRates[id.Device](cfg.DeviceRate, cfg.DeviceBurst),
		streams:   newStreams(cfg.Streams),
	}
	rpcs := connect.NewServer(interceptor)
	parsecv1connect.RegisterServerServiceHandler(rpcs, serverAPI{cfg})
	parsecv1connect.RegisterOrganizationServiceHandler(rpcs, organizationAPI{s.Organizations, s.Events, server.streams, cfg})
	parsecv1connect.RegisterWorkspaceServiceHandler(rpcs, workspaceAPI{s.Workspaces})
	mail := invitationAPI{
		invitations: s.Invitations, streams: server.streams, cfg: cfg,
		tokens: limit.NewRates[id.Token](cfg.TokenRate, cfg.TokenBurst),
	}
	parsecv1connect.RegisterInvitationServiceHandler(rpcs, mail)
	parsecv1connect.RegisterClaimServiceHandler(rpcs, claimAPI{mail})
	parsecv1connect.RegisterAdminServiceHandler(rpcs, s.Admin)
	connecthttp.Mount(server.mux, rpcs,
		connecthttp.WithReadMaxBytes(rotationBody),
		connecthttp.WithCompressors(),
		connecthttp.WithCodecs(connectproto.NewBinaryCodec()))
	transfers{server, s.Blocks}.register(server.mux)
	pages(server.mux)
	server.mux.HandleFunc("GET "+readyPath, server.answerReady)
	return server
}

// endpoints returns what every address needs but the pages for people.
func endpoints(c Config) map[string]endpoint {
	all := map[string]endpoint{
		parsecv1connect.ServerServiceInfoProcedure: {noProof, smallBody, c.RequestTime},

		parsecv1connect.OrganizationServiceBootstrapProcedure:       {noProof, recordBody, c.CommitTime},
		parsecv1connect.OrganizationServicePullProcedure:            {deviceProof, smallBody, c.StreamTime},
		parsecv1connect.OrganizationServiceAppendProcedure:          {deviceProof, recordBody, c.CommitTime},
		parsecv1connect.OrganizationServiceListWorkspacesProcedure:  {deviceProof, smallBody, c.RequestTime},
		parsecv1connect.OrganizationServiceGetUserManifestProcedure: {deviceProof, smallBody, c.RequestTime},
		parsecv1connect.OrganizationServicePutUserManifestProcedure: {deviceProof, usermanifest.MaxSize + smallBody, c.CommitTime},
		parsecv1connect.OrganizationServiceGetKeyDeliveryProcedure:  {deviceProof, smallBody, c.RequestTime},
		parsecv1connect.OrganizationServiceGetUsageProcedure:        {deviceProof, smallBody, c.RequestTime},
		parsecv1connect.OrganizationServiceSubscribeProcedure:       {deviceProof, smallBody, 0},

		parsecv1connect.WorkspaceServicePullProcedure:           {deviceProof, smallBody, c.StreamTime},
		parsecv1connect.WorkspaceServiceAppendProcedure:         {deviceProof, rotationBody, c.CommitTime},
		parsecv1connect.WorkspaceServiceCommitProcedure:         {deviceProof, workspace.MaxCommit, c.CommitTime},
		parsecv1connect.WorkspaceServiceManifestsProcedure:      {deviceProof, smallBody, c.StreamTime},
		parsecv1connect.WorkspaceServiceEntryManifestsProcedure: {deviceProof, entriesBody, c.StreamTime},
		parsecv1connect.WorkspaceServiceEntryVersionsProcedure:  {deviceProof, spansBody, c.StreamTime},
		parsecv1connect.WorkspaceServiceGrantsProcedure:         {deviceProof, smallBody, c.RequestTime},
		parsecv1connect.WorkspaceServiceRegrantProcedure:        {deviceProof, 2 * smallBody, c.RequestTime},

		parsecv1connect.InvitationServiceCreateProcedure:   {deviceProof, smallBody, c.RequestTime},
		parsecv1connect.InvitationServiceListProcedure:     {deviceProof, smallBody, c.RequestTime},
		parsecv1connect.InvitationServiceCancelProcedure:   {deviceProof, smallBody, c.RequestTime},
		parsecv1connect.InvitationServiceGreetProcedure:    {deviceProof, exchangeBody, c.RequestTime + c.PollTime},
		parsecv1connect.ClaimServiceGetInvitationProcedure: {noProof, smallBody, c.RequestTime},
		parsecv1connect.ClaimServiceClaimProcedure:         {noProof, exchangeBody, c.RequestTime + c.PollTime},

		pack.UploadPath:   {headerProof, 0, c.TransferTime},
		pack.DownloadPath: {deviceProof, downloadBody, c.StreamTime},
	}
	for _, admin := range []string{
		parsecv1connect.AdminServiceCreateOrganizationProcedure, parsecv1connect.AdminServiceListOrganizationsProcedure,
		parsecv1connect.AdminServiceOrganizationStatsProcedure, parsecv1connect.AdminServiceSetOrganizationProcedure,
		parsecv1connect.AdminServiceListUsersProcedure, parsecv1connect.AdminServiceDeleteOrganizationProcedure, parsecv1connect.AdminServiceSetUserProcedure,
		parsecv1connect.AdminServiceRotateTokenProcedure, parsecv1connect.AdminServiceListDeedsProcedure,
	} {
		all[admin] = endpoint{operatorProof, smallBody, c.RequestTime}
	}
	return all
}
