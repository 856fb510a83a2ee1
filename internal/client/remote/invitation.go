package remote

import (
	"context"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/id"
	"parsec/internal/format/invitation"
)

// Attempt identifies one attempt at an enrollment: 16 random bytes of the
// greeter's. The zero Attempt is none.
type Attempt [16]byte

// Turn is one turn of one side of an enrollment: it leaves a message for a
// step, or waits for the other side's.
type Turn struct {
	// Attempt is zero for a claimer who asks for the newest one.
	Attempt Attempt
	Step    uint32
	// Message is what to leave; empty to wait for the other side's, at most 30 s.
	Message []byte
	// Abort ends the attempt for both sides.
	Abort bool
}

// Reply is the answer to a turn.
type Reply struct {
	// Attempt is zero where there is none yet.
	Attempt Attempt
	// Message is the other side's; empty when it did not come in time.
	Message []byte
}

// CreateInvitation stores a signed invitation, and perhaps has the server send
// it by mail to whom it is for.
func (c *Client) CreateInvitation(ctx context.Context, signed []byte, mail bool) (Mailed, error) {
	return unary(ctx, c.wire, "create an invitation", c.patience, c.invitation.Create,
		&parsecv1.CreateInvitationRequest{Invitation: signed, Mail: mail},
		func(m *parsecv1.CreateInvitationResponse) (Mailed, error) {
			return Mailed{m.GetMailed(), m.GetProblem()}, nil
		})
}

// Mailed says whether the server sent a mail with an invitation, and why not
// where it was asked to.
type Mailed struct {
	Sent    bool
	Problem string
}

// ListInvitations returns the invitations of the device's user that are
// neither used nor cancelled, signed and not checked.
func (c *Client) ListInvitations(ctx context.Context) ([][]byte, error) {
	return unary(ctx, c.wire, "list invitations", c.patience, c.invitation.List,
		&parsecv1.ListInvitationsRequest{}, func(m *parsecv1.ListInvitationsResponse) ([][]byte, error) {
			return m.GetInvitations(), sized("invitation", m.GetInvitations(), invitation.MaxSize)
		})
}

// CancelInvitation cancels an invitation.
func (c *Client) CancelInvitation(ctx context.Context, token id.Token) error {
	_, err := unary(ctx, c.wire, "cancel an invitation", c.patience, c.invitation.Cancel,
		&parsecv1.CancelInvitationRequest{Token: token.Bytes()}, nothing)
	return err
}

// Greet takes the greeter's turn in the mailbox of an invitation. An error of
// kind [fault.Conflict] says that a step holds another message.
func (c *Client) Greet(ctx context.Context, token id.Token, t Turn) (Reply, error) {
	q := t.message()
	q.Token = token.Bytes()
	return unary(ctx, c.wire, "greet", c.patience+poll, c.invitation.Greet, q, t.reply)
}

// GetInvitation returns the signed invitation of the guest's link, not
// checked, and the inviter's opening, which nothing proves and may be empty.
func (g *Guest) GetInvitation(ctx context.Context) (signed, inviter []byte, err error) {
	m, err := unary(ctx, g.wire, "get the invitation", g.patience, g.claim.GetInvitation,
		&parsecv1.GetInvitationRequest{Token: g.link.Token.Bytes(), Organization: g.link.Organization[:]},
		func(m *parsecv1.GetInvitationResponse) (*parsecv1.GetInvitationResponse, error) {
			if err := sized("invitation", [][]byte{m.GetInvitation()}, invitation.MaxSize); err != nil {
				return nil, err
			}
			if n := len(m.GetInviter()); n > maxOpening {
				return nil, malformed("an opening of %d bytes", n)
			}
			return m, nil
		})
	if err != nil {
		return nil, nil, err
	}
	return m.GetInvitation(), m.GetInviter(), nil
}

// Claim takes the claimer's turn in the mailbox of the guest's invitation. An
// error of kind [fault.Conflict] says that a step holds another message.
func (g *Guest) Claim(ctx context.Context, t Turn) (Reply, error) {
	q := t.message()
	q.Token, q.Organization = g.link.Token.Bytes(), g.link.Organization[:]
	return unary(ctx, g.wire, "claim", g.patience+poll, g.claim.Claim, q, t.reply)
}

func (t Turn) message() *parsecv1.ExchangeRequest {
	q := &parsecv1.ExchangeRequest{Step: t.Step, Message: t.Message, Abort: t.Abort}
	if t.Attempt != (Attempt{}) {
		q.Attempt = t.Attempt[:]
	}
	return q
}

// reply checks that an answer belongs to the turn.
func (t Turn) reply(m *parsecv1.ExchangeResponse) (Reply, error) {
	r := Reply{Attempt: t.Attempt, Message: m.GetMessage()}
	switch n := len(m.GetAttempt()); {
	case n == len(r.Attempt):
		r.Attempt = Attempt(m.GetAttempt())
	case n != 0:
		return Reply{}, malformed("an attempt of %d bytes", n)
	}
	if t.Attempt != (Attempt{}) && r.Attempt != t.Attempt {
		return Reply{}, malformed("it is of another attempt")
	}
	if n := len(r.Message); n > maxTurn {
		return Reply{}, malformed("a message of %d bytes", n)
	}
	return r, nil
}
