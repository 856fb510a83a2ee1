package docs_test

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// postbox takes every mail, for anybody.
type postbox struct {
	address string

	mu    sync.Mutex // guards mails
	mails []letter
}

// letter is a mail that arrived.
type letter struct {
	to  string
	raw []byte
}

func newPostbox(t *testing.T) *postbox {
	t.Helper()
	p := new(postbox)
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{box: p}, nil }))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address = l.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) }) // until it is closed
	t.Cleanup(func() { s.Close(); serving.Wait() })
	return p
}

// delivery is one connection.
type delivery struct {
	box *postbox
	now letter
}

func (d *delivery) Mail(string, *smtp.MailOptions) error { return nil }

func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.now.to = to
	return nil
}

func (d *delivery) Data(r io.Reader) (err error) {
	d.now.raw, err = io.ReadAll(r)
	d.box.mu.Lock()
	defer d.box.mu.Unlock()
	d.box.mails = append(d.box.mails, d.now)
	return err
}

func (d *delivery) Reset()        { d.now = letter{} }
func (d *delivery) Logout() error { return nil }

// texts returns what a mail says, by the type of its parts.
func (l letter) texts(t *testing.T) map[string]string {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(l.raw))
	if err != nil {
		t.Fatal(err)
	}
	_, how, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for parts := multipart.NewReader(m.Body, how["boundary"]); ; {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(part.Header.Get("Content-Type"), ";")
		all[kind] = string(text)
	}
}

// TestAnInvitationByMailIsClaimed starts the server as the page says, and
// claims with what stands in the mail.
func TestAnInvitationByMailIsClaimed(t *testing.T) {
	box := newPostbox(t)
	r := newReader(t, programs(t))
	t.Cleanup(r.leave)
	r.serve(strings.NewReplacer(
		"/var/lib/parsec", "data", "smtps://parsec@mail.example.com", "'smtp://"+box.address+"?insecure=true'",
		" \\\n    --smtp-password-file /etc/parsec/smtp-password", "",
	).Replace(steps(t, "Invitations by mail")[0].text))
	r.follow("parsec-server org create Acme --data data")
	r.follow(`parsec org bootstrap 'URL' --name "Alice" --email alice@example.com`)
	r.follow("parsec invite user bob@example.com --mail")
	link := r.copied["URL"]
	if len(box.mails) != 1 || box.mails[0].to != "bob@example.com" {
		t.Fatalf("%d mails arrived, %+v", len(box.mails), box.mails)
	}
	texts := box.mails[0].texts(t)
	for kind, text := range texts {
		if !strings.Contains(strings.ReplaceAll(text, "&#43;", "+"), link) {
			t.Errorf("%s lacks the link %s:\n%s", kind, link, text)
		}
	}
	command := regexp.MustCompile(`(?m)^ +parsec invite claim (\S+)\s*$`).FindStringSubmatch(texts["text/plain"])
	if command == nil || len(texts) != 2 {
		t.Fatalf("the mail names no command:\n%s", texts["text/plain"])
	}
	r.copied["URL"] = command[1]
	r.speak("parsec invite greet TOKEN", `parsec --home ~/bob invite claim 'URL' --name "Bob"`)
	if out := r.follow("parsec user list"); !strings.Contains(out, "bob@example.com") {
		t.Errorf("the people are:\n%s", out)
	}
	r.stop()
}
