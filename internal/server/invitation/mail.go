package invitation

import (
	"context"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
	"parsec/internal/server/call"
	"parsec/internal/server/mail"
	"parsec/internal/server/meta"
)

// Mailer sends mails.
type Mailer interface {
	Invite(ctx context.Context, i mail.Invitation) error
}

// SendWith has links to publicURL, without a trailing slash, sent by m. It is
// called before the service is used.
func (s *Service) SendWith(m Mailer, publicURL string) { s.mailer, s.publicURL = m, publicURL }

// Mail sends the link of an invitation that the caller created to whom it is
// for. That it fails says nothing about the invitation.
func (s *Service) Mail(ctx context.Context, c call.Caller, raw []byte) error {
	i, err := invitation.Parse(raw)
	if err != nil {
		return err
	}
	switch {
	case i.Type != invitation.ForUser:
		return fault.Errorf(fault.Usage, "only people are invited by mail")
	case s.mailer == nil:
		return fault.Errorf(fault.Failed, "this server sends no mails")
	}
	link := invitation.Link{Server: s.publicURL, Token: i.Token, Organization: c.Organization}
	m := mail.Invitation{Organization: c.Organization, Email: i.Email, URL: link.String(), Expires: time.Unix(0, i.Expires)}
	if err := s.store.Read(ctx, func(tx meta.Tx) error {
		o, err := s.keep.Caller(tx, c)
		if err != nil {
			return err
		}
		m.Name = o.State.Name()
		rows, err := tx.Users().Get(c.Key, []id.User{c.User})
		if err != nil {
			return err
		}
		var who record.Opening
		if err := canon.Unmarshal(rows[0].Opening, &who); err != nil {
			return fault.Errorf(fault.Failed, "read opening of user %s: %w", c.User, err)
		}
		m.Inviter = who.Name + " (" + who.Email + ")"
		return nil
	}); err != nil {
		return err
	}
	return s.mailer.Invite(ctx, m)
}
