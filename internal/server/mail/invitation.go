package mail

import (
	"context"
	"html/template"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
)

// Invitation is what a person is told who is invited.
type Invitation struct {
	Organization id.Fingerprint
	// Name is the organization's.
	Name string
	// Email is where the mail goes.
	Email string
	// Inviter names who invites.
	Inviter string
	// URL is the link.
	URL string
	// Expires is until when it may be used.
	Expires time.Time
}

// Invite sends an invitation. It fails with busy where the organization sent,
// or the address was sent, too many.
func (s *Sender) Invite(ctx context.Context, i Invitation) error {
	to, err := mail.ParseAddress(i.Email)
	if err != nil || to.Address != i.Email || strings.ContainsFunc(i.Email, unicode.IsControl) {
		return fault.Errorf(fault.Invalid, "send the mail: the address is not one that mail can be sent to")
	}
	now := s.c.Now()
	if s.addresses.Allow(strings.ToLower(i.Email), now) != nil {
		return fault.Errorf(fault.Busy, "send the mail: the address was sent %d within a day already", perAddress)
	}
	if s.organizations.Allow(i.Organization, now) != nil {
		return fault.Errorf(fault.Busy, "send the mail: the organization sent %d within an hour already", perOrganization)
	}
	i.Name, i.Inviter = line(i.Name), line(i.Inviter)
	var html strings.Builder
	if err := page().Execute(&html, i); err != nil {
		return fault.Errorf(fault.Failed, "write the mail: %w", err)
	}
	return s.send(ctx, to, "You are invited to "+i.Name, plain(i), html.String())
}

// maxLine is how many characters of a name are shown.
const maxLine = 100

// line returns a name as a part of one line, without what could end it or turn
// what follows around.
func line(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, name)
	name = strings.Join(strings.Fields(name), " ")
	if runes := []rune(name); len(runes) > maxLine {
		name = string(runes[:maxLine-1]) + "…"
	}
	return name
}

func plain(i Invitation) string {
	return i.Inviter + " invites you to " + i.Name + `, which shares files with Parsec.

Install parsec, agree with whoever invited you on a time to speak to each other,
and run

    parsec invite claim ` + i.URL + `

You will read a short code to each other, so that nobody can take your place.
The link works once, until ` + i.Expires.UTC().Format("2 January 2006 15:04 MST") + `.

If you did not expect this, ignore it.
`
}

// page is the same for programs that show HTML. What people chose is escaped.
func page() *template.Template {
	return template.Must(template.New("").Parse(`<!DOCTYPE html>
<html><body>
<p>{{.Inviter}} invites you to <strong>{{.Name}}</strong>, which shares files with Parsec.</p>
<p>Install parsec, agree with whoever invited you on a time to speak to each other, and run</p>
<pre>parsec invite claim {{.URL}}</pre>
<p>You will read a short code to each other, so that nobody can take your place.
The link works once, until {{.Expires.UTC.Format "2 January 2006 15:04 MST"}}.</p>
<p>If you did not expect this, ignore it.</p>
</body></html>
`))
}
