// Package server makes a server of its parts: the services over two stores,
// and the network in front of them. It opens and listens to nothing.
package server

import (
	"log/slog"
	"time"

	"parsec/internal/server/access"
	"parsec/internal/server/admin"
	"parsec/internal/server/blob"
	"parsec/internal/server/blocks"
	"parsec/internal/server/events"
	"parsec/internal/server/invitation"
	"parsec/internal/server/meta"
	"parsec/internal/server/organization"
	"parsec/internal/server/rpc"
	"parsec/internal/server/workspace"
)

// Config is how a server differs from the usual one.
type Config struct {
	// PublicURL is where clients find the server, without a trailing slash.
	PublicURL string
	// AdminToken is the operator's bearer token, of which the server keeps a hash.
	AdminToken string
	// Network bounds what callers get, and holds the clock.
	Network rpc.Config
	// Transfer bounds the transfer of blocks.
	Transfer blocks.Config
}

// New returns the handler of a server over two stores, which stay the caller's.
func New(store meta.Store, blobs blob.Store, log *slog.Logger, c Config) *rpc.Server {
	if c.Network.Now == nil {
		c.Network.Now = time.Now
	}
	now, keep, hub := c.Network.Now, access.New(), events.NewHub()
	organizations := organization.New(store, keep, hub, now)
	return rpc.New(rpc.Services{
		Organizations: organizations,
		Workspaces:    workspace.New(store, keep, hub, now),
		Blocks:        blocks.New(store, blobs, keep, now, c.Transfer),
		Invitations:   invitation.New(store, keep, hub, now),
		Events:        hub,
		Admin:         admin.New(organizations, c.PublicURL),
		Operator:      admin.NewOperator(c.AdminToken),
	}, log, c.Network)
}
