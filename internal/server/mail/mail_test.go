package mail_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/mail"
)

// office is a mail server.
type office struct {
	t       *testing.T
	address string
	// ca is the file with its certificate.
	ca string

	mu  sync.Mutex // guards got
	got []letter
}

type letter struct {
	from string
	to   []string
	raw  []byte
}

// The ways in which an office is spoken to.
const (
	implicit = iota
	startTLS
	inTheClear
)

func open(t *testing.T, how int) *office {
	t.Helper()
	o := &office{t: t, ca: filepath.Join(t.TempDir(), "ca.pem")}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(nil, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}, new(x509.Certificate), public, private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	secure := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &talk{o: o}, nil }))
	s.Domain, s.ErrorLog = "office.example.com", quiet{}
	s.AllowInsecureAuth = how == inTheClear
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.address = l.Addr().String()
	switch how {
	case implicit:
		l = tls.NewListener(l, secure)
	case startTLS:
		s.TLSConfig = secure
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) }) // until it is closed
	t.Cleanup(func() { s.Close(); serving.Wait() })
	return o
}

// quiet hears of handshakes that tests break off.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// talk is one connection.
type talk struct {
	o  *office
	in bool
	l  letter
}

func (*talk) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *talk) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "parsec" || password != "p@ss word" {
			return smtp.ErrAuthFailed
		}
		s.in = true
		return nil
	}), nil
}

func (s *talk) Mail(from string, _ *smtp.MailOptions) error {
	if !s.in {
		return smtp.ErrAuthRequired
	}
	s.l.from = from
	return nil
}

func (s *talk) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, Message: "there is no such person"}
	}
	s.l.to = append(s.l.to, to)
	return nil
}

func (s *talk) Data(r io.Reader) (err error) {
	s.l.raw, err = io.ReadAll(r)
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	s.o.got = append(s.o.got, s.l)
	return err
}

func (s *talk) Reset()        { s.l = letter{} }
func (s *talk) Logout() error { return nil }

// last returns what arrived, which has to be one letter.
func (o *office) last() letter {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.got) != 1 {
		o.t.Fatalf("%d letters arrived", len(o.got))
	}
	return o.got[0]
}

// sender speaks to an office as a URL says, in which AT stands for its address.
func (o *office) sender(text string) *mail.Sender {
	o.t.Helper()
	c, err := mail.ParseURL(strings.Replace(text, "AT", o.address, 1))
	if err == nil {
		c.From, err = mail.ParseSender("Parsec <parsec@example.com>")
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return mail.New(c)
}

func (o *office) trusting(scheme string) string {
	return scheme + "://parsec:p%40ss%20word@AT?ca=" + url.QueryEscape(o.ca)
}

func invitation() mail.Invitation {
	return mail.Invitation{
		Organization: id.Fingerprint{1}, Name: "Zebra & Söhne", Email: "bob@example.com", Inviter: "Alice (alice@example.com)",
		URL: "https://parsec.example.com/invite#abc-_123", Expires: time.Unix(1e9, 0),
	}
}

// parts returns the texts of a letter by their types.
func parts(t *testing.T, m *netmail.Message) (texts map[string]string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("it is a %s, %v", kind, err)
	}
	texts = make(map[string]string)
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(p.Header.Get("Content-Type"), ";")
		texts[kind] = string(text)
	}
}

func TestAnInvitationArrivesWithItsLinkInTwoForms(t *testing.T) {
	for name, how := range map[string]struct {
		office int
		url    func(*office) string
	}{
		"over TLS":                         {implicit, func(o *office) string { return o.trusting("smtps") }},
		"after STARTTLS":                   {startTLS, func(o *office) string { return o.trusting("smtp") }},
		"where it is allowed in the clear": {inTheClear, func(*office) string { return "smtp://parsec:p%40ss%20word@AT?insecure=true" }},
	} {
		t.Run(name, func(t *testing.T) {
			o := open(t, how.office)
			s := o.sender(how.url(o))
			if err := s.Check(t.Context()); err != nil {
				t.Errorf("check: %v", err)
			}
			if err := s.Invite(t.Context(), invitation()); err != nil {
				t.Fatal(err)
			}
			l := o.last()
			m, err := netmail.ReadMessage(bytes.NewReader(l.raw))
			if err != nil {
				t.Fatal(err)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			if err != nil || subject != "You are invited to Zebra & Söhne" || l.from != "parsec@example.com" || len(l.to) != 1 || l.to[0] != "bob@example.com" {
				t.Errorf("%q from %q to %q, %v", subject, l.from, l.to, err)
			}
			texts := parts(t, m)
			if text := texts["text/plain"]; !strings.Contains(text, "parsec invite claim "+invitation().URL+"\r\n") || !strings.Contains(text, "Alice (alice@example.com) invites you to Zebra & Söhne") {
				t.Errorf("the text is %q", text)
			}
			if text := texts["text/html"]; !strings.Contains(text, "<strong>Zebra &amp; Söhne</strong>") || !strings.Contains(text, "invite#abc-_123</pre>") {
				t.Errorf("the page is %q", text)
			}
		})
	}
}

func TestWhatPeopleChooseGetsIntoNoHeaderAndNoMarkup(t *testing.T) {
	o := open(t, startTLS)
	s := o.sender(o.trusting("smtp"))
	i := invitation()
	i.Name = "Acme\r\nBcc: eve@example.com\r\n\r\n<script>alert(1)</script>\u2028\u202e\x00" + strings.Repeat("long ", 100)
	i.Inviter = "Eve\nReply-To: eve@example.com\n<img src=x>"
	if err := s.Invite(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	l := o.last()
	m, err := netmail.ReadMessage(bytes.NewReader(l.raw))
	if err != nil {
		t.Fatal(err)
	}
	for key := range m.Header {
		switch key {
		case "Date", "Message-Id", "From", "To", "Subject", "Mime-Version", "Content-Type", "User-Agent", "X-Mailer":
		default:
			t.Errorf("there is a header %s: %q", key, m.Header[key])
		}
	}
	if len(l.to) != 1 || m.Header.Get("To") != "<bob@example.com>" {
		t.Errorf("it goes to %q, %q", l.to, m.Header.Get("To"))
	}
	texts := parts(t, m)
	if page := texts["text/html"]; strings.Contains(page, "<script") || strings.Contains(page, "<img") {
		t.Errorf("the page is %q", page)
	}
	if first, _, _ := strings.Cut(texts["text/plain"], "\r\n"); !strings.HasSuffix(first, "which shares files with Parsec.") {
		t.Errorf("the first line is %q", first)
	}
	for _, address := range []string{
		"", "bob", "bob@example.com, eve@example.com", "Bob <bob@example.com>", "bob@example.com\r\nBcc: eve@example.com",
		"bob@example.com\x00", "\"a\r\nRCPT TO:<eve@example.com>\"@example.com", " bob@example.com",
	} {
		i := invitation()
		i.Email = address
		if err := s.Invite(t.Context(), i); !fault.Is(err, fault.Invalid) {
			t.Errorf("to %q: %v", address, err)
		}
	}
	o.last() // still
}

func TestNothingIsSentWithoutTLSOrToWhoIsNotTrusted(t *testing.T) {
	secure, plain := open(t, startTLS), open(t, inTheClear)
	for name, s := range map[string]*mail.Sender{
		"a server without TLS":                plain.sender(plain.trusting("smtp")),
		"a server that TLS does not begin at": plain.sender(plain.trusting("smtps")),
		"a certificate of nobody known":       secure.sender("smtp://parsec:p%40ss%20word@AT"),
		"another server's certificate":        secure.sender(plain.trusting("smtp")),
		"a wrong password":                    secure.sender(strings.Replace(secure.trusting("smtp"), "p%40ss", "pass", 1)),
	} {
		if err := s.Check(t.Context()); !fault.Is(err, fault.Unreachable) || strings.Contains(err.Error(), "p@ss") {
			t.Errorf("%s: check: %v", name, err)
		}
		if err := s.Invite(t.Context(), invitation()); err == nil {
			t.Errorf("%s: it was sent", name)
		}
	}
	i := invitation()
	i.Email = "nobody@example.com"
	if err := secure.sender(secure.trusting("smtp")).Invite(t.Context(), i); err == nil || !strings.Contains(err.Error(), "no such person") {
		t.Errorf("an address that is refused: %v", err)
	}
	if len(secure.got)+len(plain.got) > 0 {
		t.Error("something arrived")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := secure.sender(secure.trusting("smtp")).Invite(ctx, invitation()); err == nil {
		t.Error("it was sent for who has left")
	}
}

func TestAnAddressAndAnOrganizationAreSentSoManyAndNotMore(t *testing.T) {
	o := open(t, startTLS)
	c, err := mail.ParseURL(strings.Replace(o.trusting("smtp"), "AT", o.address, 1))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c.From, c.Now = &netmail.Address{Address: "parsec@example.com"}, func() time.Time { return now }
	s := mail.New(c)
	// What is refused by the other side counts too; it is quicker.
	ask := func(organization byte, address string) error {
		i := invitation()
		i.Organization, i.Email = id.Fingerprint{organization}, "nobody@"+address
		return s.Invite(t.Context(), i)
	}
	for n := range 4 {
		if err := ask(1, "a.example.com"); fault.Is(err, fault.Busy) != (n == 3) {
			t.Errorf("mail %d to an address: %v", n, err)
		}
	}
	if err := ask(2, "A.example.com"); !fault.Is(err, fault.Busy) {
		t.Errorf("the same address, from another organization: %v", err)
	}
	for n := range 48 {
		if err := ask(1, string(rune('b'+n%25))+strings.Repeat("x", n)+".example.com"); fault.Is(err, fault.Busy) != (n == 47) {
			t.Errorf("mail %d of an organization: %v", n, err)
		}
	}
	now = now.Add(24 * time.Hour)
	if err := ask(1, "a.example.com"); fault.Is(err, fault.Busy) {
		t.Errorf("a day later: %v", err)
	}
}

func TestAURLThatIsNotUnderstoodIsRefusedWithoutShowingIt(t *testing.T) {
	for _, text := range []string{
		"", "mail.example.com", "http://u:secret@mail.example.com", "smtp://", "smtps://u:secret@mail.example.com:0", "smtps://u:secret@mail.example.com:x",
		"smtps://u:secret@mail.example.com?insecure=true", "smtp://u:secret@mail.example.com?tls=no", "smtp://u:secret@mail.example.com/path",
		"smtp://u:secret@mail.example.com?ca=/nowhere", "smtp://u:secret@mail.example.com?insecure=yes",
	} {
		if _, err := mail.ParseURL(text); !fault.Is(err, fault.Usage) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := mail.ParseSender("Parsec <a@b>, <c@d>"); !fault.Is(err, fault.Usage) {
		t.Errorf("two senders: %v", err)
	}
}
