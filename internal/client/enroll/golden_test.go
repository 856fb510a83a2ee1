package enroll_test

import (
	"fmt"
	"testing"
	"testing/cryptotest"

	"parsec/internal/client/enroll"
	"parsec/internal/format/canon"
	"parsec/internal/format/golden"
	"parsec/internal/format/invitation"
)

func TestAnExchangeGivesTheGoldenBytes(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	s := newScene(t, invitation.ForDevice)
	g, c := s.greeter(t), s.claimer(t)
	sent := s.upTo(t, 6, g, c)
	vectors := []golden.Vector{{Name: "invitation", Bytes: s.greeting.Invitation}}
	for step := 1; step <= 6; step++ {
		vectors = append(vectors, golden.Vector{Name: fmt.Sprintf("message of step %d", step), Bytes: sent[step].Data})
	}
	golden.Compare(t, append(vectors,
		golden.Vector{Name: "greeter's code, as text", Bytes: []byte(g.Code())},
		golden.Vector{Name: "claimer's code, as text", Bytes: []byte(c.Code())},
		golden.Vector{Name: "claim", Bytes: canon.Marshal(s.claim())},
		golden.Vector{Name: "welcome", Bytes: canon.Marshal(s.welcome())},
	))
}

func FuzzReceive(f *testing.F) {
	s := newScene(f, invitation.ForUser)
	sent := s.upTo(f, 9, s.greeter(f), s.claimer(f))
	for step := 1; step <= 9; step++ {
		f.Add(byte(step), uint32(step), sent[step].Data)
	}
	f.Fuzz(func(t *testing.T, at byte, step uint32, data []byte) {
		n := int(at)%9 + 1
		g, c := s.greeter(t), s.claimer(t)
		honest := s.upTo(t, n, g, c)
		receive, expects := g.Receive, g.Expects
		if n%2 == 0 {
			receive, expects = c.Receive, c.Expects
		}
		reply, err := receive(enroll.Message{Step: step, Data: data})
		if err != nil {
			wantAlone(t, err)
			if expects() != 0 || !reply.None() {
				t.Error("the attempt goes on")
			}
			return
		}
		if n > 4 && string(data) != string(honest[n].Data) && step == uint32(n) {
			t.Errorf("a forged message for step %d was accepted", n)
		}
	})
}

func FuzzDecodeContent(f *testing.F) {
	user, device := newScene(f, invitation.ForUser), newScene(f, invitation.ForDevice)
	for _, s := range []scene{user, device} {
		f.Add(canon.Marshal(s.claim()))
		f.Add(canon.Marshal(s.welcome()))
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		if enroll.DecodeClaim(plain, invitation.ForUser) == nil && enroll.DecodeClaim(plain, invitation.ForDevice) == nil {
			t.Error("one claim fits a user and a device")
		}
		if enroll.DecodeWelcome(plain, user.statement) == nil && enroll.DecodeWelcome(plain, device.statement) == nil {
			t.Error("one welcome fits a user and a device")
		}
	})
}
