package enroll_test

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"parsec/internal/base/fault"
	"parsec/internal/client/enroll"
	"parsec/internal/format/invitation"
)

// The server plays greeter to the claimer and claimer to the greeter, each
// with keys of its own. It knows the invitation and everything said, but not
// what the codes of the other exchange will be.
func TestWhoSitsInBetweenWithOwnKeysGetsOtherCodes(t *testing.T) {
	const rounds = 100 // at 40 bits of codes, chance shows once in ten billion
	for range rounds {
		s := newScene(t, invitation.ForUser)
		g, c := s.greeter(t), s.claimer(t)
		fakeGreeter, fakeClaimer := s.greeter(t), s.claimer(t)
		toGreeter := s.upTo(t, 5, g, fakeClaimer)
		toClaimer := s.upTo(t, 5, fakeGreeter, c)
		got(t, enroll.Message{}, mustNone(g.Receive(toGreeter[5])))
		got(t, enroll.Message{}, mustNone(fakeGreeter.Receive(toClaimer[5])))
		if g.Code() == fakeGreeter.Code() {
			continue // one in a million for the first code; the second is checked then
		}
		wantAlone(t, c.Enter(g.Code()))
		if m, err := fakeGreeter.Enter(c.Code()); err == nil || !m.None() {
			t.Fatal("a code came out of the claimer")
		}
	}
}

func TestCodesDifferFromAttemptToAttempt(t *testing.T) {
	seen := make(map[string]bool)
	s := newScene(t, invitation.ForUser)
	for range 50 {
		g, c := s.greeter(t), s.claimer(t)
		s.upTo(t, 6, g, c)
		seen[g.Code()+c.Code()] = true
	}
	if len(seen) != 50 {
		t.Errorf("50 attempts gave %d pairs of codes", len(seen))
	}
}

// An attacker on the way delivers, flips, reflects and replays at will. People
// read their codes to each other. Unless every message arrived as it was sent,
// the exchange does not complete, on either side, and no side ever sees what
// the other did not send.
func TestNoTamperingSurvives(t *testing.T) {
	s := newScene(t, invitation.ForDevice)
	recorded := s.upTo(t, 9, s.greeter(t), s.claimer(t))
	rapid.Check(t, func(rt *rapid.T) {
		g, c := s.greeter(t), s.claimer(t)
		w := wire{rt: rt, recorded: recorded, sent: make(map[uint32]enroll.Message)}
		err := w.run(s, g, c)
		_, claimed := g.Claim()
		_, welcomed := c.Welcome()
		switch {
		case !w.tampered && err == nil && !(claimed && welcomed && g.Done()), !w.tampered && !w.repeated && err != nil:
			rt.Fatalf("an honest exchange failed: %v", err)
		case w.tampered && (err == nil || g.Done()):
			rt.Fatalf("a message was changed and nobody noticed")
		case err != nil && fault.PromiseOf(err) != enroll.PromiseAlone:
			rt.Fatalf("got %v, want the warning of somebody in between", err)
		}
	})
}

// wire carries messages, and is the attacker.
type wire struct {
	rt       *rapid.T
	recorded map[int]enroll.Message
	sent     map[uint32]enroll.Message
	tampered bool
	// repeated says that a message arrived once more, in place of a later one. A
	// network may do that, and is answered as before, or ends the attempt.
	repeated bool
}

// carry returns what arrives in place of m.
func (w *wire) carry(m enroll.Message) enroll.Message {
	w.sent[m.Step] = m
	arrives := enroll.Message{Step: m.Step, Data: bytes.Clone(m.Data)}
	switch action := rapid.IntRange(0, 15).Draw(w.rt, fmt.Sprintf("action at step %d", m.Step)); action {
	case 0:
		at := rapid.IntRange(0, len(m.Data)-1).Draw(w.rt, "byte")
		arrives.Data[at] ^= 1 << rapid.IntRange(0, 7).Draw(w.rt, "bit")
	case 1:
		arrives.Data = w.recorded[int(m.Step)].Data
	case 2:
		from := rapid.Uint32Range(1, m.Step).Draw(w.rt, "earlier step")
		arrives.Data = w.sent[from].Data
	case 3:
		arrives = w.sent[rapid.Uint32Range(1, m.Step).Draw(w.rt, "earlier message")]
	case 4:
		arrives.Data = arrives.Data[:rapid.IntRange(0, len(m.Data)).Draw(w.rt, "length")]
	}
	switch sender := m.Step % 2; {
	case arrives.Step == m.Step && bytes.Equal(arrives.Data, m.Data):
	case arrives.Step%2 == sender && bytes.Equal(arrives.Data, w.sent[arrives.Step].Data):
		w.repeated = true
	default:
		w.tampered = true
	}
	return arrives
}

func (w *wire) run(s scene, g *enroll.Greeter, c *enroll.Claimer) error {
	m, err := c.Start()
	receive := []func(enroll.Message) (enroll.Message, error){g.Receive, c.Receive}
	for turn := 0; err == nil && !m.None(); turn++ {
		m, err = receive[turn%2](w.carry(m))
	}
	if err != nil {
		return err
	}
	if g.Code() == "" {
		return g.Abort() // a message for an earlier step came; nobody answers any more
	}
	if err := c.Enter(g.Code()); err != nil {
		return err
	}
	m, err = g.Enter(c.Code())
	for _, next := range []func(enroll.Message) (enroll.Message, error){
		func(m enroll.Message) (enroll.Message, error) {
			return then(c.Receive, m, func() (enroll.Message, error) { return c.Claim(s.claim()) })
		},
		func(m enroll.Message) (enroll.Message, error) {
			return then(g.Receive, m, func() (enroll.Message, error) { return g.Welcome(s.welcome()) })
		},
		func(m enroll.Message) (enroll.Message, error) { return then(c.Receive, m, c.Stored) },
		g.Receive,
	} {
		if err != nil {
			break
		}
		m, err = next(w.carry(m))
	}
	if err != nil && fault.PromiseOf(err) == "" {
		return g.Abort() // a repeated message was no turn to go on
	}
	if err == nil && !g.Done() {
		return g.Abort()
	}
	return err
}

// then receives m, and goes on where it was not answered at once.
func then(receive func(enroll.Message) (enroll.Message, error), m enroll.Message, next func() (enroll.Message, error)) (enroll.Message, error) {
	if _, err := receive(m); err != nil {
		return enroll.Message{}, err
	}
	return next()
}
