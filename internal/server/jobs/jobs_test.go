package jobs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/pack"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/faulty"
	"parsec/internal/server/jobs"
	"parsec/internal/server/meta"
	"parsec/internal/server/organization"
	"parsec/internal/server/servertest"
)

const day = 24 * time.Hour

// house is a stage whose clock the test moves.
type house struct {
	*servertest.Stage
	t   *testing.T
	now time.Time
}

func newHouse(t *testing.T) *house {
	h := &house{Stage: servertest.NewStage(t), t: t, now: time.Now()}
	h.Now = func() time.Time { return h.now }
	return h
}

// runner is the runner of another server process each time.
func (h *house) runner(all ...jobs.Job) *jobs.Runner {
	return jobs.New(h.Meta, slog.New(slog.DiscardHandler), jobs.Config{Now: h.Now}, all...)
}

func (h *house) look(r *jobs.Runner) {
	h.t.Helper()
	if err := r.Look(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) upload(w id.Workspace, sizes ...int) (ids []id.Block) {
	h.t.Helper()
	header, body := pack.Header{Workspace: w}, []byte(nil)
	for _, n := range sizes {
		content := make([]byte, n)
		rand.Read(content)
		b := pack.Block{ID: id.New[id.Block](), Length: uint32(n), Digest: sha256.Sum256(content)}
		header.Blocks, body, ids = append(header.Blocks, b), append(body, content...), append(ids, b.ID)
	}
	if err := h.Blocks.Upload(h.t.Context(), h.Caller(h.Admin), header, bytes.NewReader(body)); err != nil {
		h.t.Fatal(err)
	}
	return ids
}

// mark has a commit introduce blocks.
func (h *house) mark(w id.Workspace, ids ...id.Block) {
	h.t.Helper()
	if err := h.Meta.Write(h.t.Context(), func(tx meta.Tx) error {
		row, err := tx.Workspaces().Get(h.Caller(h.Admin).Key, w)
		if err != nil {
			return err
		}
		missing, err := tx.Blocks().Mark(row.Key, 2, ids)
		if len(missing) > 0 {
			h.t.Errorf("missing: %v", missing)
		}
		return err
	}); err != nil {
		h.t.Fatal(err)
	}
}

// holds wants the organization to have so many blocks, bytes and packs, and
// the store to have so many objects.
func (h *house) holds(when string, w id.Workspace, blocks, bytes, packs uint64, objects int) {
	h.t.Helper()
	_, s, err := h.Organizations.Stats(h.t.Context(), h.Org.Name())
	if err != nil {
		h.t.Fatal(err)
	}
	n := 0
	for _, err := range h.Blobs.List(h.t.Context(), blob.Scope{Organization: h.Fingerprint(), Workspace: w}, id.Pack{}) {
		if err != nil {
			h.t.Fatal(err)
		}
		n++
	}
	if s.Blocks != blocks || s.BlockBytes != bytes || s.Packs != packs || n != objects {
		h.t.Errorf("%s: %d blocks, %d bytes, %d packs, %d objects; want %d, %d, %d, %d", when, s.Blocks, s.BlockBytes, s.Packs, n, blocks, bytes, packs, objects)
	}
}

func TestBlocksWithoutACommitGoAfterAWeekAndTheirObjectADayLater(t *testing.T) {
	h := newHouse(t)
	w := h.CreateWorkspace(h.Admin).ID
	used := h.upload(w, 100)
	h.mark(w, used...)
	half := h.upload(w, 200, 30)
	h.mark(w, half[1])
	h.upload(w, 1000)
	collect := func() { h.look(h.runner(jobs.Blocks(h.Meta, h.Blobs, h.Now))) }

	h.now = h.now.Add(7*day - time.Minute)
	young := h.upload(w, 7)
	collect()
	h.holds("before a week", w, 5, 1337, 4, 4)
	h.now = h.now.Add(time.Hour)
	collect()
	h.holds("after a week", w, 3, 137, 4, 4)
	h.now = h.now.Add(day - 2*time.Hour)
	collect()
	h.holds("before another day", w, 3, 137, 4, 4)
	h.now = h.now.Add(3 * time.Hour)
	collect()
	h.holds("after another day", w, 3, 137, 3, 3)
	h.mark(w, young...) // in time
	h.now = h.now.Add(30 * day)
	collect()
	h.holds("later", w, 3, 137, 3, 3)
}

func TestCollectedBlocksNoLongerCountAgainstTheLimit(t *testing.T) {
	h := newHouse(t)
	w := h.CreateWorkspace(h.Admin).ID
	h.upload(w, 1000)
	_, s, err := h.Organizations.Stats(t.Context(), h.Org.Name())
	if err != nil {
		t.Fatal(err)
	}
	most := s.BlockBytes + s.ManifestBytes
	if _, err := h.Organizations.Set(t.Context(), h.Org.Name(), organization.Settings{Storage: &most}); err != nil {
		t.Fatal(err)
	}
	content := []byte("one more")
	header := pack.Header{Workspace: w, Blocks: []pack.Block{{ID: id.New[id.Block](), Length: uint32(len(content)), Digest: sha256.Sum256(content)}}}
	upload := func() error {
		return h.Blocks.Upload(t.Context(), h.Caller(h.Admin), header, bytes.NewReader(content))
	}
	servertest.Kind(t, "upload at the limit", upload(), fault.Full)
	h.now = h.now.Add(8 * day)
	h.look(h.runner(jobs.Blocks(h.Meta, h.Blobs, h.Now)))
	if err := upload(); err != nil {
		t.Error(err)
	}
}

func TestAnObjectThatCannotBeRemovedIsTriedAgainAndHoldsUpNoOther(t *testing.T) {
	for name, persisted := range map[string]bool{"failed and not removed": false, "failed but removed": true} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			w := h.CreateWorkspace(h.Admin).ID
			for range 3 {
				h.upload(w, 10)
			}
			store := faulty.New(h.Blobs)
			collect := jobs.Blocks(h.Meta, store, h.Now)
			h.now = h.now.Add(8 * day)
			h.look(h.runner(collect))
			h.now = h.now.Add(2 * day)
			store.Inject(faulty.Delete, faulty.Fault{Err: fault.Errorf(fault.Unreachable, "away"), Persisted: persisted, Times: 1})
			servertest.Kind(t, "collect", h.runner(collect).Look(t.Context()), fault.Unreachable)
			objects := 1
			if persisted {
				objects = 0
			}
			h.holds("after the failure", w, 0, 0, 1, objects)
			// It is due at once, since it was not done.
			h.look(h.runner(collect))
			h.holds("at the next look", w, 0, 0, 0, 0)
		})
	}
}

func TestExpiredInvitationsGoAfterAWeek(t *testing.T) {
	h := newHouse(t)
	key, token := h.Caller(h.Admin).Key, meta.Token{1}
	if err := h.Meta.Write(t.Context(), func(tx meta.Tx) error {
		return tx.Invitations().Create(key, meta.Invitation{Token: token, State: meta.InvitationPending, Expires: h.now.UnixNano()})
	}); err != nil {
		t.Fatal(err)
	}
	there := func() bool {
		t.Helper()
		err := h.Meta.Read(t.Context(), func(tx meta.Tx) error { _, err := tx.Invitations().Lock(key, token); return err })
		if err != nil && !fault.Is(err, fault.NotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	for _, step := range []struct {
		later time.Duration
		want  bool
	}{{6 * day, true}, {2 * day, false}} {
		h.now = h.now.Add(step.later)
		h.look(h.runner(jobs.Invitations(h.Meta, h.Now)))
		if got := there(); got != step.want {
			t.Errorf("%v later: there %v, want %v", step.later, got, step.want)
		}
	}
}

func TestOfSeveralProcessesOneDoesAJobUntilItIsDueAgain(t *testing.T) {
	h := newHouse(t)
	var runs atomic.Int32
	job := jobs.Job{Name: "job", Every: time.Hour, Run: func(context.Context) error { runs.Add(1); return nil }}
	one, other := h.runner(job), h.runner(job)
	for step, want := range []int32{1, 1, 1, 2} {
		h.look(other)
		h.look(one)
		if got := runs.Load(); got != want {
			t.Errorf("after %d times 20 min it was done %d times, want %d", step, got, want)
		}
		h.now = h.now.Add(20 * time.Minute)
	}
}

func TestAProcessThatIsGoneIsReplacedWhenItsLeaseEnds(t *testing.T) {
	h := newHouse(t)
	begun, killed := make(chan struct{}), make(chan struct{})
	// The victim's lease is not prolonged meanwhile: the test's clock, by which
	// leases end, runs ahead of the one by which they are prolonged.
	ctx, cancel := context.WithCancel(t.Context())
	var gone error
	var running sync.WaitGroup
	victim := h.runner(jobs.Job{Name: "job", Every: time.Hour, Run: func(context.Context) error {
		close(begun)
		<-killed
		return errors.New("killed")
	}})
	running.Go(func() { gone = victim.Look(ctx) })
	<-begun
	var runs atomic.Int32
	other := h.runner(jobs.Job{Name: "job", Every: time.Hour, Run: func(context.Context) error { runs.Add(1); return nil }})
	h.look(other)
	if runs.Load() != 0 {
		t.Error("two processes are at it")
	}
	h.now = h.now.Add(3 * time.Minute)
	h.look(other)
	if runs.Load() != 1 {
		t.Error("nobody goes on")
	}
	cancel()
	close(killed)
	running.Wait()
	if gone == nil {
		t.Error("the job did not fail")
	}
	// What the old one says in the end changes nothing.
	h.look(other)
	if runs.Load() != 1 {
		t.Error("it was done again")
	}
}

func TestAJobThatFailedIsDoneAgainAndTold(t *testing.T) {
	h := newHouse(t)
	err := fault.Errorf(fault.Full, "no room")
	told := told{}
	r := jobs.New(h.Meta, slog.New(slog.DiscardHandler), jobs.Config{Now: h.Now, Observer: told},
		jobs.Job{Name: "job", Every: time.Hour, Run: func(context.Context) error { return err }})
	servertest.Kind(t, "the first time", r.Look(t.Context()), fault.Full)
	err = nil
	h.look(r)
	h.look(r)
	if told["job no room left"] != 1 || told["job ok"] != 1 {
		t.Errorf("told: %v", told)
	}
}

// told counts what an observer was told.
type told map[string]int

// Job implements [jobs.Observer].
func (m told) Job(name, outcome string, _ time.Duration) { m[name+" "+outcome]++ }
