package invitation_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/golden"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
)

func key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(golden.Fill(32, 1)) }

func public() ed25519.PublicKey { return key().Public().(ed25519.PublicKey) }

func forUser() invitation.Statement {
	return invitation.Statement{
		Organization: id.Fingerprint(golden.Fill(32, 2)), Token: id.Token(golden.Fill(16, 3)), Type: invitation.ForUser,
		Email: "bob@example.com", Profile: record.ProfileStandard, Author: id.Device(golden.Fill(16, 4)),
		Created: 1_700_000_000_000_000_000, Expires: 1_700_600_000_000_000_000,
	}
}

func forDevice() invitation.Statement {
	s := forUser()
	s.Type, s.Email, s.Profile, s.User = invitation.ForDevice, "", 0, id.User(golden.Fill(16, 5))
	return s
}

func link() invitation.Link {
	return invitation.Link{Server: "https://parsec.example.com:6770/here", Token: forUser().Token, Organization: forUser().Organization}
}

func bootstrap() invitation.Link {
	return invitation.Link{Server: "http://127.0.0.1:6770", Token: forUser().Token, Name: "Ville de Nantes"}
}

func TestInvitationsKeepTheirBytes(t *testing.T) {
	golden.Compare(t, []golden.Vector{
		{Name: "signed statement for a user", Bytes: invitation.Sign(forUser(), key())},
		{Name: "signed statement for a device", Bytes: invitation.Sign(forDevice(), key())},
		{Name: "link of an invitation, as text", Bytes: []byte(link().String())},
		{Name: "link of a bootstrap, as text", Bytes: []byte(bootstrap().String())},
	})
}

func TestAStatementHoldsForItsKeyAndItsBytes(t *testing.T) {
	raw := invitation.Sign(forUser(), key())
	s, err := invitation.Parse(raw)
	if err != nil || s.Email != "bob@example.com" || !s.Check(public()) {
		t.Fatalf("got %v, %v; want it signed", s, err)
	}
	if s.Check(ed25519.NewKeyFromSeed(golden.Fill(32, 9)).Public().(ed25519.PublicKey)) || s.Check(public()[1:]) {
		t.Error("another key counts")
	}
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		if s, err := invitation.Parse(changed); err == nil && s.Check(public()) {
			t.Errorf("byte %d may change", i)
		}
	}
}

func TestAnInvitationEndsWhenItSays(t *testing.T) {
	s := forUser()
	if at := time.Unix(0, s.Expires); s.Expired(at.Add(-1)) || !s.Expired(at) {
		t.Errorf("expired before %v: %v; then: %v", at, s.Expired(at.Add(-1)), s.Expired(at))
	}
}

func TestParsingRefuses(t *testing.T) {
	good := invitation.Sign(forUser(), key())
	signed := func(s invitation.Statement, change func(*invitation.Statement)) []byte {
		change(&s)
		return invitation.Sign(s, key())
	}
	for _, c := range []struct {
		name string
		raw  []byte
		want fault.Kind
	}{
		{"nothing", nil, fault.Invalid},
		{"something behind it", append(bytes.Clone(good), 0), fault.Invalid},
		{"an unknown field", append(append([]byte{0x83}, good[1:]...), 0), fault.Upgrade},
		{"more than the limit", make([]byte, invitation.MaxSize+1), fault.TooLarge},
		{"no organization", signed(forUser(), func(s *invitation.Statement) { s.Organization = id.Fingerprint{} }), fault.Invalid},
		{"no token", signed(forUser(), func(s *invitation.Statement) { s.Token = id.Token{} }), fault.Invalid},
		{"no author", signed(forUser(), func(s *invitation.Statement) { s.Author = id.Device{} }), fault.Invalid},
		{"an end before the beginning", signed(forUser(), func(s *invitation.Statement) { s.Expires = s.Created }), fault.Invalid},
		{"an unknown type", signed(forUser(), func(s *invitation.Statement) { s.Type = 3 }), fault.Invalid},
		{"a user without a profile", signed(forUser(), func(s *invitation.Statement) { s.Profile = 0 }), fault.Invalid},
		{"a user with a profile that does not exist", signed(forUser(), func(s *invitation.Statement) { s.Profile = 4 }), fault.Invalid},
		{"a user with an id", signed(forUser(), func(s *invitation.Statement) { s.User = forDevice().User }), fault.Invalid},
		{"a user without an address", signed(forUser(), func(s *invitation.Statement) { s.Email = "" }), fault.Invalid},
		{"a user with what is no address", signed(forUser(), func(s *invitation.Statement) { s.Email = "bob" }), fault.Invalid},
		{"a device with an address", signed(forDevice(), func(s *invitation.Statement) { s.Email = "bob@example.com" }), fault.Invalid},
		{"a device with a profile", signed(forDevice(), func(s *invitation.Statement) { s.Profile = record.ProfileAdmin }), fault.Invalid},
		{"a device of nobody", signed(forDevice(), func(s *invitation.Statement) { s.User = id.User{} }), fault.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := invitation.Parse(c.raw); !fault.Is(err, c.want) {
				t.Errorf("got %v, want an error of kind %q", err, c.want)
			}
		})
	}
}

func TestALinkIsReadBackAsWritten(t *testing.T) {
	for _, want := range []invitation.Link{link(), bootstrap()} {
		if got, err := invitation.ParseLink(" " + want.String() + "\n"); err != nil || got != want {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
	}
}

func TestReadingALinkRefuses(t *testing.T) {
	fragment := func(fields ...any) string {
		return "https://h/invite#" + base64.RawURLEncoding.EncodeToString(canon.Marshal(fields))
	}
	token, organization := forUser().Token, forUser().Organization
	text := link().String()
	named := link()
	named.Name = "a name"
	loud := bootstrap()
	loud.Name = "\x1b[2J"
	nameless := bootstrap()
	nameless.Name = ""
	for _, c := range []struct{ name, text string }{
		{"nothing", ""},
		{"another scheme", strings.Replace(text, "https:", "ftp:", 1)},
		{"no host", "https:///invite#" + text[strings.IndexByte(text, '#')+1:]},
		{"no fragment", text[:strings.IndexByte(text, '#')]},
		{"a fragment that is cut", text[:len(text)-2]},
		{"a fragment with a letter too many", text + "A"},
		{"another path", strings.Replace(text, "/invite#", "/other#", 1)},
		{"an invitation on the path of a bootstrap", strings.Replace(text, "/invite#", "/bootstrap#", 1)},
		{"a bootstrap on the path of an invitation", strings.Replace(bootstrap().String(), "/bootstrap#", "/invite#", 1)},
		{"a user's name before the host", strings.Replace(text, "https://", "https://parsec@", 1)},
		{"a query", strings.Replace(text, "#", "?a=b#", 1)},
		{"no token", fragment(id.Token{}, organization, "")},
		{"a token that is too short", fragment(token[:15], organization, "")},
		{"an unknown field", fragment(token, organization, "", 1)},
		{"an invitation with a name", named.String()},
		{"a bootstrap with a name that moves the cursor", loud.String()},
		{"a bootstrap without a name", nameless.String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := invitation.ParseLink(c.text)
			if !fault.Is(err, fault.Usage) || fault.HintOf(err) == "" {
				t.Errorf("%q: got %v, %v; want a usage error with a hint", c.text, got, err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(invitation.Sign(forUser(), key()))
	f.Add(invitation.Sign(forDevice(), key()))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := invitation.Parse(raw)
		if err != nil {
			return
		}
		if !bytes.Contains(raw, canon.Marshal(s.Statement)) {
			t.Errorf("%x parses, and its statement encodes as %x", raw, canon.Marshal(s.Statement))
		}
		s.Check(public())
	})
}

func FuzzParseLink(f *testing.F) {
	f.Add(link().String())
	f.Add(bootstrap().String())
	f.Fuzz(func(t *testing.T, text string) {
		if l, err := invitation.ParseLink(text); err == nil && l.String() != strings.TrimSpace(text) {
			t.Errorf("%q is read, and written as %q", text, l)
		}
	})
}
