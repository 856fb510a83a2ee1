// Package invitation holds the statement with which a device invites a person
// or a further device, and the link that carries it there. The statement is
// signed, so that a greeter never takes from the server whom to greet.
package invitation

import (
	"crypto/ed25519"
	"encoding/base64"
	"net/url"
	"strings"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/label"
	"parsec/internal/format/record"
)

// Type is what the invited becomes.
type Type uint8

// The types of invitations.
const (
	// ForUser invites a person with a first device.
	ForUser Type = 1
	// ForDevice invites another device of the inviter's own user.
	ForDevice Type = 2
)

// String returns the type's name.
func (t Type) String() string {
	if t == ForUser {
		return "user"
	}
	return "device"
}

// MaxSize is the longest signed statement, in bytes.
const MaxSize = 1 << 10

// Statement is who is invited, by whom, as what.
type Statement struct {
	_            struct{} `cbor:",toarray"`
	Organization id.Fingerprint
	Token        id.Token
	Type         Type
	// Email is the invited person's, for type user; empty for a device.
	Email string
	// User is the inviter's own, for type device; zero for a user.
	User id.User
	// Profile is the invited person's, for type user; 0 for a device.
	Profile record.Profile
	// Author is the device that signed.
	Author id.Device
	// Created and Expires are in nanoseconds since the Unix epoch.
	Created, Expires int64
}

type signed struct {
	_         struct{} `cbor:",toarray"`
	Statement []byte
	Signature []byte
}

// Sign returns the statement as transmitted.
func Sign(s Statement, key ed25519.PrivateKey) []byte {
	body := canon.Marshal(s)
	return canon.Marshal(signed{Statement: body, Signature: ed25519.Sign(key, label.Invitation.Join(body))})
}

// Signed is a parsed statement whose signature is not checked yet.
type Signed struct {
	Statement
	body      []byte
	signature []byte
}

// Parse splits a transmitted statement and refuses a malformed one.
func Parse(raw []byte) (Signed, error) {
	var s Signed
	if len(raw) > MaxSize {
		return s, fault.Errorf(fault.TooLarge, "parse invitation: %d bytes", len(raw))
	}
	var e signed
	if err := canon.Unmarshal(raw, &e); err != nil {
		return s, fault.Errorf(fault.KindOf(err), "parse invitation: %w", err)
	}
	if err := canon.Unmarshal(e.Statement, &s.Statement); err != nil {
		return s, fault.Errorf(fault.KindOf(err), "parse invitation: %w", err)
	}
	s.body, s.signature = e.Statement, e.Signature
	if err := s.check(); err != nil {
		return s, fault.Errorf(fault.Invalid, "parse invitation: %w", err)
	}
	return s, nil
}

func (s Statement) check() error {
	switch {
	case s.Organization.IsZero() || s.Token.IsZero() || s.Author.IsZero() || s.Expires <= s.Created:
		return fault.Errorf(fault.Invalid, "a field is missing")
	case s.Type == ForUser && s.User.IsZero():
		if s.Profile < record.ProfileOutsider || s.Profile > record.ProfileAdmin {
			return fault.Errorf(fault.Invalid, "unknown profile %d", s.Profile)
		}
		return record.CheckEmail(s.Email)
	case s.Type == ForDevice && !s.User.IsZero() && s.Email == "" && s.Profile == 0:
		return nil
	}
	return fault.Errorf(fault.Invalid, "its fields do not fit its type")
}

// Check reports whether key signed the statement.
func (s Signed) Check(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && len(s.signature) == ed25519.SignatureSize &&
		ed25519.Verify(key, label.Invitation.Join(s.body), s.signature)
}

// Expired reports whether the invitation may no longer be used.
func (s Statement) Expired(now time.Time) bool { return now.UnixNano() >= s.Expires }

// Link is an address that a person opens: where the server is, and the token
// that opens one thing there. What follows the `#` never reaches a server's
// logs.
type Link struct {
	// Server is the server's base URL, without a trailing slash.
	Server string
	// Token opens the invitation, or the bootstrap of the organization.
	Token id.Token
	// Organization pins the fingerprint of an invitation; zero in a bootstrap link.
	Organization id.Fingerprint
	// Name is the organization's, in a bootstrap link.
	Name string
}

type linkBody struct {
	_            struct{} `cbor:",toarray"`
	Token        id.Token
	Organization id.Fingerprint
	Name         string
}

// check refuses a name in the link of an invitation, and one in a bootstrap
// link that an organization could not have: it is shown before anything
// vouches for it.
func (b linkBody) check() error {
	if b.Organization.IsZero() {
		return record.CheckText("the organization's name", b.Name, record.MaxOrganizationName)
	}
	if b.Name != "" {
		return fault.Errorf(fault.Invalid, "an invitation with a name")
	}
	return nil
}

// The paths of links. The server answers them with a page that says what to do.
const (
	InvitePath    = "/invite"
	BootstrapPath = "/bootstrap"
)

// String returns the link's URL.
func (l Link) String() string {
	path := InvitePath
	if l.Organization.IsZero() {
		path = BootstrapPath
	}
	body := canon.Marshal(linkBody{Token: l.Token, Organization: l.Organization, Name: l.Name})
	return l.Server + path + "#" + base64.RawURLEncoding.EncodeToString(body)
}

// ParseLink returns the link with this URL.
func ParseLink(text string) (Link, error) {
	var l Link
	bad := func(why string) (Link, error) {
		return Link{}, fault.WithHint(fault.Errorf(fault.Usage, "read link: %s", why),
			"copy the whole link, with what follows the #")
	}
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return bad("not an http or https address")
	}
	data, err := base64.RawURLEncoding.DecodeString(u.Fragment)
	if err != nil {
		return bad("what follows the # is damaged")
	}
	var body linkBody
	if err := canon.Unmarshal(data, &body); err != nil || body.Token.IsZero() {
		return bad("what follows the # is damaged")
	}
	if err := body.check(); err != nil {
		return bad("what follows the # does not fit together")
	}
	path, found := strings.CutSuffix(u.Path, BootstrapPath)
	if !found {
		path, found = strings.CutSuffix(u.Path, InvitePath)
	}
	if !found {
		return bad("neither an invitation nor a bootstrap link")
	}
	l = Link{Server: u.Scheme + "://" + u.Host + path, Token: body.Token, Organization: body.Organization, Name: body.Name}
	if l.String() != strings.TrimSpace(text) {
		return bad("it is damaged")
	}
	return l, nil
}
