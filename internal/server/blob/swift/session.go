package swift

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/ncw/swift/v2"

	"parsec/internal/base/fault"
)

// margin is how long before its end a token is not used any more.
const margin = 2 * time.Minute

// ready returns a connection with a token to a container that is there. It
// asks for a token where there is none, where it ends soon, or where it is
// that of a connection that was refused.
//
// The client asks for tokens by itself too, but holds a lock meanwhile that
// does not heed the context; so each token has a connection of its own, which
// never does.
func (s *Store) ready(ctx context.Context, refused *swift.Connection) (*swift.Connection, error) {
	if c := s.current(refused); c != nil {
		return c, nil
	}
	select {
	case <-s.renewing:
		defer func() { s.renewing <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c := s.current(refused); c != nil {
		return c, nil
	}
	c, err := s.renew(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.makeContainer(ctx, c); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session, s.prepared = c, true
	return c, nil
}

func (s *Store) current(refused *swift.Connection) *swift.Connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.session
	if c == nil || c == refused || !c.Expires.IsZero() && time.Until(c.Expires) < margin {
		return nil
	}
	return c
}

// renew asks for a token.
func (s *Store) renew(ctx context.Context) (*swift.Connection, error) {
	c := s.config
	login := &swift.Connection{
		UserName: c.Credentials.User, ApiKey: string(c.Credentials.Secret),
		AuthUrl: c.authURL(), AuthVersion: int(c.Auth),
		Tenant: c.Tenant, Domain: c.domain(), Region: c.Region,
		Transport: s.network, ConnectTimeout: forever, Timeout: forever, Retries: none,
	}
	if err := login.Authenticate(ctx); err != nil {
		return nil, err
	}
	if !c.Insecure && !strings.HasPrefix(login.StorageUrl, "https://") {
		return nil, fault.Errorf(fault.Failed, "the store's authority names an address without TLS, which insecure=true would have to allow")
	}
	return login, nil
}

// The client's own patience: package httpstore breaks off and repeats.
const (
	forever = 365 * 24 * time.Hour
	none    = -1
)

func (s *Store) makeContainer(ctx context.Context, c *swift.Connection) error {
	if s.isPrepared() {
		return nil
	}
	_, _, err := c.Container(ctx, s.config.Container)
	if isStatus(err, http.StatusNotFound) {
		err = c.ContainerCreate(ctx, s.config.Container, nil)
	}
	if isStatus(err, http.StatusNotFound) {
		return errors.Join(fault.Errorf(fault.Failed, "the store has no such account"), err)
	}
	return err
}

func (s *Store) isPrepared() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prepared
}
