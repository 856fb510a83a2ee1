package metatest

import (
	"sync"
	"sync/atomic"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

func turns(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"a turn is one process's until it ends":  turnIsTaken,
		"a job that was done is not done again":  turnIsDue,
		"of processes at once one takes a turn":  oneTakesATurn,
		"who lost a turn does not end another's": turnIsEndedByItsHolder,
	})
}

func turnOf(holder byte, until int64) meta.Turn {
	return meta.Turn{Job: "job", Holder: id.Process{holder}, Until: era + until}
}

func (s *store) take(t *testing.T, turn meta.Turn, now, due int64, want bool) {
	t.Helper()
	s.write(t, func(tx meta.Tx) error {
		got, err := tx.Turns().Take(turn, era+now, era+due)
		same(t, "taken", got, want)
		return err
	})
}

func turnIsTaken(t *testing.T, s *store) {
	s.take(t, turnOf(1, 20), 10, 0, true)
	s.take(t, turnOf(2, 30), 19, 0, false)
	s.take(t, meta.Turn{Job: "other", Holder: id.Process{2}, Until: era + 30}, 19, 0, true)
	s.take(t, turnOf(1, 40), 19, 0, true) // prolonged
	s.take(t, turnOf(2, 60), 39, 0, false)
	s.take(t, turnOf(2, 60), 40, 0, true) // its holder is gone
	s.take(t, turnOf(1, 60), 41, 0, false)
}

func turnIsDue(t *testing.T, s *store) {
	s.take(t, turnOf(1, 20), 10, 0, true)
	s.write(t, func(tx meta.Tx) error { return tx.Turns().Done("job", id.Process{1}, era+15) })
	s.take(t, turnOf(2, 30), 16, 14, false)
	s.take(t, turnOf(1, 30), 16, 14, false)
	s.take(t, turnOf(2, 30), 16, 15, true)
	// Given back without being done, it is due as before.
	s.write(t, func(tx meta.Tx) error { return tx.Turns().Done("job", id.Process{2}, 0) })
	s.take(t, turnOf(1, 30), 16, 14, false)
	s.take(t, turnOf(1, 30), 16, 15, true)
}

func oneTakesATurn(t *testing.T, s *store) {
	var all sync.WaitGroup
	var took atomic.Int32
	for n := range byte(4) {
		all.Go(func() {
			var taken bool
			if err := s.Write(t.Context(), func(tx meta.Tx) (err error) {
				taken, err = tx.Turns().Take(turnOf(n+1, 20), 10, 0)
				return err
			}); err != nil {
				t.Error(err)
			}
			if taken {
				took.Add(1)
			}
		})
	}
	all.Wait()
	same(t, "processes that took the turn", took.Load(), int32(1))
}

func turnIsEndedByItsHolder(t *testing.T, s *store) {
	done := func(holder byte) func(meta.Tx) error {
		return func(tx meta.Tx) error { return tx.Turns().Done("job", id.Process{holder}, era+50) }
	}
	s.fails(t, fault.NotFound, done(1))
	s.take(t, turnOf(1, 20), 10, 0, true)
	s.take(t, turnOf(2, 40), 30, 0, true)
	s.fails(t, fault.NotFound, done(1))
	s.write(t, done(2))
}

func leftovers(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"blocks that no commit introduced go, others stay":       packsAreSettled,
		"empty packs are listed by time, and removed":            emptyPacksAreRemoved,
		"a commit and the collection agree on who has the block": markAndSettleAgree,
		"invitations that expired go with their mailboxes":       oldInvitationsAreRemoved,
	})
}

// era is added to times, so that they are as large as those of today, which a
// database may take for numbers of another size than small ones.
const era = 1 << 60

// settle looks at packs and wants so many of them to have been due.
func (s *store) settle(t *testing.T, added, now int64, limit, want int) {
	t.Helper()
	s.write(t, func(tx meta.Tx) error {
		got, err := tx.Leftovers().Settle(added, era+now, limit)
		same(t, "packs looked at", got, want)
		return err
	})
}

func (s *store) mark(t *testing.T, w meta.WorkspaceKey, missing []id.Block, blocks ...id.Block) {
	t.Helper()
	s.write(t, func(tx meta.Tx) error {
		got, err := tx.Blocks().Mark(w, 7, blocks)
		same(t, "missing", got, missing)
		return err
	})
}

// leftBehind are the packs that are empty since a time.
func (s *store) leftBehind(t *testing.T, since int64, after meta.Leftover, limit int) (packs []meta.Leftover) {
	t.Helper()
	s.read(t, func(tx meta.Tx) (err error) {
		packs, err = tx.Leftovers().Emptied(era+since, after, limit)
		return err
	})
	return packs
}

func packsAreSettled(t *testing.T, s *store) {
	w := s.workspace(t)
	v := s.newWorkspace(t, w.Organization).Key
	old, young, other := meta.Pack{ID: id.Pack{1}, Size: 30, Added: 5}, meta.Pack{ID: id.Pack{2}, Size: 10, Added: 11}, meta.Pack{ID: id.Pack{3}, Size: 8, Added: 6}
	kept, orphan, fresh, elsewhere := block(1, old, 0, 10), block(2, old, 10, 20), block(3, young, 0, 10), block(2, other, 0, 8)
	s.add(t, w, old, kept, orphan)
	s.add(t, w, young, fresh)
	s.add(t, v, other, elsewhere)
	s.mark(t, w, nil, kept.ID)
	kept.Index = 7
	s.settle(t, 4, 100, 10, 0)
	s.settle(t, 10, 100, 1, 1)
	s.settle(t, 10, 101, 10, 1)
	s.settle(t, 10, 102, 10, 0)
	same(t, "blocks", s.located(t, w, 1, 2, 3), []meta.Block{kept, {}, fresh})
	same(t, "blocks elsewhere", s.located(t, v, 2), []meta.Block{{}})
	same(t, "stats", s.stats(t, w.Organization), meta.Stats{Workspaces: 2, Packs: 3, Blocks: 2, BlockBytes: 20})
	left := s.leftBehind(t, 101, meta.Leftover{}, 10)
	if len(left) != 1 || left[0].Key.Pack != other.ID || left[0].Workspace != v || left[0].Emptied != era+101 {
		t.Errorf("empty packs: %+v", left)
	}
	s.mark(t, w, []id.Block{orphan.ID}, kept.ID, orphan.ID)
	// The same block may come again, in another pack.
	again := meta.Pack{ID: id.Pack{4}, Size: 20, Added: 20}
	orphan.Pack, orphan.Offset = again.ID, 0
	same(t, "taken", s.add(t, w, again, orphan), []meta.Block(nil))
	s.mark(t, w, nil, orphan.ID)
}

func emptyPacksAreRemoved(t *testing.T, s *store) {
	w := s.workspace(t)
	for n := byte(1); n <= 3; n++ {
		s.add(t, w, meta.Pack{ID: id.Pack{n}, Size: 1, Added: int64(n)}, block(n, meta.Pack{ID: id.Pack{n}}, 0, 1))
		s.settle(t, int64(n), 100+int64(n), 10, 1)
	}
	s.add(t, w, meta.Pack{ID: id.Pack{9}, Size: 1, Added: 50}, block(9, meta.Pack{ID: id.Pack{9}}, 0, 1))
	first := s.leftBehind(t, 102, meta.Leftover{}, 1)
	second := s.leftBehind(t, 102, first[0], 10)
	if len(first) != 1 || len(second) != 1 || first[0].Key.Pack != (id.Pack{1}) || second[0].Key.Pack != (id.Pack{2}) {
		t.Fatalf("empty packs: %+v, then %+v", first, second)
	}
	full := first[0]
	full.Key.Pack = id.Pack{9}
	for range 2 {
		s.write(t, func(tx meta.Tx) error { return tx.Leftovers().Remove([]meta.Leftover{first[0], second[0], full}) })
	}
	same(t, "stats", s.stats(t, w.Organization), meta.Stats{Workspaces: 1, Packs: 2, Blocks: 1, BlockBytes: 1})
	if left := s.leftBehind(t, 200, meta.Leftover{}, 10); len(left) != 1 || left[0].Key.Pack != (id.Pack{3}) {
		t.Errorf("empty packs: %+v", left)
	}
}

// markAndSettleAgree has commits mark blocks while these are collected. Each
// block is either the commit's or missing to it.
func markAndSettleAgree(t *testing.T, s *store) {
	w := s.workspace(t)
	const packs = 20
	for n := byte(0); n < packs; n++ {
		p := meta.Pack{ID: id.Pack{n + 1}, Size: 2, Added: 1}
		s.add(t, w, p, block(2*n, p, 0, 1), block(2*n+1, p, 1, 1))
	}
	var all sync.WaitGroup
	var missing [packs][]id.Block
	all.Go(func() {
		for range packs / 2 {
			if err := s.Write(t.Context(), func(tx meta.Tx) error {
				_, err := tx.Leftovers().Settle(1, 100, 2)
				return err
			}); err != nil {
				t.Error(err)
			}
		}
	})
	for n := byte(0); n < packs; n++ {
		all.Go(func() {
			if err := s.Write(t.Context(), func(tx meta.Tx) (err error) {
				missing[n], err = tx.Blocks().Mark(w, 7, []id.Block{{2*n + 1}, {2 * n}})
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var there uint64
	for n := byte(0); n < packs; n++ {
		gone := map[id.Block]bool{}
		for _, b := range missing[n] {
			gone[b] = true
		}
		for i, row := range s.located(t, w, 2*n, 2*n+1) {
			if gone[id.Block{2*n + byte(i)}] != row.Pack.IsZero() || !row.Pack.IsZero() && row.Index != 7 {
				t.Errorf("block %d: the commit misses %v, and there is %+v", 2*n+byte(i), missing[n], row)
			}
			if !row.Pack.IsZero() {
				there++
			}
		}
	}
	same(t, "stats", s.stats(t, w.Organization), meta.Stats{Workspaces: 1, Packs: packs, Blocks: there, BlockBytes: there})
}

func oldInvitationsAreRemoved(t *testing.T, s *store) {
	o := s.newOrganization(t, "Acme")
	s.write(t, func(tx meta.Tx) error {
		for n := byte(1); n <= 3; n++ {
			token := meta.Token{n}
			if err := tx.Invitations().Create(o, meta.Invitation{Token: token, State: meta.InvitationUsed, Expires: int64(n)}); err != nil {
				return err
			}
			if err := tx.Invitations().SetAttempt(o, token, meta.AttemptState{Attempt: meta.Attempt{n}}); err != nil {
				return err
			}
			if err := tx.Invitations().Leave(o, token, meta.Attempt{n}, 1, []byte("message")); err != nil {
				return err
			}
		}
		return nil
	})
	remove := func(expired int64, limit, want int) {
		t.Helper()
		s.write(t, func(tx meta.Tx) error {
			got, err := tx.Leftovers().RemoveInvitations(expired, limit)
			same(t, "removed", got, want)
			return err
		})
	}
	remove(0, 10, 0)
	remove(2, 1, 1)
	remove(2, 10, 1)
	remove(2, 10, 0)
	for n := byte(1); n <= 2; n++ {
		s.missing(t, func(tx meta.Tx) error { _, err := tx.Invitations().Lock(o, meta.Token{n}); return err })
		s.missing(t, func(tx meta.Tx) error {
			_, err := tx.Invitations().Message(o, meta.Token{n}, meta.Attempt{n}, 1)
			return err
		})
	}
	s.read(t, func(tx meta.Tx) error {
		attempts, err := tx.Invitations().Attempts(o, meta.Token{1})
		same(t, "attempts", attempts, []meta.AttemptState(nil))
		if err != nil {
			return err
		}
		_, err = tx.Invitations().Message(o, meta.Token{3}, meta.Attempt{3}, 1)
		return err
	})
}
