package verify_test

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"parsec/internal/format/record"
	"parsec/internal/verify"
	"parsec/internal/verify/verifytest"
)

// reader is a client's state of one organization and one workspace.
type reader struct {
	org     *verify.Organization
	w       *verify.Workspace
	history *verifytest.Memory
}

func newReader(l *life) *reader {
	return &reader{
		org: verify.NewOrganization(l.Fingerprint()),
		w:   verify.NewWorkspace(l.Fingerprint(), l.w.ID), history: verifytest.NewMemory(),
	}
}

// pull appends records of the organization up to an index.
func (r *reader) pull(l *life, upTo int) error {
	for _, raw := range l.Records[r.org.Position().Index:upTo] {
		if _, err := r.org.Append(raw); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) append(raw []byte) error {
	s, err := verify.Authenticate(r.org, raw)
	if err != nil {
		return err
	}
	step, err := r.w.Append(r.org, r.history, s)
	if err == nil {
		r.history.Apply(step)
	}
	return err
}

// appendAll appends records until one is refused, and says how many were not.
func (r *reader) appendAll(log [][]byte) (int, error) {
	for i, raw := range log {
		if err := r.append(raw); err != nil {
			return i, err
		}
	}
	return len(log), nil
}

func (r *reader) sameAs(t *rapid.T, l *life) {
	if r.org.Position() != l.Org.Position() || !bytes.Equal(r.org.Snapshot(), l.Org.Snapshot()) {
		t.Fatalf("the organizations differ at %d", r.org.Position().Index)
	}
	if r.w.Position() != l.w.State.Position() || !bytes.Equal(r.w.Snapshot(), l.w.State.Snapshot()) {
		t.Fatalf("the workspaces differ at %d", r.w.Position().Index)
	}
}

// steps is the length of a history.
const steps = 40

// The state of a workspace follows from its log and from what its records saw
// of the organization, not from how much more of it a reader knows.
func TestEveryReplayEndsInTheSameState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		l.run(steps)

		early := newReader(l) // knows the whole organization before the first record
		if err := early.pull(l, len(l.Records)); err != nil {
			t.Fatal(err)
		}
		if i, err := early.appendAll(l.w.Records); err != nil {
			t.Fatalf("record %d: %v", i+1, err)
		}
		early.sameAs(t, l)

		late := newReader(l) // pulls no more of it than a record needs
		for _, raw := range l.w.Records {
			r, err := record.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := late.pull(l, int(max(r.Seen.Organization.Index, late.org.Position().Index))); err != nil {
				t.Fatal(err)
			}
			if err := late.append(raw); err != nil {
				t.Fatal(err)
			}
		}
		if err := late.pull(l, len(l.Records)); err != nil {
			t.Fatal(err)
		}
		late.sameAs(t, l)
	})
}

func TestARestoredStateGoesOnLikeTheOriginal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		l.run(rapid.IntRange(0, steps).Draw(t, "before"))
		org, err := verify.RestoreOrganization(l.Org.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		w, err := verify.RestoreWorkspace(l.w.State.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		restored := &reader{org: org, w: w, history: verifytest.NewMemory()}
		seen := len(l.w.Records)
		for i, raw := range l.w.Records {
			restored.history.Apply(replayed(t, raw, l.w.Positions[i]))
		}
		l.run(steps)
		if err := restored.pull(l, len(l.Records)); err != nil {
			t.Fatal(err)
		}
		if i, err := restored.appendAll(l.w.Records[seen:]); err != nil {
			t.Fatalf("record %d: %v", seen+i+1, err)
		}
		restored.sameAs(t, l)
	})
}

func replayed(t *rapid.T, raw []byte, p record.Position) *verify.Step {
	r, err := record.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := r.Decode()
	if err != nil {
		t.Fatal(err)
	}
	return &verify.Step{Position: p, Record: r, Payload: payload}
}

func TestACloneChangesByItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		l.run(rapid.IntRange(0, steps).Draw(t, "before"))
		org, w := l.Org, l.w.State
		orgBefore, wBefore, devices, records := org.Snapshot(), w.Snapshot(), len(l.devices), len(l.Records)
		l.Org, l.w.State = org.Clone(), w.Clone() // life goes on with the clones
		l.run(steps)
		if !bytes.Equal(orgBefore, org.Snapshot()) || !bytes.Equal(wBefore, w.Snapshot()) {
			t.Fatal("appending to a clone changed the original")
		}
		orgAfter, wAfter := l.Org.Snapshot(), l.w.State.Snapshot()
		other, kit := *l, *l.Kit // and another life with the original
		other.Kit, kit.Org, kit.Records = &kit, org, slices.Clip(kit.Records[:records])
		other.devices = other.devices[:devices]
		for range steps {
			pick(t, "action", other.organizationActions())()
		}
		if !bytes.Equal(orgAfter, l.Org.Snapshot()) || !bytes.Equal(wAfter, l.w.State.Snapshot()) {
			t.Fatal("appending to the original changed the clone")
		}
	})
}

// tampering is one change to a log, and the index of the first record that is
// not the original.
type tampering struct {
	name string
	do   func(t *rapid.T, log [][]byte, i int) [][]byte
}

func tamperings() []tampering {
	return []tampering{
		{"drop", func(_ *rapid.T, log [][]byte, i int) [][]byte { return slices.Delete(log, i, i+1) }},
		{"duplicate", func(_ *rapid.T, log [][]byte, i int) [][]byte { return slices.Insert(log, i, log[i]) }},
		{"swap", func(_ *rapid.T, log [][]byte, i int) [][]byte {
			log[i], log[i+1] = log[i+1], log[i]
			return log
		}},
		{"flip", func(t *rapid.T, log [][]byte, i int) [][]byte {
			log[i] = flipped(log[i], rapid.IntRange(0, len(log[i])*8-1).Draw(t, "bit"))
			return log
		}},
	}
}

func TestATamperedOrganizationLogIsRefusedOnTheSpot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		for range steps {
			pick(t, "action", l.organizationActions())()
		}
		i := rapid.IntRange(0, len(l.Records)-2).Draw(t, "place")
		how := pick(t, "tampering", tamperings())
		log := how.do(t, slices.Clone(l.Records), i)
		org := verify.NewOrganization(l.Fingerprint())
		for n, raw := range log {
			_, err := org.Append(raw)
			if err == nil {
				continue
			}
			if want := l.Positions; n > 0 && org.Position() != want[n-1] {
				t.Fatalf("the state left the log at %d", n)
			}
			if n > i+1 {
				t.Fatalf("%s at %d was noticed only at %d", how.name, i, n)
			}
			return
		}
		t.Fatalf("%s at %d of %d was not noticed", how.name, i, len(l.Records))
	})
}

// A commit may land later than it saw, so that two which did not see each
// other may be swapped by a server before anybody saw their order. From the
// first record on that saw it, no reader accepts another order; and the head
// at the end is never the same.
func TestATamperedWorkspaceLogIsRefusedOnceARecordSawIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		l.run(steps)
		i := rapid.IntRange(0, len(l.w.Records)-2).Draw(t, "place")
		how := pick(t, "tampering", tamperings())
		log := how.do(t, slices.Clone(l.w.Records), i)
		r := newReader(l)
		if err := r.pull(l, len(l.Records)); err != nil {
			t.Fatal(err)
		}
		n, err := r.appendAll(log)
		witness := firstToSee(t, l.w.Records, i)
		switch {
		case err == nil && witness >= 0:
			t.Fatalf("%s at %d was not noticed, though record %d saw it", how.name, i, witness)
		case err == nil && r.w.Position() == l.w.State.Position():
			t.Fatalf("%s at %d led to the same head", how.name, i)
		case err != nil && witness >= 0 && n > witness+1:
			t.Fatalf("%s at %d was noticed only at %d, though record %d saw it", how.name, i, n, witness)
		case err != nil && n < i:
			t.Fatalf("record %d was refused before the %s at %d: %v", n, how.name, i, err)
		}
	})
}

// firstToSee returns the first record of a log that has seen the one behind
// place i, whatever happens at i; -1 if there is none.
func firstToSee(t *rapid.T, log [][]byte, i int) int {
	for n := i + 2; n < len(log); n++ {
		r, err := record.Parse(log[n])
		if err != nil {
			t.Fatal(err)
		}
		if r.Seen.Workspace.Index > uint64(i+1) {
			return n
		}
	}
	return -1
}

// client is a reader that follows a server at its own pace.
type client struct {
	*reader
	// known is the organization index that was verified before the newest head
	// was asked for.
	known uint64
	// answer is what the server has sent and the client has not read yet.
	answer [][]byte
	// asked is the organization index that was verified before asking for it.
	asked   uint64
	waiting bool
}

func (c *client) ask(l *life) {
	if !c.waiting {
		c.waiting, c.asked = true, c.org.Position().Index
		c.answer = slices.Clone(l.w.Records[c.w.Position().Index:])
	}
}

// receive reads the answer, or part of it before the connection breaks.
func (c *client) receive(t *rapid.T, l *life) {
	if !c.waiting {
		return
	}
	n := len(c.answer)
	if rapid.Bool().Draw(t, "breaks off") {
		n = rapid.IntRange(0, n).Draw(t, "received")
	}
	for _, raw := range c.answer[:n] {
		c.read(t, l, raw)
	}
	if n == len(c.answer) {
		c.known = c.asked
	}
	c.waiting, c.answer = false, nil
}

func (c *client) read(t *rapid.T, l *life, raw []byte) {
	err := c.tryRead(raw)
	if outcomeOf(err) == unknown { // the organization's log went on
		if err := c.pull(l, len(l.Records)); err != nil {
			t.Fatalf("the organization's log: %v", err)
		}
		err = c.tryRead(raw)
	}
	if err != nil {
		t.Fatalf("an honest server's record %d is refused: %v", c.w.Position().Index+1, err)
	}
}

func (c *client) tryRead(raw []byte) error {
	s, err := verify.Authenticate(c.org, raw)
	if err != nil {
		return err
	}
	if err := c.w.CheckUnrevoked(c.org, s, c.known); err != nil {
		return err
	}
	step, err := c.w.Append(c.org, c.history, s)
	if err == nil {
		c.history.Apply(step)
	}
	return err
}

// server accepts what passes its checks, whoever sends it and however late.
type server struct {
	*life
	// sent are records on their way.
	sent [][]byte
}

// sign puts a record on its way, by an author who may be behind in both logs.
func (s *server) sign() {
	by := pick(s.t, "author", s.devices)
	of := pick(s.t, "about", s.devices)
	role := record.Role(rapid.IntRange(int(record.RoleNone), int(record.RoleOwner)).Draw(s.t, "role"))
	p := pick(s.t, "payload", []func() record.Payload{
		func() record.Payload { return s.w.Changes(s.change()) },
		func() record.Payload { return s.w.Changes(s.w.New()) },
		func() record.Payload { return s.w.Changes(s.w.New()) },
		func() record.Payload { return record.Heartbeat{} },
		func() record.Payload { return record.KeyRotated{Rotation: s.w.Rotation()} },
		func() record.Payload { return s.w.RoleChanged(of, role) },
		func() record.Payload { return s.w.RoleChanged(by, record.RoleOwner) },
	})()
	behind := func(positions []record.Position, what string) record.Position {
		return positions[len(positions)-1-rapid.IntRange(0, min(3, len(positions)-1)).Draw(s.t, what)]
	}
	s.sent = append(s.sent, s.w.Sign(by, p,
		verifytest.SeenOrganization(behind(s.Positions, "behind in the organization")),
		verifytest.SeenWorkspace(behind(s.w.Positions, "behind in the workspace"))))
}

func (s *server) arrive() {
	if len(s.sent) == 0 {
		return
	}
	i := rapid.IntRange(0, len(s.sent)-1).Draw(s.t, "arriving")
	raw := s.sent[i]
	s.sent = slices.Delete(s.sent, i, i+1)
	signed, err := verify.Authenticate(s.Org, raw)
	if err == nil {
		err = s.w.State.CheckPresent(s.Org, signed)
	}
	if err == nil {
		// Whether it may stand there is the rules' affair.
		_, _ = s.w.Try(raw)
	}
}

// What an honest server accepts, honest clients accept, whatever they knew
// when they asked, and however the two logs went on in between.
func TestClientsAcceptWhatAnHonestServerAccepts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &server{life: newLife(t)}
		clients := []*client{{reader: newReader(s.life)}, {reader: newReader(s.life)}}
		for range 3 * steps {
			c := pick(t, "client", clients)
			pick(t, "event", []func(){
				s.sign, s.sign, s.sign, s.arrive, s.arrive, s.arrive,
				func() { s.run(1) },
				func() {
					if err := c.pull(s.life, rapid.IntRange(int(c.org.Position().Index), len(s.Records)).Draw(t, "pulled")); err != nil {
						t.Fatalf("the organization's log: %v", err)
					}
				},
				func() { c.ask(s.life) },
				func() { c.receive(t, s.life) },
			})()
		}
		for _, c := range clients {
			c.ask(s.life)
			for _, raw := range c.answer {
				c.read(t, s.life, raw)
			}
			if want := s.w.Records[:c.w.Position().Index]; len(want) > 0 && c.w.Position() != s.w.Positions[len(want)-1] {
				t.Fatal("a client left the log")
			}
		}
	})
}
