package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/enroll"
	"parsec/internal/client/remote"
	"parsec/internal/client/store"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
	"parsec/internal/verify"
)

// invitationLife is how long an invitation may be used.
const invitationLife = 14 * 24 * time.Hour

// Invitation is an invitation with the link that opens it.
type Invitation struct {
	invitation.Statement
	Link invitation.Link
	// Mailed says of one that was just made whether a mail was sent.
	Mailed remote.Mailed
}

// InviteUser invites a person to the organization.
func (s *Session) InviteUser(ctx context.Context, email string, profile record.Profile) (Invitation, error) {
	return s.inviteUser(ctx, email, profile, false)
}

// InviteUserByMail is [Session.InviteUser] with a mail that the server sends.
// The invitation is made also where no mail can be sent.
func (s *Session) InviteUserByMail(ctx context.Context, email string, profile record.Profile) (Invitation, error) {
	return s.inviteUser(ctx, email, profile, true)
}

func (s *Session) inviteUser(ctx context.Context, email string, profile record.Profile, mail bool) (Invitation, error) {
	if s.Profile() != record.ProfileAdmin {
		return Invitation{}, fault.WithHint(fault.Errorf(fault.Denied, "invite %s: only administrators invite people", email),
			"`parsec user list` shows who is one")
	}
	if _, err := s.Find(email); err == nil {
		return Invitation{}, fault.Errorf(fault.Conflict, "invite %s: they are in %s already", email, s.organizationName())
	}
	return s.invite(ctx, invitation.Statement{Type: invitation.ForUser, Email: email, Profile: profile}, mail)
}

// InviteDevice invites another device of the own user.
func (s *Session) InviteDevice(ctx context.Context) (Invitation, error) {
	return s.invite(ctx, invitation.Statement{Type: invitation.ForDevice, User: s.device.User}, false)
}

func (s *Session) invite(ctx context.Context, st invitation.Statement, mail bool) (Invitation, error) {
	now := s.now()
	st.Organization, st.Token, st.Author = s.device.Organization, id.New[id.Token](), s.device.Device
	st.Created, st.Expires = now.UnixNano(), now.Add(invitationLife).UnixNano()
	signed := invitation.Sign(st, s.device.Signing)
	if _, err := invitation.Parse(signed); err != nil {
		return Invitation{}, fault.Errorf(fault.Usage, "invite: %w", err)
	}
	mailed, err := s.server.CreateInvitation(ctx, signed, mail)
	if err != nil {
		return Invitation{}, err
	}
	made := s.withLink(st)
	made.Mailed = mailed
	return made, nil
}

func (s *Session) withLink(st invitation.Statement) Invitation {
	return Invitation{Statement: st, Link: invitation.Link{Server: s.device.Server, Token: st.Token, Organization: st.Organization}}
}

// Invitations returns the own user's pending invitations.
func (s *Session) Invitations(ctx context.Context) ([]Invitation, error) {
	raw, err := s.server.ListInvitations(ctx)
	if err != nil {
		return nil, err
	}
	var all []Invitation
	for _, r := range raw {
		st, err := s.checkInvitation(r)
		if err != nil {
			return nil, err
		}
		if !st.Expired(s.now()) {
			all = append(all, s.withLink(st.Statement))
		}
	}
	return all, nil
}

// checkInvitation accepts a statement only as one of the own user's devices signed it.
func (s *Session) checkInvitation(raw []byte) (invitation.Signed, error) {
	st, err := invitation.Parse(raw)
	if err != nil {
		return st, err
	}
	author, ok := s.org.Load().Device(st.Author)
	if !ok || author.User != s.device.User || st.Organization != s.device.Organization || !st.Check(author.Verify) {
		return st, fault.Broken(enroll.PromiseInvitation, "the server gives an invitation that no device of yours signed")
	}
	return st, nil
}

// CancelInvitation cancels an invitation.
func (s *Session) CancelInvitation(ctx context.Context, t id.Token) error {
	return s.server.CancelInvitation(ctx, t)
}

// Codes shows one side's code to a person and asks for the other's.
type Codes interface {
	// Show shows the code to read out to the other person.
	Show(code string) error
	// Ask asks for the code that the other person reads out.
	Ask(ctx context.Context) (string, error)
	// Tell tells what is going on, in a sentence.
	Tell(what string)
}

// patience is how long one side waits for the other's next message.
const patience = 15 * time.Minute

// mailbox is one side's access to an exchange.
type mailbox struct {
	turn    func(context.Context, remote.Turn) (remote.Reply, error)
	attempt remote.Attempt
}

// leave leaves a message, if there is one.
func (m *mailbox) leave(ctx context.Context, msg enroll.Message) error {
	if msg.None() {
		return nil
	}
	_, err := m.turn(ctx, remote.Turn{Attempt: m.attempt, Step: msg.Step, Message: msg.Data})
	return err
}

// wait waits for the other side's message of a step.
func (m *mailbox) wait(ctx context.Context, step uint32) (enroll.Message, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience,
		fault.WithHint(fault.Errorf(fault.Failed, "the other side did not answer within %s", patience), "start again, both of you"))
	defer cancel()
	for {
		reply, err := m.turn(ctx, remote.Turn{Attempt: m.attempt, Step: step})
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return enroll.Message{}, err
		}
		if m.attempt == (remote.Attempt{}) {
			m.attempt = reply.Attempt
		}
		if len(reply.Message) > 0 {
			return enroll.Message{Step: step, Data: reply.Message}, nil
		}
	}
}

// abort tells the other side that the attempt is over. Its failure changes
// nothing: the other side gives up by itself.
func (m *mailbox) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, _ = m.turn(ctx, remote.Turn{Attempt: m.attempt, Step: 1, Abort: true})
}

// maxTypos is how often something that cannot be a code may be typed.
const maxTypos = 5

// askCode asks for the other's code until it is one, and enters it.
func askCode(ctx context.Context, codes Codes, enter func(string) error) error {
	for typo := 0; ; typo++ {
		code, err := codes.Ask(ctx)
		if err != nil {
			return err
		}
		err = enter(code)
		if !fault.Is(err, fault.Usage) || typo == maxTypos {
			return err
		}
		codes.Tell(err.Error())
	}
}

// Greet runs the greeter's side of an enrollment to its end.
func (s *Session) Greet(ctx context.Context, t id.Token, codes Codes) (err error) {
	signed, st, err := s.ownInvitation(ctx, t)
	if err != nil {
		return err
	}
	if err := s.countAttempt(ctx, t); err != nil {
		return err
	}
	if !s.org.Load().ActiveAt(st.Author, s.org.Load().Position().Index) {
		return fault.WithHint(fault.Errorf(fault.Denied, "the device that signed this invitation was revoked"), "cancel it and invite again")
	}
	author, _ := s.org.Load().Device(st.Author)
	g, err := enroll.NewGreeter(enroll.Greeting{
		Invitation: signed, Author: author.Verify, Organization: s.device.Organization, User: s.device.User, Now: s.now(),
	})
	if err != nil {
		return err
	}
	box := &mailbox{turn: func(ctx context.Context, turn remote.Turn) (remote.Reply, error) { return s.server.Greet(ctx, t, turn) }}
	rand.Read(box.attempt[:])
	defer func() {
		if err != nil {
			box.abort(ctx)
			err = explainAbort(err, g.Abort)
		}
	}()
	who := st.Email
	if st.Type == invitation.ForDevice {
		who = "your new device"
	}
	codes.Tell(fmt.Sprintf("waiting for %s to open the invitation", who))
	if err := converse(ctx, box, g, func() bool { return g.Code() != "" }); err != nil {
		return err
	}
	if err := codes.Show(g.Code()); err != nil {
		return err
	}
	err = askCode(ctx, codes, func(code string) error {
		m, err := g.Enter(code)
		if err != nil {
			return err
		}
		return box.leave(ctx, m)
	})
	if err != nil {
		return err
	}
	return s.welcome(ctx, box, g)
}

// explainAbort returns why an attempt ended: a conflict in the mailbox means
// that the other side, or somebody in between, ended it.
func explainAbort(err error, abort func() error) error {
	if fault.Is(err, fault.Conflict) {
		return abort()
	}
	return err
}

// party is either side of an exchange.
type party interface {
	Expects() uint32
	Receive(enroll.Message) (enroll.Message, error)
}

// converse takes and answers messages until a condition holds.
func converse(ctx context.Context, box *mailbox, p party, until func() bool) error {
	for !until() {
		m, err := box.wait(ctx, p.Expects())
		if err != nil {
			return err
		}
		answer, err := p.Receive(m)
		if err != nil {
			return err
		}
		if err := box.leave(ctx, answer); err != nil {
			return err
		}
	}
	return nil
}

// welcome signs the newcomer into the organization and hands over what the
// newcomer has to believe.
func (s *Session) welcome(ctx context.Context, box *mailbox, g *enroll.Greeter) error {
	claimed := func() bool { _, ok := g.Claim(); return ok }
	if err := converse(ctx, box, g, claimed); err != nil {
		return err
	}
	claim, _ := g.Claim()
	w, err := s.admit(ctx, g.Invitation(), claim)
	if err != nil {
		return err
	}
	m, err := g.Welcome(w)
	if err != nil {
		return err
	}
	if err := box.leave(ctx, m); err != nil {
		return err
	}
	return converse(ctx, box, g, g.Done)
}

// admit appends the newcomer's record.
func (s *Session) admit(ctx context.Context, st invitation.Statement, c enroll.Claim) (w enroll.Welcome, err error) {
	err = s.Exclusive(ctx, func(ctx context.Context) error {
		w, err = s.append(ctx, st, c)
		return err
	})
	return w, err
}

func (s *Session) append(ctx context.Context, st invitation.Statement, c enroll.Claim) (enroll.Welcome, error) {
	w := enroll.Welcome{Organization: s.device.Organization, Root: s.org.Load().Root(), User: s.device.User}
	if st.Type == invitation.ForDevice {
		w.Opening = s.openings[s.device.User]
		for _, k := range s.device.UserKeys {
			w.UserKeys = append(w.UserKeys, secret.Bytes(k.Private()))
		}
		w.UserManifest = usermanifest.Pin{Version: s.manifest.envelope.Version, Digest: s.manifest.digest}
		w.Workspaces = s.manifest.content.Workspaces
	}
	user := id.New[id.User]()
	opening, err := NewOpening(user, st.Email, c.Name)
	if st.Type == invitation.ForUser {
		if err != nil {
			return w, err
		}
		w.User, w.Opening = user, opening
	}
	err = s.AppendOrganization(ctx, func(o *verify.Organization) (Draft, error) {
		if st.Type == invitation.ForDevice {
			return Draft{Payload: record.DeviceAdded{New: c.Device}, Invitation: st.Token}, nil
		}
		return Draft{
			Payload: record.UserAdded{Profile: st.Profile, New: record.NewUser{
				User: user, Identity: opening.Commit([32]byte(o.Fingerprint())), Key: c.UserKey, Device: c.Device,
			}},
			Opening: canon.Marshal(opening), Invitation: st.Token,
		}, nil
	})
	w.Head = s.org.Load().Position()
	return w, err
}

// ownInvitation returns a pending invitation of the own user, as signed.
func (s *Session) ownInvitation(ctx context.Context, t id.Token) ([]byte, invitation.Signed, error) {
	raw, err := s.server.ListInvitations(ctx)
	if err != nil {
		return nil, invitation.Signed{}, err
	}
	for _, r := range raw {
		st, err := s.checkInvitation(r)
		if err != nil {
			return nil, st, err
		}
		if st.Token == t {
			return r, st, nil
		}
	}
	return nil, invitation.Signed{}, fault.WithHint(fault.Errorf(fault.NotFound, "you have no such invitation, or it was used or cancelled"),
		"`parsec invite list` shows those that are open")
}

// countAttempt counts one more attempt at an invitation, before it begins.
func (s *Session) countAttempt(ctx context.Context, t id.Token) error {
	name := "greet " + t.String()
	kept, _, err := s.local.State.Progress(ctx, name)
	if err != nil {
		return err
	}
	if err := enroll.CheckAttempts(len(kept)); err != nil {
		return errors.Join(err, s.server.CancelInvitation(ctx, t))
	}
	return s.local.State.Update(ctx, func(tx *store.StateTx) error { return tx.PutProgress(name, append(kept, 1)) })
}
