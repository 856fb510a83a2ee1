package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"parsec/internal/base/durable"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/device"
	"parsec/internal/client/enroll"
	"parsec/internal/client/home"
	"parsec/internal/client/remote"
	"parsec/internal/client/seal"
	"parsec/internal/client/store"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
)

// Place is where devices live on this workstation, and which process asks.
type Place struct {
	Home   string
	Holder home.Holder
	Config Config
}

// Held is a session, and the claim to its device's folder.
type Held struct {
	*Session
	claim *home.Claim
}

// Close closes the session and gives the device back.
func (h *Held) Close(ctx context.Context) error {
	return errors.Join(h.Session.Close(ctx), h.claim.Release())
}

// Folder returns the device's own folder.
func (h *Held) Folder() string { return h.claim.Folder() }

// Open opens the session of a device of the home, and nobody else's at the
// same time.
func (p Place) Open(ctx context.Context, f device.Found, l device.Lock) (*Held, error) {
	claim, err := home.Hold(p.Home, f.Device, p.Holder)
	if err != nil {
		return nil, err
	}
	s, err := p.open(ctx, f, l, claim)
	if err != nil {
		return nil, errors.Join(err, claim.Release())
	}
	return &Held{s, claim}, nil
}

func (p Place) open(ctx context.Context, f device.Found, l device.Lock, claim *home.Claim) (*Session, error) {
	d, err := device.Open(f.Path, l)
	if err != nil {
		return nil, err
	}
	local, err := store.Open(ctx, claim.Folder(), d.Device, d.Storage)
	if err != nil {
		return nil, err
	}
	s, err := Open(ctx, d, local, p.Config)
	if err != nil {
		return nil, errors.Join(err, local.Close())
	}
	return s, nil
}

// prepare makes the folder of a new device and opens its session. The device
// does not exist before its file is written.
func (p Place) prepare(ctx context.Context, d *device.Device) (*Held, error) {
	claim, err := home.Hold(p.Home, d.Device, p.Holder)
	if err != nil {
		return nil, err
	}
	local, err := store.Create(ctx, claim.Folder(), d.Device, d.Storage)
	if err != nil {
		return nil, errors.Join(err, claim.Remove())
	}
	s, err := Open(ctx, d, local, p.Config)
	if err != nil {
		return nil, errors.Join(err, local.Close(), claim.Remove())
	}
	return &Held{s, claim}, nil
}

// undo removes a device that came to nothing.
func (h *Held) undo(p Place) error {
	h.server.Close()
	err := os.Remove(device.Path(p.Home, h.device.Device))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, h.local.Close(), h.claim.Remove())
}

// founding is what is kept of a bootstrap until the server has answered.
type founding struct {
	_       struct{} `cbor:",toarray"`
	Token   id.Token
	Genesis []byte
	Opening []byte
}

const foundingName = "bootstrap"

// Bootstrap creates the organization of a link, with the person as its first
// administrator. The device is stored before the server is asked, so that a
// lost answer loses nothing: the same call again takes it up.
func (p Place) Bootstrap(ctx context.Context, link invitation.Link, f Founder, l device.Lock) (*Held, error) {
	guest, err := remote.NewGuest(link, p.Config.Remote)
	if err != nil {
		return nil, err
	}
	defer guest.Close()
	if _, err := guest.Info(ctx); err != nil {
		return nil, err
	}
	h, kept, err := p.foundedBefore(ctx, link, l)
	if err != nil {
		return nil, err
	}
	if h == nil {
		if h, kept, err = p.found(ctx, link, f, l); err != nil {
			return nil, err
		}
	}
	if _, err := guest.Bootstrap(ctx, kept.Genesis, kept.Opening); err != nil {
		if answered(err) {
			return nil, errors.Join(refusedLink(err), h.undo(p))
		}
		return nil, errors.Join(fault.WithHint(err, "run the same command again: it goes on where it stopped"), h.Abandon())
	}
	err = h.local.State.Update(ctx, func(tx *store.StateTx) error { return tx.DropProgress(foundingName) })
	if err == nil {
		err = h.Sync(ctx)
	}
	return h, err
}

func refusedLink(err error) error {
	if fault.Is(err, fault.NotFound) {
		return fault.WithHint(fault.Errorf(fault.NotFound, "bootstrap organization: the link is unknown to the server, or was used"),
			"ask the server's operator for another one")
	}
	return err
}

func (p Place) found(ctx context.Context, link invitation.Link, f Founder, l device.Lock) (*Held, founding, error) {
	var kept founding
	now := time.Now
	if p.Config.Now != nil {
		now = p.Config.Now
	}
	foundation, err := Found(link, f, now())
	if err != nil {
		return nil, kept, err
	}
	kept = founding{Token: link.Token, Genesis: foundation.Genesis, Opening: foundation.Opening}
	h, err := p.prepare(ctx, foundation.Device)
	if err != nil {
		return nil, kept, err
	}
	err = h.local.State.Update(ctx, func(tx *store.StateTx) error { return tx.PutProgress(foundingName, canon.Marshal(kept)) })
	if err == nil {
		err = h.device.Create(device.Path(p.Home, h.device.Device), l)
	}
	if err != nil {
		return nil, kept, errors.Join(err, h.undo(p))
	}
	return h, kept, nil
}

// foundedBefore returns the device of an earlier call with the same link that
// got no answer, if there is one.
func (p Place) foundedBefore(ctx context.Context, link invitation.Link, l device.Lock) (*Held, founding, error) {
	var kept founding
	found, err := device.List(p.Home)
	if err != nil {
		return nil, kept, err
	}
	for _, f := range found {
		if f.Server != link.Server || f.OrganizationName != link.Name {
			continue
		}
		h, err := p.Open(ctx, f, l)
		if err != nil {
			continue // another organization of that name, under another password
		}
		data, _, err := h.local.State.Progress(ctx, foundingName)
		if err == nil && canon.Unmarshal(data, &kept) == nil && kept.Token == link.Token {
			return h, kept, nil
		}
		if err := h.Abandon(); err != nil {
			return nil, kept, err
		}
	}
	return nil, founding{}, nil
}

// Newcomer is who claims an invitation.
type Newcomer struct {
	// Name is the person's; empty for another device of a user.
	Name  string
	Label string
	// Lock protects the new device.
	Lock device.Lock
}

// Claim runs the claimer's side of an enrollment to its end, and returns the
// session of the new device. Nothing is stored before the codes matched.
//
// meet is shown the invitation before anything starts, and says who claims it;
// nothing vouches for the invitation but the codes that follow. Its error ends
// the claim.
func (p Place) Claim(ctx context.Context, link invitation.Link, meet func(invitation.Statement) (Newcomer, error), codes Codes) (h *Held, err error) {
	if link.Organization.IsZero() {
		return nil, fault.WithHint(fault.Errorf(fault.Usage, "claim invitation: this link bootstraps an organization"), "use `parsec org bootstrap` with it")
	}
	guest, err := remote.NewGuest(link, p.Config.Remote)
	if err != nil {
		return nil, err
	}
	defer guest.Close()
	if _, err := guest.Info(ctx); err != nil {
		return nil, err
	}
	signed, _, err := guest.GetInvitation(ctx)
	if err != nil {
		return nil, fault.WithHint(err, "ask for a new invitation")
	}
	c, err := enroll.NewClaimer(link, signed)
	if err != nil {
		return nil, err
	}
	n, err := meet(c.Invitation())
	if err != nil {
		return nil, err
	}
	if err := p.countClaim(link); err != nil {
		return nil, err
	}
	box := &mailbox{turn: guest.Claim}
	defer func() {
		if err != nil {
			box.abort(ctx)
			err = explainAbort(err, c.Abort)
		}
	}()
	codes.Tell("waiting for the person who invited you")
	if err := p.agree(ctx, box, c, codes); err != nil {
		return nil, err
	}
	return p.settleIn(ctx, box, c, link, n)
}

// agree runs the exchange up to the second code's confirmation.
func (p Place) agree(ctx context.Context, box *mailbox, c *enroll.Claimer, codes Codes) error {
	for box.attempt == (remote.Attempt{}) { // until the greeter has opened one
		reply, err := box.turn(ctx, remote.Turn{Step: firstGreeterStep})
		if err != nil {
			return err
		}
		box.attempt = reply.Attempt
	}
	m, err := c.Start()
	if err != nil {
		return err
	}
	if err := box.leave(ctx, m); err != nil {
		return err
	}
	if err := converse(ctx, box, c, func() bool { return c.Expects() == 0 }); err != nil {
		return err
	}
	if err := askCode(ctx, codes, c.Enter); err != nil {
		return err
	}
	if err := codes.Show(c.Code()); err != nil {
		return err
	}
	return converse(ctx, box, c, func() bool { return c.Expects() == 0 })
}

// firstGreeterStep is the first step whose message is the greeter's.
const firstGreeterStep = 2

// settleIn tells the greeter the new device's keys, and stores what the
// greeter says once the organization's log confirms it.
func (p Place) settleIn(ctx context.Context, box *mailbox, c *enroll.Claimer, link invitation.Link, n Newcomer) (*Held, error) {
	d := device.New()
	claim := enroll.Claim{Name: n.Name, Device: d.Keys()}
	st := c.Invitation()
	if st.Type == invitation.ForUser {
		d.UserKeys = []*seal.KeyPair{seal.NewKeyPair()}
		claim.UserKey = d.UserKeys[0].Public()
	}
	m, err := c.Claim(claim)
	if err != nil {
		return nil, err
	}
	if err := box.leave(ctx, m); err != nil {
		return nil, err
	}
	if err := converse(ctx, box, c, func() bool { _, ok := c.Welcome(); return ok }); err != nil {
		return nil, err
	}
	w, _ := c.Welcome()
	for _, private := range w.UserKeys {
		k, err := seal.ParseKeyPair(private)
		if err != nil {
			return nil, err
		}
		d.UserKeys = append(d.UserKeys, k)
	}
	d.User, d.Organization, d.Server = w.User, w.Organization, link.Server
	d.Email, d.Label = w.Opening.Email, n.Label
	d.Enrolled = device.Enrolled{Root: w.Root, Organization: w.Head, UserManifest: w.UserManifest, Workspaces: w.Workspaces}
	h, err := p.enter(ctx, d, w, n)
	if err != nil {
		return nil, err
	}
	if m, err = c.Stored(); err == nil {
		err = box.leave(ctx, m)
	}
	if err != nil {
		return h, fmt.Errorf("tell the other side: %w", err)
	}
	return h, nil
}

// enter checks the organization's log against what the greeter said, and
// writes the device's file if the log confirms it.
func (p Place) enter(ctx context.Context, d *device.Device, w enroll.Welcome, n Newcomer) (*Held, error) {
	h, err := p.prepare(ctx, d)
	if err != nil {
		return nil, err
	}
	if err = h.PullOrganization(ctx); err == nil {
		err = checkOpening(h.org.Load(), w.Opening)
	}
	if err == nil {
		d.OrganizationName = h.org.Load().Name()
		err = d.Create(device.Path(p.Home, d.Device), n.Lock)
	}
	if err != nil {
		return nil, errors.Join(err, h.undo(p))
	}
	return h, nil
}

// countClaim counts one more attempt at an invitation, before it begins.
func (p Place) countClaim(link invitation.Link) error {
	sum := sha256.Sum256(link.Token[:])
	path := filepath.Join(p.Home, "claims", hex.EncodeToString(sum[:8]))
	made, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("count attempts: %w", err)
	}
	if err := enroll.CheckAttempts(len(made)); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("count attempts: %w", err)
	}
	return durable.WriteFile(path, append(made, '.'))
}

// Abandon gives the device back without telling anybody anything, as the end
// of the process would.
func (h *Held) Abandon() error {
	h.server.Close()
	return errors.Join(h.local.Close(), h.claim.Release())
}
