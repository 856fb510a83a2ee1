package invitation_test

import (
	"context"
	"strings"
	"testing"

	"parsec/internal/base/fault"
	statement "parsec/internal/format/invitation"
	"parsec/internal/server/mail"
	"parsec/internal/server/servertest"
)

// tray is where mails go that are not sent.
type tray struct {
	all  []mail.Invitation
	fail error
}

// Invite implements the mailer.
func (m *tray) Invite(_ context.Context, i mail.Invitation) error {
	m.all = append(m.all, i)
	return m.fail
}

func TestAMailLeadsToTheInvitationAndItsFailureLosesNothing(t *testing.T) {
	s := servertest.NewStage(t)
	i, device := forUser(s, s.Admin), forDevice(s, s.Admin)
	create(t, s, s.Admin, i)
	create(t, s, s.Admin, device)
	send := func(i statement.Statement) error {
		return s.Invitations.Mail(t.Context(), s.Caller(s.Admin), statement.Sign(i, s.Admin.Signing))
	}
	servertest.Kind(t, "without a mail server", send(i), fault.Failed)
	full := &tray{fail: fault.Errorf(fault.Busy, "too many")}
	s.Invitations.SendWith(full, "https://parsec.example.com")
	servertest.Kind(t, "a device", send(device), fault.Usage)
	servertest.Kind(t, "a failure", send(i), fault.Busy)
	if len(full.all) != 1 {
		t.Fatalf("%d mails", len(full.all))
	}
	m := full.all[0]
	link, err := statement.ParseLink(m.URL)
	if err != nil || link.Server != "https://parsec.example.com" || link.Token != i.Token || link.Organization != s.Fingerprint() {
		t.Errorf("the link is %+v, %v", link, err)
	}
	if m.Email != i.Email || m.Name != s.Org.Name() || !strings.Contains(m.Inviter, s.Admin.Opening.Email) || m.Expires.UnixNano() != i.Expires {
		t.Errorf("the mail is %+v", m)
	}
	if _, _, err := s.Invitations.Get(t.Context(), s.Fingerprint(), i.Token); err != nil {
		t.Errorf("the invitation is lost: %v", err)
	}
}
