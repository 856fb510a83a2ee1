package enroll_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/enroll"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
)

func TestAGreeterTrustsOnlyTheSignedInvitation(t *testing.T) {
	for name, c := range map[string]struct {
		kind   invitation.Type
		change func(*scene)
		want   fault.Kind
	}{
		"signed by another device":     {invitation.ForUser, func(s *scene) { s.greeting.Author = make(ed25519.PublicKey, 32) }, fault.Integrity},
		"signed by nobody":             {invitation.ForUser, func(s *scene) { s.greeting.Author = nil }, fault.Integrity},
		"of another organization":      {invitation.ForUser, func(s *scene) { s.greeting.Organization[0] ^= 2 }, fault.Integrity},
		"expired":                      {invitation.ForUser, func(s *scene) { s.greeting.Now = now.Add(2 * time.Hour) }, fault.Denied},
		"for a device of another user": {invitation.ForDevice, func(s *scene) { s.greeting.User[0] ^= 1 }, fault.Denied},
		"nothing at all":               {invitation.ForUser, func(s *scene) { s.greeting.Invitation = nil }, fault.Invalid},
		"cut":                          {invitation.ForUser, func(s *scene) { s.greeting.Invitation = s.greeting.Invitation[:50] }, fault.Invalid},
		"a user's, turned into a device's": {invitation.ForUser, turned(func(s *invitation.Statement) {
			s.Type, s.Email, s.Profile, s.User = invitation.ForDevice, "", 0, id.User{4}
		}), fault.Integrity},
		"with another e-mail address": {invitation.ForUser, turned(func(s *invitation.Statement) { s.Email = "eve@example.com" }), fault.Integrity},
		"with another profile":        {invitation.ForUser, turned(func(s *invitation.Statement) { s.Profile = record.ProfileAdmin }), fault.Integrity},
		"with a later end":            {invitation.ForUser, turned(func(s *invitation.Statement) { s.Expires++ }), fault.Integrity},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, c.kind)
			c.change(&s)
			if g, err := enroll.NewGreeter(s.greeting); g != nil || !fault.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// turned changes the statement without the key of the device that signed it.
func turned(change func(*invitation.Statement)) func(*scene) {
	return func(s *scene) {
		statement := s.statement
		change(&statement)
		s.greeting.Invitation = invitation.Sign(statement, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	}
}

func TestAClaimerTrustsOnlyTheInvitationOfItsLink(t *testing.T) {
	for name, change := range map[string]func(*scene){
		"another token":        func(s *scene) { s.link.Token[0] ^= 1 },
		"another organization": func(s *scene) { s.link.Organization[0] ^= 2 },
	} {
		s := newScene(t, invitation.ForUser)
		change(&s)
		if c, err := enroll.NewClaimer(s.link, s.greeting.Invitation); c != nil || fault.PromiseOf(err) != enroll.PromiseInvitation {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAnInvitationThatTheServerChangedIsNoticedBeforeTheCodes(t *testing.T) {
	for name, change := range map[string]func(*invitation.Statement){
		"another type": func(s *invitation.Statement) {
			s.Type, s.Email, s.Profile, s.User = invitation.ForDevice, "", 0, id.User{4}
		},
		"another e-mail address": func(s *invitation.Statement) { s.Email = "eve@example.com" },
		"another profile":        func(s *invitation.Statement) { s.Profile = record.ProfileAdmin },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, invitation.ForUser)
			g := s.greeter(t)
			turned(change)(&s)
			c := s.claimer(t)
			sent := s.upTo(t, 5, g, c)
			_, err := g.Receive(sent[5])
			wantAlone(t, err)
		})
	}
}

// forge returns a message in the form of the wire.
func forge(from uint8, step uint32, body []byte) enroll.Message {
	return enroll.Message{Step: step, Data: canon.Marshal(struct {
		_    struct{} `cbor:",toarray"`
		From uint8
		Step uint32
		Body []byte
	}{From: from, Step: step, Body: body})}
}

// body returns what a message carries.
func body(t *testing.T, m enroll.Message) []byte {
	t.Helper()
	var e struct {
		_    struct{} `cbor:",toarray"`
		From uint8
		Step uint32
		Body []byte
	}
	if err := canon.Unmarshal(m.Data, &e); err != nil {
		t.Fatal(err)
	}
	return e.Body
}

const (
	fromGreeter = 1
	fromClaimer = 2
)

// An attack makes, of what was sent honestly, what arrives instead.
type attack func(sent map[int]enroll.Message) enroll.Message

// malformed are attacks on a step that need nothing but its honest body.
func malformed(n uint32, from, to uint8, honest []byte) map[string]attack {
	always := func(m enroll.Message) attack { return func(map[int]enroll.Message) enroll.Message { return m } }
	gigabytes := []byte{0x83, from, byte(n), 0x5b, 0, 0, 0, 9, 0, 0, 0, 0}
	return map[string]attack{
		"nothing":                always(enroll.Message{Step: n}),
		"noise":                  always(enroll.Message{Step: n, Data: []byte("noise")}),
		"more than is allowed":   always(forge(from, n, make([]byte, enroll.MaxMessage))),
		"a promise of gigabytes": always(enroll.Message{Step: n, Data: gigabytes}),
		"nested":                 always(enroll.Message{Step: n, Data: bytes.Repeat([]byte{0x81}, 5000)}),
		"an empty body":          always(forge(from, n, nil)),
		"a body cut":             always(forge(from, n, honest[:len(honest)-1])),
		"a body longer":          always(forge(from, n, append(slices.Clone(honest), 0))),
		"the own side":           always(forge(to, n, honest)),
		"no side":                always(forge(0, n, honest)),
		"another step inside":    always(enroll.Message{Step: n, Data: forge(from, n+2, honest).Data}),
		"a later step":           always(forge(from, n+2, honest)),
		"step 0":                 always(forge(from, 0, honest)),
		"a step of no end":       always(forge(from, 1<<32-1, honest)),
	}
}

// replayed are attacks with messages of this attempt and of another one.
func replayed(t *testing.T, step int, from uint8, other map[int]enroll.Message) map[string]attack {
	cases := make(map[string]attack)
	if step > 1 {
		cases["its own message reflected"] = func(sent map[int]enroll.Message) enroll.Message { return sent[step-1] }
	}
	if step > 1 && step != 4 { // a nonce may be any 32 bytes, and shows in the codes
		cases["its own message as the other's step"] = func(sent map[int]enroll.Message) enroll.Message {
			return forge(from, uint32(step), body(t, sent[step-1]))
		}
	}
	if step > 2 {
		cases["another message for the step before"] = func(map[int]enroll.Message) enroll.Message { return other[step-2] }
	}
	if step >= 5 { // what is replayed before the opening only shows in the codes
		cases["the message of another attempt"] = func(map[int]enroll.Message) enroll.Message { return other[step] }
	}
	if step >= 6 {
		cases["a bit flipped"] = func(sent map[int]enroll.Message) enroll.Message {
			flipped := body(t, sent[step])
			flipped[len(flipped)/2] ^= 1
			return forge(from, uint32(step), flipped)
		}
	}
	return cases
}

func TestNonsenseAtAnyStepEndsTheAttempt(t *testing.T) {
	s := newScene(t, invitation.ForUser)
	other := s.upTo(t, 9, s.greeter(t), s.claimer(t))
	for step := 1; step <= 9; step++ {
		from, to := uint8(fromClaimer), uint8(fromGreeter)
		if step%2 == 0 {
			from, to = to, from
		}
		cases := malformed(uint32(step), from, to, body(t, other[step]))
		maps.Copy(cases, replayed(t, step, from, other))
		for name, c := range cases {
			t.Run(fmt.Sprintf("step %d: %s", step, name), func(t *testing.T) { s.attacked(t, step, c) })
		}
	}
}

// attacked runs an honest exchange up to a step whose message is replaced.
func (s scene) attacked(t *testing.T, step int, c attack) {
	t.Helper()
	g, cl := s.greeter(t), s.claimer(t)
	sent := s.upTo(t, step, g, cl)
	receive, abort := g.Receive, g.Abort
	if step%2 == 0 {
		receive, abort = cl.Receive, cl.Abort
	}
	m, err := receive(c(sent))
	wantAlone(t, err)
	if !m.None() {
		t.Error("it was answered")
	}
	if _, err := receive(sent[step]); err == nil {
		t.Error("the attempt goes on")
	}
	wantAlone(t, abort())
}

func TestACommitmentIsNotOpenedToAnotherNonce(t *testing.T) {
	s := newScene(t, invitation.ForUser)
	g, c := s.greeter(t), s.claimer(t)
	sent := s.upTo(t, 5, g, c)
	nonce := body(t, sent[5])
	nonce[0] ^= 1
	_, err := g.Receive(forge(fromClaimer, 5, nonce))
	wantAlone(t, err)
}

func TestACommitmentOfAnotherAttemptIsOfNoUse(t *testing.T) {
	s := newScene(t, invitation.ForUser)
	first := s.upTo(t, 5, s.greeter(t), s.claimer(t))
	g := s.greeter(t)
	s.upTo(t, 2, g, s.claimer(t))
	if _, err := g.Receive(first[3]); err != nil {
		t.Fatal(err)
	}
	_, err := g.Receive(first[5])
	wantAlone(t, err)
}

func TestNothingHappensOutOfTurn(t *testing.T) {
	s := newScene(t, invitation.ForUser)
	g, c := s.greeter(t), s.claimer(t)
	out := func(m enroll.Message, err error) {
		t.Helper()
		if err == nil || !m.None() || fault.KindOf(err) != fault.Failed {
			t.Errorf("got a message for step %d, %v", m.Step, err)
		}
	}
	early := func() {
		t.Helper()
		out(g.Welcome(s.welcome()))
		out(c.Claim(s.claim()))
		out(c.Stored())
		if _, ok := g.Claim(); ok {
			t.Error("there is a claim")
		}
		if _, ok := c.Welcome(); ok {
			t.Error("there is a welcome")
		}
	}
	early()
	out(g.Enter("0000"))
	out(enroll.Message{}, c.Enter("0000"))
	s.upTo(t, 6, g, c)
	early()
	out(c.Start())
	out(g.Enter("0000"))
	out(enroll.Message{}, c.Enter("0000"))
}

func TestAnUnfitClaimIsNeitherSentNorAccepted(t *testing.T) {
	for name, c := range map[string]struct {
		kind   invitation.Type
		change func(*enroll.Claim)
	}{
		"no device":                    {invitation.ForDevice, func(c *enroll.Claim) { c.Device.Device = id.Device{} }},
		"no verify key":                {invitation.ForDevice, func(c *enroll.Claim) { c.Device.Verify = nil }},
		"no encryption key":            {invitation.ForDevice, func(c *enroll.Claim) { c.Device.Encrypt = nil }},
		"an encryption key of noise":   {invitation.ForDevice, func(c *enroll.Claim) { c.Device.Encrypt = bytes.Repeat([]byte{0xff}, 1216) }},
		"a device with a name":         {invitation.ForDevice, func(c *enroll.Claim) { c.Name = "Bob" }},
		"a device with a user's key":   {invitation.ForDevice, func(c *enroll.Claim) { c.UserKey = c.Device.Encrypt }},
		"a user without a key":         {invitation.ForUser, func(c *enroll.Claim) { c.UserKey = nil }},
		"a user without a name":        {invitation.ForUser, func(c *enroll.Claim) { c.Name = "" }},
		"a name that moves the cursor": {invitation.ForUser, func(c *enroll.Claim) { c.Name = "\x1b[2J" }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, c.kind)
			g, cl := s.greeter(t), s.claimer(t)
			got(t, enroll.Message{}, mustNone(cl.Receive(s.upTo(t, 6, g, cl)[6])))
			claim := s.claim()
			c.change(&claim)
			if m, err := cl.Claim(claim); !fault.Is(err, fault.Invalid) || !m.None() {
				t.Errorf("sent: %v", err)
			}
			if err := enroll.DecodeClaim(canon.Marshal(claim), c.kind); !fault.Is(err, fault.Invalid) {
				t.Errorf("accepted: %v", err)
			}
			if _, err := cl.Claim(s.claim()); err != nil {
				t.Errorf("the mistake ended the attempt: %v", err)
			}
		})
	}
}

func TestAnUnfitWelcomeIsNeitherSentNorAccepted(t *testing.T) {
	for name, c := range map[string]struct {
		kind   invitation.Type
		change func(*enroll.Welcome)
	}{
		"another organization":    {invitation.ForUser, func(w *enroll.Welcome) { w.Organization[0] ^= 2 }},
		"no root key":             {invitation.ForUser, func(w *enroll.Welcome) { w.Root = nil }},
		"an organization of one":  {invitation.ForUser, func(w *enroll.Welcome) { w.Head.Index = 1 }},
		"no user":                 {invitation.ForUser, func(w *enroll.Welcome) { w.User, w.Opening.User = id.User{}, id.User{} }},
		"two users":               {invitation.ForUser, func(w *enroll.Welcome) { w.Opening.User[0] ^= 1 }},
		"another e-mail address":  {invitation.ForUser, func(w *enroll.Welcome) { w.Opening.Email = "eve@example.com" }},
		"no name":                 {invitation.ForUser, func(w *enroll.Welcome) { w.Opening.Name = "" }},
		"secrets of a new user":   {invitation.ForUser, func(w *enroll.Welcome) { w.UserKeys = []secret.Bytes{make([]byte, 32)} }},
		"a new user's manifest":   {invitation.ForUser, func(w *enroll.Welcome) { w.UserManifest = usermanifest.Pin{Version: 1, Digest: [32]byte{1}} }},
		"a new user's workspaces": {invitation.ForUser, func(w *enroll.Welcome) { w.Workspaces = many(1) }},
		"another user's device":   {invitation.ForDevice, func(w *enroll.Welcome) { w.User[0] ^= 1; w.Opening.User = w.User }},
		"a user without a key":    {invitation.ForDevice, func(w *enroll.Welcome) { w.UserKeys = nil }},
		"a user's key cut":        {invitation.ForDevice, func(w *enroll.Welcome) { w.UserKeys[1] = w.UserKeys[1][1:] }},
		"no digest":               {invitation.ForDevice, func(w *enroll.Welcome) { w.UserManifest.Digest = [32]byte{} }},
		"a workspace twice":       {invitation.ForDevice, func(w *enroll.Welcome) { w.Workspaces = append(w.Workspaces, w.Workspaces[0]) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, c.kind)
			g, cl := s.greeter(t), s.claimer(t)
			got(t, enroll.Message{}, mustNone(g.Receive(s.upTo(t, 7, g, cl)[7])))
			w := s.welcome()
			c.change(&w)
			if m, err := g.Welcome(w); !fault.Is(err, fault.Invalid) || !m.None() {
				t.Errorf("sent: %v", err)
			}
			if err := enroll.DecodeWelcome(canon.Marshal(w), s.statement); !fault.Is(err, fault.Invalid) {
				t.Errorf("accepted: %v", err)
			}
			if _, err := g.Welcome(s.welcome()); err != nil {
				t.Errorf("the mistake ended the attempt: %v", err)
			}
		})
	}
	t.Run("another name than claimed", func(t *testing.T) {
		s := newScene(t, invitation.ForUser)
		g, cl := s.greeter(t), s.claimer(t)
		got(t, enroll.Message{}, mustNone(g.Receive(s.upTo(t, 7, g, cl)[7])))
		w := s.welcome()
		w.Opening.Name = "Rob"
		if m, err := g.Welcome(w); !fault.Is(err, fault.Invalid) || !m.None() {
			t.Errorf("sent: %v", err)
		}
	})
}
