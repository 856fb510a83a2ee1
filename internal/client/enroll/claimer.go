package enroll

import (
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"

	"parsec/internal/base/fault"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
	"parsec/internal/format/label"
)

// exportContext is HPKE's, for the secret that both sides derive from.
const exportContext = string(label.EnrollmentSeal)

// Claimer is the side that holds an invitation. It is for one attempt, and for
// one goroutine at a time.
type Claimer struct {
	exchange
	private hpke.PrivateKey
	shared  []byte
	nonce   [nonceSize]byte
	// confirmed says that step 6 was received.
	confirmed bool
	claim     *Claim
	plain     []byte
	welcome   *Welcome
	last      uint32
}

// NewClaimer starts an attempt with the link that the person opened and the
// invitation that the server returned for it. Nobody vouches for the latter
// yet, but when it is not the greeter's, the codes differ. The message for
// step 1 comes from [Claimer.Start].
func NewClaimer(link invitation.Link, signed []byte) (*Claimer, error) {
	s, err := invitation.Parse(signed)
	if err != nil {
		return nil, fault.Errorf(fault.KindOf(err), "claim: %w", err)
	}
	if s.Organization != link.Organization || s.Token != link.Token {
		return nil, fault.Broken(PromiseInvitation, "claim: the server's invitation is not the link's")
	}
	private, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		panic("enroll: " + err.Error()) // only without randomness, which panics before
	}
	c := &Claimer{exchange: newExchange(claimer, signed, s.Statement, 0), private: private}
	rand.Read(c.nonce[:])
	return c, nil
}

// Start returns the message for step 1. It waits for step 2.
func (c *Claimer) Start() (Message, error) {
	switch {
	case c.failed != nil:
		return Message{}, c.failed
	case c.expected != 0 || len(c.received) != 0:
		return Message{}, misused("starting")
	}
	m := c.message(stepKey, c.private.PublicKey().Bytes())
	c.note(m)
	c.expected = stepSecret
	return m, nil
}

// Receive takes the greeter's message for a step and returns the answer to
// leave in the mailbox, if there is one. After an error the attempt is over:
// tell the mailbox, so that the other side learns of it.
func (c *Claimer) Receive(m Message) (Message, error) {
	body, reply, isNew, err := c.accept(m)
	if err != nil || !isNew {
		return reply, err
	}
	switch m.Step {
	case stepSecret:
		return c.receiveSecret(m, body)
	case stepNonce:
		return c.receiveNonce(m, body)
	case stepConfirmed:
		return c.receiveConfirmed(m, body)
	}
	return c.receivePart(m, body)
}

func (c *Claimer) receiveSecret(m Message, body []byte) (Message, error) {
	recipient, err := hpke.NewRecipient(body, c.private, hpke.HKDFSHA256(), hpke.AES256GCM(), c.info())
	if err != nil {
		return Message{}, c.suspect("the greeter's secret does not open")
	}
	if c.shared, err = recipient.Export(exportContext, sha256.Size); err != nil {
		return Message{}, c.suspect("the greeter's secret does not open")
	}
	c.note(m)
	committed := commitment(c.transcript, c.nonce[:])
	reply := c.message(stepCommitment, committed[:])
	c.note(reply)
	return c.remember(m, reply, stepNonce), nil
}

func (c *Claimer) receiveNonce(m Message, body []byte) (Message, error) {
	if len(body) != nonceSize {
		return Message{}, c.suspect("the greeter's nonce is %d bytes long", len(body))
	}
	c.note(m)
	reply := c.message(stepOpening, c.nonce[:])
	c.note(reply)
	c.agree(c.shared)
	clear(c.shared)
	return c.remember(m, reply, 0), nil
}

// Enter takes the code that the greeter reads out. What cannot be a code is
// [fault.Usage] and may be typed again; a wrong code ends the attempt. After a
// right one it waits for step 6.
func (c *Claimer) Enter(code string) error {
	if err := c.enter(code); err != nil {
		return err
	}
	c.expected = stepConfirmed
	return nil
}

// Code returns the code to read out to the greeter. It is empty before the
// greeter's own was entered.
func (c *Claimer) Code() string {
	if !c.typed {
		return ""
	}
	return c.myCode
}

func (c *Claimer) receiveConfirmed(m Message, body []byte) (Message, error) {
	plain, err := c.open(m.Step, body)
	if err != nil {
		return Message{}, err
	}
	if len(plain) != 0 {
		return Message{}, c.refuse(fault.Errorf(fault.Invalid, "a confirmation of %d bytes", len(plain)))
	}
	c.confirmed = true
	return c.remember(m, Message{}, 0), nil
}

// Claim returns the message for step 7, which says who the claimer will be;
// step 6 was received before. It waits for step 8.
func (c *Claimer) Claim(claim Claim) (Message, error) {
	switch {
	case c.failed != nil:
		return Message{}, c.failed
	case !c.confirmed || c.claim != nil:
		return Message{}, misused("a claim")
	}
	if err := claim.check(c.invitation.Type); err != nil {
		return Message{}, fault.Errorf(fault.KindOf(err), "enroll: claim: %w", err)
	}
	c.claim, c.expected = &claim, stepWelcome
	return c.sealed(stepClaim, canon.Marshal(claim)), nil
}

func (c *Claimer) receivePart(m Message, body []byte) (Message, error) {
	encoded, err := c.open(m.Step, body)
	if err != nil {
		return Message{}, err
	}
	var p part
	if err := canon.Unmarshal(encoded, &p); err != nil {
		return Message{}, c.refuse(err)
	}
	if !p.Last && (m.Step+1 >= MaxStep || len(p.Data) != partSize) {
		return Message{}, c.refuse(fault.Errorf(fault.Invalid, "too many parts"))
	}
	c.plain = append(c.plain, p.Data...)
	clear(encoded)
	clear(p.Data)
	if !p.Last {
		return c.remember(m, c.sealed(m.Step+1, nil), m.Step+2), nil
	}
	return c.receiveWelcome(m)
}

func (c *Claimer) receiveWelcome(m Message) (Message, error) {
	w, err := decodeWelcome(c.plain, c.invitation)
	clear(c.plain)
	if err == nil && c.claim.Name != "" && w.Opening.Name != c.claim.Name {
		err = fault.Errorf(fault.Invalid, "another name than the claimer's")
	}
	if err != nil {
		return Message{}, c.refuse(err)
	}
	c.welcome, c.last = &w, m.Step
	return c.remember(m, Message{}, 0), nil
}

// Welcome returns what the greeter handed over, once all of it was received.
func (c *Claimer) Welcome() (Welcome, bool) {
	if c.welcome == nil || c.failed != nil {
		return Welcome{}, false
	}
	return *c.welcome, true
}

// Stored returns the last message, which says that the claimer has verified
// and stored everything.
func (c *Claimer) Stored() (Message, error) {
	switch {
	case c.failed != nil:
		return Message{}, c.failed
	case c.welcome == nil || c.over:
		return Message{}, misused("a receipt")
	}
	c.over = true
	return c.sealed(c.last+1, nil), nil
}
