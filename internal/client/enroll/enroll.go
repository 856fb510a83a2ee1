// Package enroll is the exchange by which a person or a further device joins
// an organization without trusting the server that carries it. A greeter, who
// belongs to the organization, and a claimer, who holds an invitation, speak
// through a mailbox; two short codes, read out by one person and typed by the
// other, prove that nobody sits in between. Both sides are state machines
// without input or output: messages and codes in, messages and codes out.
//
// The steps, each a message of one side:
//
//	1  claimer  an HPKE public key, made for this attempt
//	2  greeter  the encapsulation of a secret to it
//	3  claimer  a commitment to a nonce, and to the transcript so far
//	4  greeter  a nonce
//	5  claimer  the nonce of the commitment
//	   people   the greeter's code is typed by the claimer, then the
//	            claimer's code by the greeter
//	6  greeter  sealed: the second code was right
//	7  claimer  sealed: the claimer's public keys
//	8  greeter  sealed: what the claimer needs, or its first part
//	9  claimer  sealed: received, after the last part: stored
//	   ...      further parts and receipts, should it be a long one
//
// Codes and the keys of the sealed messages derive from the secret of step 2
// and a hash over invitation and messages 1 to 5. The claimer's nonce is fixed
// before the greeter's is known, and the greeter's is sent before the
// claimer's is: so whoever sits in between, with a secret on each side, can
// only guess what the codes will be, at one in a million for each of the two.
//
// Invariants:
//   - Everything lives in memory, and nothing here can be saved: a restart is
//     a new attempt with new keys.
//   - Whatever is malformed, out of order, from the wrong side or different
//     from what came for a step before ends the attempt for good. Only the
//     same message, once more, gets the same answer.
//   - The claimer learns nothing and tells nothing but its attempt's key
//     before the first code, and is told nothing to store before a sealed
//     message has confirmed the second.
//   - The invitation that counts is the signed statement, never what a server
//     says about it.
package enroll

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"

	"parsec/internal/base/fault"
	"parsec/internal/base/secret"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
	"parsec/internal/format/label"
	"parsec/internal/format/spoken"
)

// The promises whose breach an exchange finds.
const (
	// PromiseAlone is that nobody sits between greeter and claimer.
	PromiseAlone = "nobody in between"
	// PromiseInvitation is that an invitation is the one that was signed.
	PromiseInvitation = "authentic invitation"
)

// MaxMessage is the longest message of a step: what the mailbox holds.
const MaxMessage = 64 << 10

// MaxAttempts is how often one side tries an invitation, at one chance in a
// million each time for whoever sits in between.
const MaxAttempts = 5

// MaxStep is the last step that an exchange may reach; a mailbox holds 32.
const MaxStep = stepWelcome + 2*maxParts - 1

// The steps, as numbered in the mailbox. Odd ones are the claimer's.
const (
	stepKey        = 1
	stepSecret     = 2
	stepCommitment = 3
	stepNonce      = 4
	stepOpening    = 5
	stepConfirmed  = 6
	stepClaim      = 7
	stepWelcome    = 8
)

const (
	nonceSize = 32
	// codeCharacters is the length of a code: 20 bits.
	codeCharacters = 4
	// partSize and maxParts bound what the greeter sends last.
	partSize = 60 << 10
	maxParts = 12
)

// CheckAttempts refuses another attempt after [MaxAttempts] that one side
// has made. Each side counts its own, by itself.
func CheckAttempts(made int) error {
	if made < MaxAttempts {
		return nil
	}
	return fault.WithHint(fault.Errorf(fault.Denied, "start enrollment: %d attempts with this invitation have failed", made),
		"cancel it with `parsec invite cancel` and invite anew")
}

// Message is what one side leaves in the mailbox for a step.
type Message struct {
	Step uint32
	Data []byte
}

// None reports whether there is no message, and so nothing to send.
func (m Message) None() bool { return m.Step == 0 }

// side is who sends a message.
type side uint8

const (
	greeter side = 1
	claimer side = 2
)

func (s side) String() string {
	if s == greeter {
		return "greeter"
	}
	return "claimer"
}

func (s side) other() side { return greeter + claimer - s }

// envelope is a message's form.
type envelope struct {
	_    struct{} `cbor:",toarray"`
	From side
	Step uint32
	Body []byte
}

// answered is a message that was received, and what it was answered with.
type answered struct {
	digest [sha256.Size]byte
	reply  Message
}

// exchange is what both sides have in common.
type exchange struct {
	self       side
	invitation invitation.Statement
	// transcript is the hash over everything said up to step 5.
	transcript [sha256.Size]byte
	// expected is the step whose message comes next; 0 while it is this
	// side's turn.
	expected uint32
	received map[uint32]answered
	// mine and theirs are the codes, and the keys of the two directions.
	myCode, theirCode   string
	sending, receiving  secret.Key
	agreed, typed, over bool
	failed              error
}

func newExchange(self side, raw []byte, s invitation.Statement, expected uint32) exchange {
	return exchange{
		self:       self,
		invitation: s,
		expected:   expected,
		received:   make(map[uint32]answered),
		transcript: label.EnrollmentTranscript.Hash(raw, s.Organization[:], s.Token[:], []byte{byte(s.Type)},
			[]byte(greeter.String()), []byte(claimer.String())),
	}
}

// Expects returns the step whose message has to be received next, or 0 while
// a person, or the caller, has to act.
func (x *exchange) Expects() uint32 {
	if x.failed != nil {
		return 0
	}
	return x.expected
}

// Invitation returns the statement under which the exchange runs.
func (x *exchange) Invitation() invitation.Statement { return x.invitation }

// Abort ends the attempt because the other side, or the server, did so or
// stopped answering. It returns the error to show.
func (x *exchange) Abort() error {
	if x.failed != nil {
		return x.failed
	}
	return x.suspect("the other side broke off")
}

// suspect ends the attempt: somebody may be in between.
func (x *exchange) suspect(format string, args ...any) error {
	return x.end(fault.WithHint(fault.Broken(PromiseAlone, "enroll: "+format, args...),
		"somebody may be in between; both of you start a new attempt, and give up this invitation when that fails as well"))
}

// refuse ends the attempt because the other side, which is who it says, sent
// what cannot be used.
func (x *exchange) refuse(err error) error {
	return x.end(fault.WithHint(fault.Errorf(fault.KindOf(err), "enroll: the %s sent what cannot be used: %w", x.self.other(), err),
		"both of you use the newest parsec, and start a new attempt"))
}

func (x *exchange) end(err error) error {
	x.failed, x.expected = err, 0
	x.sending, x.receiving = secret.Key{}, secret.Key{}
	x.myCode, x.theirCode = "", ""
	return err
}

// misused is a call of this program at the wrong moment. It changes nothing.
func misused(what string) error {
	return fault.Errorf(fault.Failed, "enroll: %s now is out of turn", what)
}

// accept returns the body of a message that has its turn. A message that was
// answered before comes back with that answer, and is not new.
func (x *exchange) accept(m Message) (body []byte, reply Message, isNew bool, err error) {
	if x.failed != nil {
		return nil, Message{}, false, x.failed
	}
	if len(m.Data) > MaxMessage {
		return nil, Message{}, false, x.suspect("the message for step %d is %d bytes long", m.Step, len(m.Data))
	}
	digest := sha256.Sum256(m.Data)
	if before, ok := x.received[m.Step]; ok {
		if before.digest != digest {
			return nil, Message{}, false, x.suspect("two different messages came for step %d", m.Step)
		}
		return nil, before.reply, false, nil
	}
	if m.Step == 0 || m.Step != x.expected {
		return nil, Message{}, false, x.suspect("the message for step %d is out of order", m.Step)
	}
	var e envelope
	if err := canon.Unmarshal(m.Data, &e); err != nil {
		return nil, Message{}, false, x.suspect("the message for step %d is malformed", m.Step)
	}
	if e.From != x.self.other() || e.Step != m.Step {
		return nil, Message{}, false, x.suspect("the message for step %d is one of another step or side", m.Step)
	}
	return e.Body, Message{}, true, nil
}

// remember notes that m was answered with reply, and which step comes next.
func (x *exchange) remember(m, reply Message, expected uint32) Message {
	x.received[m.Step] = answered{digest: sha256.Sum256(m.Data), reply: reply}
	x.expected = expected
	return reply
}

// message returns this side's message for a step.
func (x *exchange) message(step uint32, body []byte) Message {
	return Message{Step: step, Data: canon.Marshal(envelope{From: x.self, Step: step, Body: body})}
}

// note adds a message of the open part to the transcript.
func (x *exchange) note(m Message) {
	x.transcript = label.EnrollmentTranscript.Hash(x.transcript[:], label.Uint(uint64(m.Step)), m.Data)
}

// commitment binds a nonce to the transcript before it is shown.
func commitment(transcript [sha256.Size]byte, nonce []byte) [sha256.Size]byte {
	return label.EnrollmentCommitment.Hash(transcript[:], nonce)
}

// info is HPKE's, which binds the secret to the transcript up to step 1.
func (x *exchange) info() []byte { return label.EnrollmentSeal.Join(x.transcript[:]) }

// agree derives codes and keys from the secret of step 2 and the transcript.
func (x *exchange) agree(shared []byte) {
	derive := func(purpose label.Label, n int) []byte {
		out, err := hkdf.Key(sha256.New, shared, x.transcript[:], string(purpose.Join()), n)
		if err != nil {
			panic("enroll: " + err.Error()) // these lengths are within HKDF's limit
		}
		return out
	}
	codes := spoken.Encode(derive(label.EnrollmentCodes, 5), 2*codeCharacters)
	toGreeter := secret.Key(derive(label.EnrollmentToGreeter, 32))
	toClaimer := secret.Key(derive(label.EnrollmentToClaimer, 32))
	if x.self == greeter {
		x.myCode, x.theirCode = codes[:codeCharacters], codes[codeCharacters:]
		x.sending, x.receiving = toClaimer, toGreeter
	} else {
		x.myCode, x.theirCode = codes[codeCharacters:], codes[:codeCharacters]
		x.sending, x.receiving = toGreeter, toClaimer
	}
	x.agreed = true
}

// enter compares a typed code with the one that the other side reads out. A
// text that cannot be a code may be typed again; a wrong code ends the attempt.
func (x *exchange) enter(text string) error {
	switch {
	case x.failed != nil:
		return x.failed
	case !x.agreed || x.typed:
		return misused("entering a code")
	}
	data, err := spoken.Decode(text, codeCharacters)
	if err != nil {
		return fault.WithHint(fault.Errorf(fault.Usage, "read code: %w", err),
			"type the four letters or digits that the other person reads out")
	}
	typed := spoken.Encode(data, codeCharacters)
	if subtle.ConstantTimeCompare([]byte(typed), []byte(x.theirCode)) != 1 {
		return x.suspect("the codes differ")
	}
	x.typed = true
	return nil
}
