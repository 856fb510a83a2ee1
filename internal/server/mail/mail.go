// Package mail sends invitations by SMTP. It speaks TLS from the beginning or
// after STARTTLS, and nothing in the clear unless the configuration says so.
//
// What people choose, names and addresses, is never put into a header as it
// is: control characters go, what is not ASCII is encoded, and an address is
// one address or refused. A mail holds no secret but the link of the invitation.
package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/mail"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	smtp "github.com/wneessen/go-mail"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/limit"
)

const (
	// sendTime is how long a mail may take; a request has more.
	sendTime = 20 * time.Second
	// perOrganization is how many mails an organization sends in an hour, and
	// at once.
	perOrganization = 50
	// perAddress is how many mails an address is sent in a day, and at once.
	perAddress = 3
)

// Config is how mails are sent.
type Config struct {
	Host           string
	Port           int
	User, Password string
	// Implicit says that TLS begins with the connection, and else after STARTTLS.
	Implicit bool
	// Insecure allows to go on without TLS where the server does not offer it.
	Insecure bool
	// Roots are the authorities that the server's certificate may be of; nil
	// for those of the system.
	Roots *x509.CertPool
	// From is the sender.
	From *mail.Address
	// Now is the clock; default [time.Now].
	Now func() time.Time
}

// ParseURL reads smtps://USER:PASSWORD@HOST:PORT, or smtp:// for STARTTLS. The
// URL may hold a password, so that what is not understood is not shown.
func ParseURL(text string) (c Config, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
		return c, fault.Errorf(fault.Usage, "read --smtp-url: want smtps://USER:PASSWORD@HOST:PORT, or smtp:// for STARTTLS")
	}
	c = Config{Host: u.Hostname(), User: u.User.Username(), Implicit: u.Scheme == "smtps", Port: 587}
	c.Password, _ = u.User.Password()
	if c.Implicit {
		c.Port = 465
	}
	if u.Port() != "" {
		if c.Port, err = strconv.Atoi(u.Port()); err != nil || c.Port < 1 || c.Port > 65535 {
			return c, fault.Errorf(fault.Usage, "read --smtp-url: %q is no port", u.Port())
		}
	}
	for key, values := range u.Query() {
		switch {
		case key == "insecure" && values[0] == "true" && !c.Implicit:
			c.Insecure = true
		case key == "ca":
			pem, err := os.ReadFile(values[0])
			if c.Roots = x509.NewCertPool(); err != nil || !c.Roots.AppendCertsFromPEM(pem) {
				return c, fault.Errorf(fault.Usage, "read --smtp-url: no certificate in PEM in %s", values[0])
			}
		default:
			return c, fault.Errorf(fault.Usage, "read --smtp-url: %q is not understood; there are insecure=true, of smtp:// only, and ca=FILE", key)
		}
	}
	return c, nil
}

// ParseSender reads the sender, as Parsec <parsec@example.com>.
func ParseSender(text string) (*mail.Address, error) {
	a, err := mail.ParseAddress(text)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "read --smtp-from: want an address, as parsec@example.com")
	}
	return a, nil
}

// Sender sends mails. It is safe for concurrent use.
type Sender struct {
	c             Config
	organizations *limit.Rates[id.Fingerprint]
	addresses     *limit.Rates[string]
}

// New returns a sender. It connects for each mail.
func New(c Config) *Sender {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Sender{
		c:             c,
		organizations: limit.NewRates[id.Fingerprint](perOrganization/time.Hour.Seconds(), perOrganization),
		addresses:     limit.NewRates[string](perAddress/(24*time.Hour).Seconds(), perAddress),
	}
}

// client returns who speaks to the server, once.
func (s *Sender) client() (*smtp.Client, error) {
	secure := &tls.Config{ServerName: s.c.Host, RootCAs: s.c.Roots, MinVersion: tls.VersionTLS12}
	options := []smtp.Option{smtp.WithTLSConfig(secure), smtp.WithTimeout(sendTime)}
	auth := smtp.SMTPAuthAutoDiscover
	switch {
	case s.c.Implicit:
		options = append(options, smtp.WithSSL())
	case s.c.Insecure:
		auth = smtp.SMTPAuthPlainNoEnc
		options = append(options, smtp.WithTLSPolicy(smtp.TLSOpportunistic))
	default:
		options = append(options, smtp.WithTLSPolicy(smtp.TLSMandatory))
	}
	if s.c.User != "" {
		options = append(options, smtp.WithSMTPAuth(auth), smtp.WithUsername(s.c.User), smtp.WithPassword(s.c.Password))
	}
	return smtp.NewClient(s.c.Host, append(options, smtp.WithPort(s.c.Port))...)
}

// Check connects to the server and presents the user, and sends nothing.
func (s *Sender) Check(ctx context.Context) error {
	client, err := s.client()
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, sendTime)
		defer cancel()
		err = client.DialWithContext(ctx)
	}
	if err != nil {
		return fault.Errorf(fault.Unreachable, "reach the mail server %s: %w", s.Address(), err)
	}
	_ = client.Close() // it was reached
	return nil
}

// Address is that of the server.
func (s *Sender) Address() string { return net.JoinHostPort(s.c.Host, strconv.Itoa(s.c.Port)) }

// send sends a mail with two forms of a text.
func (s *Sender) send(ctx context.Context, to *mail.Address, subject, text, html string) error {
	m := smtp.NewMsg()
	m.FromMailAddress(s.c.From)
	m.ToMailAddress(to)
	m.Subject(subject)
	m.SetDateWithValue(s.c.Now())
	m.SetMessageID()
	m.SetBodyString(smtp.TypeTextPlain, text)
	m.AddAlternativeString(smtp.TypeTextHTML, html)
	client, err := s.client()
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, sendTime)
		defer cancel()
		err = client.DialAndSendWithContext(ctx, m)
	}
	if err != nil {
		return fault.Errorf(fault.Failed, "send the mail: %w", err)
	}
	return nil
}
