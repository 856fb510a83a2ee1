// Package session is an unlocked device at work in its organization: it
// follows the organization's log, signs and sends records, and remembers what
// it verified. Workspaces and files build on it.
//
// Nothing that a server says is believed. What this package holds in memory
// or on disk has passed package verify, and everything that the server sends
// later must extend it. A record that was signed is kept from before it is
// first sent until it is answered, and sent again byte for byte, so that a
// lost reply never makes a second record.
//
// A Session serves many goroutines. Whatever changes what it remembers, or
// signs, is done by one at a time, see [Session.Exclusive]; to read what is
// verified waits for nobody.
package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/device"
	"parsec/internal/client/remote"
	"parsec/internal/client/seal"
	"parsec/internal/client/store"
	"parsec/internal/format/canon"
	"parsec/internal/format/record"
	"parsec/internal/verify"
)

// Config is how a session works. The zero Config is a sensible one.
type Config struct {
	Remote remote.Config
	// Now is the clock; nil for the machine's.
	Now func() time.Time
}

// Session is an unlocked device at work.
type Session struct {
	device *device.Device
	local  *store.Store
	server *remote.Client
	now    func() time.Time

	// lock holds a token while somebody works exclusively. What follows is
	// changed by them only.
	lock chan struct{}
	// org is the newest verified state, which is replaced and never changed.
	org atomic.Pointer[verify.Organization]
	// settled says that nothing of an earlier process waits for its answer.
	settled bool
	// mu guards what follows, for those who read without the lock, and shared.
	mu       sync.RWMutex
	openings map[id.User]record.Opening
	manifest manifestState
	shared   map[any]any
}

// Open opens the session of an unlocked device with its local store, which
// Close closes. It does not talk to the server yet.
func Open(ctx context.Context, d *device.Device, local *store.Store, cfg Config) (*Session, error) {
	s := &Session{
		device: d, local: local, now: cfg.Now, lock: make(chan struct{}, 1),
		openings: map[id.User]record.Opening{}, shared: map[any]any{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	s.server, err = remote.New(d.Server, remote.Identity{
		Organization: d.Organization, Device: d.Device, Key: secret.Bytes(d.Signing),
	}, cfg.Remote)
	if err != nil {
		return nil, err
	}
	if err := s.restore(ctx); err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	return s, nil
}

// restore takes up what the device remembers.
func (s *Session) restore(ctx context.Context) error {
	s.org.Store(verify.NewOrganization(s.device.Organization))
	remembered, found, err := s.local.State.Organization(ctx)
	if err != nil {
		return err
	}
	if found {
		restored, err := verify.RestoreOrganization(remembered.Snapshot)
		if err != nil {
			return err
		}
		s.org.Store(restored)
		if s.org.Load().Fingerprint() != s.device.Organization {
			return fault.Errorf(fault.Failed, "the local store is that of another organization")
		}
	}
	openings, err := s.local.State.Openings(ctx)
	if err != nil {
		return err
	}
	for user, raw := range openings {
		var o record.Opening
		if err := canon.Unmarshal(raw, &o); err != nil {
			return err
		}
		s.openings[user] = o
	}
	return s.restoreManifest(ctx)
}

// holding marks a context whose owner works exclusively in a session.
type holding struct{ s *Session }

// Exclusive calls do while nobody else changes what the session and its
// workspaces remember, or signs. All methods that do so ask for this themselves,
// and what they are called with says that it is granted already: do passes its
// context on, to calls that end before it. Transfers of content go outside.
func (s *Session) Exclusive(ctx context.Context, do func(context.Context) error) error {
	if ctx.Value(holding{s}) != nil {
		return do(ctx)
	}
	select {
	case s.lock <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.lock }()
	return do(context.WithValue(ctx, holding{s}, true))
}

// Share returns what is kept with the session under a key. It is made on the
// first call, by one caller at a time, and lasts as long as the session.
func (s *Session) Share(ctx context.Context, key any, make func(context.Context) (any, error)) (shared any, err error) {
	err = s.Exclusive(ctx, func(ctx context.Context) error {
		s.mu.RLock()
		shared = s.shared[key]
		s.mu.RUnlock()
		if shared != nil {
			return nil
		}
		if shared, err = make(ctx); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.shared[key] = shared
		return nil
	})
	return shared, err
}

// Close tells the user's other devices what was verified, if that is due, and
// closes the local store. The session is closed whatever it returns.
func (s *Session) Close(ctx context.Context) error {
	err := s.Exclusive(ctx, s.publishManifest)
	s.server.Close()
	return errors.Join(err, s.local.Close())
}

// Publish tells the user's other devices what was verified, if that is due, as
// [Session.Close] does.
func (s *Session) Publish(ctx context.Context) error { return s.Exclusive(ctx, s.publishManifest) }

// Device returns the unlocked device.
func (s *Session) Device() *device.Device { return s.device }

// Server returns the client of the server's API. It is safe for concurrent use.
func (s *Session) Server() *remote.Client { return s.server }

// Local returns the local store. It is safe for concurrent use.
func (s *Session) Local() *store.Store { return s.local }

// UserKey returns the user's current key.
func (s *Session) UserKey() *seal.KeyPair { return s.device.UserKeys[0] }

// Now returns the time by the session's clock, which the server never corrects.
func (s *Session) Now() time.Time { return s.now() }

// Sign signs a record of a log as this device. notBefore is the time of the
// log's newest record, which the new one's is never before.
func (s *Session) Sign(log record.LogID, seen record.Seen, seq uint64, notBefore int64, p record.Payload) []byte {
	return record.Sign(record.Body{
		Log: log, Author: s.device.Device, Seq: seq, Time: max(s.now().UnixNano(), notBefore),
		Seen: seen, Kind: p.Kind(), Payload: record.Encode(p),
	}, s.device.Organization, s.device.Signing)
}

// Sync brings the organization up to date: what an earlier process left
// unanswered is sent again, the organization's log is pulled, and the user's
// other devices are heard.
func (s *Session) Sync(ctx context.Context) error { return s.Exclusive(ctx, s.sync) }

func (s *Session) sync(ctx context.Context) error {
	if err := s.PullOrganization(ctx); err != nil {
		return err
	}
	if err := s.pullManifest(ctx); err != nil {
		return err
	}
	// What the server cannot take now must not keep anybody from reading.
	if err := s.Settle(ctx); fault.Is(err, fault.Unreachable) || fault.Is(err, fault.Integrity) || ctx.Err() != nil {
		return err
	}
	return nil
}
