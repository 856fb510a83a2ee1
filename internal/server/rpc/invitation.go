package rpc

import (
	"context"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/invitation"
	"parsec/internal/server/limit"
	"parsec/internal/server/meta"
)

// invitationAPI puts invitations on the wire, for devices of members.
type invitationAPI struct {
	invitations *invitation.Service
	streams     *streams
	tokens      *limit.Rates[id.Token]
	cfg         Config
}

// token returns the token of a request, at the token's rate: the gate knows
// only addresses and devices.
func (a invitationAPI) token(b []byte) (id.Token, error) {
	t, err := identifier[id.Token]("the invitation's token", b)
	if err != nil {
		return t, err
	}
	return t, a.tokens.Allow(t, a.cfg.Now())
}

// Create keeps a signed invitation.
func (a invitationAPI) Create(ctx context.Context, q *parsecv1.CreateInvitationRequest) (*parsecv1.CreateInvitationResponse, error) {
	if err := a.invitations.Create(ctx, callerOf(ctx), q.GetInvitation()); err != nil {
		return nil, err
	}
	m := new(parsecv1.CreateInvitationResponse)
	if q.GetMail() {
		if err := a.invitations.Mail(ctx, callerOf(ctx), q.GetInvitation()); err != nil {
			m.Problem = err.Error()
		} else {
			m.Mailed = true
		}
	}
	return m, nil
}

// List lists the open invitations of the caller's user.
func (a invitationAPI) List(ctx context.Context, _ *parsecv1.ListInvitationsRequest) (*parsecv1.ListInvitationsResponse, error) {
	all, err := a.invitations.List(ctx, callerOf(ctx))
	if err != nil {
		return nil, err
	}
	return &parsecv1.ListInvitationsResponse{Invitations: all}, nil
}

// Cancel cancels an invitation.
func (a invitationAPI) Cancel(ctx context.Context, q *parsecv1.CancelInvitationRequest) (*parsecv1.CancelInvitationResponse, error) {
	t, err := a.token(q.GetToken())
	if err != nil {
		return nil, err
	}
	if err := a.invitations.Cancel(ctx, callerOf(ctx), t); err != nil {
		return nil, err
	}
	return new(parsecv1.CancelInvitationResponse), nil
}

// Greet takes the greeter's turn.
func (a invitationAPI) Greet(ctx context.Context, q *parsecv1.ExchangeRequest) (*parsecv1.ExchangeResponse, error) {
	c := callerOf(ctx)
	return a.exchange(ctx, q, c.Device, func(ctx context.Context, t invitation.Turn) (invitation.Reply, error) {
		return a.invitations.Greet(ctx, c, t, a.cfg.PollTime)
	})
}

// exchange takes a turn, which ends early when the server stops.
func (a invitationAPI) exchange(ctx context.Context, q *parsecv1.ExchangeRequest, d id.Device,
	take func(context.Context, invitation.Turn) (invitation.Reply, error),
) (*parsecv1.ExchangeResponse, error) {
	t, err := a.turn(q)
	if err != nil {
		return nil, err
	}
	live, end, err := a.streams.start(ctx, d)
	if err != nil {
		return nil, err
	}
	defer end()
	reply, err := take(live, t)
	if err != nil && live.Err() != nil && ctx.Err() == nil {
		return nil, errStopping()
	}
	if err != nil {
		return nil, err
	}
	m := &parsecv1.ExchangeResponse{Message: reply.Message}
	if reply.Attempt != (meta.Attempt{}) {
		m.Attempt = reply.Attempt[:]
	}
	return m, nil
}

func (a invitationAPI) turn(q *parsecv1.ExchangeRequest) (invitation.Turn, error) {
	t := invitation.Turn{Step: q.GetStep(), Message: q.GetMessage(), Abort: q.GetAbort()}
	switch n := len(q.GetAttempt()); n {
	case 0:
	case len(t.Attempt):
		t.Attempt = meta.Attempt(q.GetAttempt())
	default:
		return t, fault.Errorf(fault.Invalid, "read request: an attempt of %d bytes", n)
	}
	var err error
	t.Token, err = a.token(q.GetToken())
	return t, err
}

// claimAPI is for the invited, who have no device yet.
type claimAPI struct{ invitationAPI }

// GetInvitation returns an open invitation.
func (a claimAPI) GetInvitation(ctx context.Context, q *parsecv1.GetInvitationRequest) (*parsecv1.GetInvitationResponse, error) {
	t, err := a.token(q.GetToken())
	if err != nil {
		return nil, err
	}
	f, err := digest[id.Fingerprint]("the organization's fingerprint", q.GetOrganization())
	if err != nil {
		return nil, err
	}
	statement, inviter, err := a.invitations.Get(ctx, f, t)
	if err != nil {
		return nil, err
	}
	return &parsecv1.GetInvitationResponse{Invitation: statement, Inviter: inviter}, nil
}

// Claim takes the claimer's turn.
func (a claimAPI) Claim(ctx context.Context, q *parsecv1.ExchangeRequest) (*parsecv1.ExchangeResponse, error) {
	f, err := digest[id.Fingerprint]("the organization's fingerprint", q.GetOrganization())
	if err != nil {
		return nil, err
	}
	return a.exchange(ctx, q, id.Device{}, func(ctx context.Context, t invitation.Turn) (invitation.Reply, error) {
		return a.invitations.Claim(ctx, f, t, a.cfg.PollTime)
	})
}
