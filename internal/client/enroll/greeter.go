package enroll

import (
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
)

// Greeting is what a greeter knows by itself.
type Greeting struct {
	// Invitation is the statement as signed.
	Invitation []byte
	// Author is the verify key of the device that signed it, from the verified
	// log of the organization; that the device may invite is settled before.
	Author ed25519.PublicKey
	// Organization and User are the greeter's own.
	Organization id.Fingerprint
	User         id.User
	Now          time.Time
}

// Greeter is the side that belongs to the organization. It is for one attempt,
// and for one goroutine at a time.
type Greeter struct {
	exchange
	shared []byte
	// committed is what the claimer's nonce must open, from step 3 to step 5.
	committed [sha256.Size]byte
	before    [sha256.Size]byte
	claim     *Claim
	// parts are those of the welcome that are not sent yet.
	parts [][]byte
}

// NewGreeter starts an attempt, after checking the invitation against what the
// greeter knows. It waits for step 1.
func NewGreeter(g Greeting) (*Greeter, error) {
	s, err := invitation.Parse(g.Invitation)
	if err != nil {
		return nil, fault.Errorf(fault.KindOf(err), "greet: %w", err)
	}
	switch {
	case !s.Check(g.Author):
		return nil, fault.Broken(PromiseInvitation, "greet: the device that it names did not sign the invitation")
	case s.Organization != g.Organization:
		return nil, fault.Broken(PromiseInvitation, "greet: the invitation is one of another organization")
	case s.Expired(g.Now):
		return nil, fault.WithHint(fault.Errorf(fault.Denied, "greet: the invitation has expired"), "invite anew")
	case s.Type == invitation.ForDevice && s.User != g.User:
		return nil, fault.WithHint(fault.Errorf(fault.Denied, "greet: the invitation is for a device of another user"),
			"only one of that user's own devices can greet it")
	}
	return &Greeter{exchange: newExchange(greeter, g.Invitation, s.Statement, stepKey)}, nil
}

// Receive takes the claimer's message for a step and returns the answer to
// leave in the mailbox, if there is one. After an error the attempt is over:
// tell the mailbox, so that the other side learns of it.
func (g *Greeter) Receive(m Message) (Message, error) {
	body, reply, isNew, err := g.accept(m)
	if err != nil || !isNew {
		return reply, err
	}
	switch m.Step {
	case stepKey:
		return g.receiveKey(m, body)
	case stepCommitment:
		return g.receiveCommitment(m, body)
	case stepOpening:
		return g.receiveOpening(m, body)
	case stepClaim:
		return g.receiveClaim(m, body)
	}
	return g.receiveReceipt(m, body)
}

func (g *Greeter) receiveKey(m Message, body []byte) (Message, error) {
	key, err := hpke.MLKEM768X25519().NewPublicKey(body)
	if err != nil {
		return Message{}, g.suspect("the claimer's key is not one")
	}
	g.note(m)
	encapsulation, sender, err := hpke.NewSender(key, hpke.HKDFSHA256(), hpke.AES256GCM(), g.info())
	if err != nil {
		return Message{}, g.suspect("the claimer's key is not one")
	}
	if g.shared, err = sender.Export(exportContext, sha256.Size); err != nil {
		return Message{}, g.suspect("the claimer's key is not one")
	}
	reply := g.message(stepSecret, encapsulation)
	g.note(reply)
	return g.remember(m, reply, stepCommitment), nil
}

func (g *Greeter) receiveCommitment(m Message, body []byte) (Message, error) {
	if len(body) != sha256.Size {
		return Message{}, g.suspect("the claimer's commitment is %d bytes long", len(body))
	}
	g.committed, g.before = [sha256.Size]byte(body), g.transcript
	g.note(m)
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	reply := g.message(stepNonce, nonce)
	g.note(reply)
	return g.remember(m, reply, stepOpening), nil
}

func (g *Greeter) receiveOpening(m Message, body []byte) (Message, error) {
	want := commitment(g.before, body)
	if len(body) != nonceSize || subtle.ConstantTimeCompare(want[:], g.committed[:]) != 1 {
		return Message{}, g.suspect("the claimer does not open its commitment")
	}
	g.note(m)
	g.agree(g.shared)
	clear(g.shared)
	return g.remember(m, Message{}, 0), nil
}

// Code returns the code to read out to the claimer, who is first to type one.
// It is empty before step 5 was received.
func (g *Greeter) Code() string { return g.myCode }

// Enter takes the code that the claimer reads out. A right one returns the
// message for step 6. What cannot be a code is [fault.Usage] and may be typed
// again; a wrong code ends the attempt.
func (g *Greeter) Enter(code string) (Message, error) {
	if err := g.enter(code); err != nil {
		return Message{}, err
	}
	g.expected = stepClaim
	return g.sealed(stepConfirmed, nil), nil
}

func (g *Greeter) receiveClaim(m Message, body []byte) (Message, error) {
	plain, err := g.open(m.Step, body)
	if err != nil {
		return Message{}, err
	}
	claim, err := decodeClaim(plain, g.invitation.Type)
	if err != nil {
		return Message{}, g.refuse(err)
	}
	g.claim = &claim
	return g.remember(m, Message{}, 0), nil
}

// Claim returns what the claimer said it will be, once step 7 was received.
func (g *Greeter) Claim() (Claim, bool) {
	if g.claim == nil || g.failed != nil {
		return Claim{}, false
	}
	return *g.claim, true
}

// Welcome hands over what the claimer needs, once its record is in the log. It
// returns the message for step 8; further ones answer the claimer's receipts.
func (g *Greeter) Welcome(w Welcome) (Message, error) {
	switch {
	case g.failed != nil:
		return Message{}, g.failed
	case g.claim == nil || g.expected != 0 || g.over:
		return Message{}, misused("a welcome")
	}
	if err := w.check(g.invitation); err != nil {
		return Message{}, fault.Errorf(fault.KindOf(err), "enroll: welcome: %w", err)
	}
	if w.Opening.Name != g.claim.Name && g.claim.Name != "" {
		return Message{}, fault.Errorf(fault.Invalid, "enroll: welcome: another name than the claimer's")
	}
	plain := canon.Marshal(w)
	parts, err := cut(plain)
	clear(plain)
	if err != nil {
		return Message{}, err
	}
	g.parts = parts
	return g.next(stepWelcome), nil
}

// next returns the message with the next part of the welcome.
func (g *Greeter) next(step uint32) Message {
	first := g.parts[0]
	g.parts = g.parts[1:]
	g.expected = step + 1
	m := g.sealed(step, first)
	clear(first)
	return m
}

func (g *Greeter) receiveReceipt(m Message, body []byte) (Message, error) {
	plain, err := g.open(m.Step, body)
	if err != nil {
		return Message{}, err
	}
	if len(plain) != 0 {
		return Message{}, g.refuse(fault.Errorf(fault.Invalid, "a receipt of %d bytes", len(plain)))
	}
	if len(g.parts) == 0 {
		g.over = true
		return g.remember(m, Message{}, 0), nil
	}
	reply := g.next(m.Step + 1)
	return g.remember(m, reply, g.expected), nil
}

// Done reports whether the claimer has stored everything.
func (g *Greeter) Done() bool { return g.over && g.failed == nil }
