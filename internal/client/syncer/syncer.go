// Package syncer keeps what this device shows of a workspace and what the server
// has the same: it pulls when the server says that something moved, and pushes
// work of the overlay once it has settled. It decides when, in which order, and
// what becomes of what fails; how two changes become one is package merge's.
//
// Invariants:
//   - Work leaves the overlay only once its record stands in the verified log.
//     Whether it does is asked of the log, never guessed from a broken answer.
//   - What one entry or one file cannot do keeps no other from going.
//   - Every reason to stop is looked at again by itself, with growing pauses, and
//     at once when the server is heard.
//   - Content moves outside of the session's lock.
package syncer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/content"
	"parsec/internal/client/edit"
	"parsec/internal/client/merge"
	"parsec/internal/client/mirror"
	"parsec/internal/client/overlay"
	"parsec/internal/client/transfer"
	"parsec/internal/client/workspace"
	"parsec/internal/format/record"
)

// Config is how a syncer works. A zero field means the default beside it.
type Config struct {
	Transfer transfer.Config
	// Limits bound one commit; 1,000 operations, 256 MiB, 4,096 blocks.
	Limits overlay.Limits
	// FirstPause and MostPause bound the time until what failed is tried again;
	// 1 s and 5 min.
	FirstPause, MostPause time.Duration
	// Idle is how long nothing may happen before it is looked whether something
	// is due; 1 h.
	Idle time.Duration
	// Eager is how many entries a workspace may have that is fetched as a whole when
	// it is first used; see [mirror.Mirror].
	Eager int
	// Stirred is told that what [Syncer.Status] says may have changed. It does not
	// wait; nil for nobody.
	Stirred func()
}

func (c Config) withDefaults() Config {
	orDefault(&c.Limits.Ops, 1000)
	orDefault(&c.Limits.Bytes, 256<<20)
	orDefault(&c.Limits.Blocks, 4096)
	orDefault(&c.FirstPause, time.Second)
	orDefault(&c.MostPause, 5*time.Minute)
	orDefault(&c.Idle, time.Hour)
	if c.Stirred == nil {
		c.Stirred = func() {}
	}
	return c
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Syncer syncs one workspace. Its methods may be called from many goroutines.
type Syncer struct {
	cfg     Config
	ws      *workspace.Workspace
	editor  *edit.Editor
	over    *overlay.Overlay
	store   content.Server
	content *content.Reader
	// heard receives when the server said something.
	heard chan struct{}

	// working is held by who pushes; it guards what follows.
	working chan struct{}
	// limits are smaller after a commit was too large.
	limits overlay.Limits

	// What follows changes in the session's exclusive work only.
	//
	// told is up to which index of the log the overlay knows what moved.
	told uint64
	// own is the newest record that did no more than what the overlay showed
	// before: nobody is to be told of it.
	own record.Digest

	mu sync.Mutex
	// mu guards what follows.
	state     State
	since     time.Time
	err       error
	conflicts int
}

// New returns the syncer of a workspace that is open: its verified tree, the work
// over it, and where blocks go.
func New(t *mirror.Mirror, over *overlay.Overlay, store content.Server, reader *content.Reader, cfg Config) *Syncer {
	s := &Syncer{
		cfg: cfg.withDefaults(), ws: t.Workspace(), editor: edit.New(t), over: over, store: store, content: reader,
		heard: make(chan struct{}, 1), working: make(chan struct{}, 1),
		told: t.Workspace().Log().Position().Index, state: Pending, since: over.Now(),
	}
	s.limits = s.cfg.Limits
	return s
}

// Workspace returns the workspace that is synced.
func (s *Syncer) Workspace() *workspace.Workspace { return s.ws }

// ID returns the workspace's id.
func (s *Syncer) ID() id.Workspace { return s.ws.ID() }

// Name returns the workspace's name.
func (s *Syncer) Name() string { return s.ws.Name() }

// MayWrite fails where the own user may not change the workspace.
func (s *Syncer) MayWrite() error { return s.ws.MayWrite() }

// Mirror returns the verified tree.
func (s *Syncer) Mirror() *mirror.Mirror { return s.editor.Mirror }

// Overlay returns the tree with the work that is not committed.
func (s *Syncer) Overlay() *overlay.Overlay { return s.over }

// Author returns who wrote the newest committed version of an entry, as e-mail
// address and device; "" where none is.
func (s *Syncer) Author(ctx context.Context, e id.Entry) (string, error) {
	chains, err := s.editor.Chains(ctx, []id.Entry{e})
	if err != nil || len(chains[0]) == 0 {
		return "", err
	}
	return s.ws.Session().AuthorOf(chains[0][len(chains[0])-1].Author), nil
}

// Heard says that the server said something of this workspace, or can be reached
// again.
func (s *Syncer) Heard() {
	select {
	case s.heard <- struct{}{}:
	default:
	}
}

// Run syncs until the context ends. What fails is in [Syncer.Status] and tried
// again.
func (s *Syncer) Run(ctx context.Context) error {
	what, failures := everything, 0
	for {
		begun := s.over.Now()
		if err := s.cycle(ctx, what, false); err == nil {
			failures = 0
			s.yield(ctx, s.over.Now().Sub(begun))
		} else {
			failures++
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		what = s.wait(ctx, failures)
		if what == theLog {
			failures = 0
		}
	}
}

// scope is how much a cycle looks at.
type scope int

const (
	// theRest: a part of a very large tree that nobody has asked for, and what is to
	// be pushed before.
	theRest scope = iota
	// theWork: only what is to be pushed.
	theWork
	// theLog: also what the server has of the workspace.
	theLog
	// everything: also what it has of the organization.
	everything
)

// wait waits until there is something to do, and returns what.
func (s *Syncer) wait(ctx context.Context, failures int) scope {
	for {
		pause, changed, then, begun := s.cfg.Idle, s.over.Changed(), everything, s.over.Now()
		if failures > 0 {
			most := min(s.cfg.FirstPause<<min(failures-1, 20), s.cfg.MostPause)
			pause, changed = most/2+rand.N(most/2+1), nil
		} else if at, ok := s.over.NextSettled(); ok {
			pause, then = max(0, at.Sub(s.over.Now())), theWork
		}
		if failures == 0 && s.editor.Partial() {
			pause, then = 0, theRest
		}
		timer, looked := time.NewTimer(pause), s.over.Now().Sub(begun)
		select {
		case <-ctx.Done():
			timer.Stop()
			return theWork
		case <-timer.C:
			return then
		case <-s.heard:
			timer.Stop()
			return theLog
		case <-changed: // it may settle later, or earlier, than was waited for
			timer.Stop()
			s.cfg.Stirred()
			s.pause(ctx, min(lookShare*looked, mostPatience))
		}
	}
}

// While programs work, they have most of the machine.
const (
	// yieldShare is how many times as long as a batch took programs go on alone,
	// mostYield the longest time that they do, and quietTime how long they do
	// nothing when they are done.
	yieldShare = 2
	mostYield  = 2 * time.Second
	quietTime  = 50 * time.Millisecond
	// lookShare is how many times as long as a look at what waits it is not looked
	// again, mostPatience the longest time for that.
	lookShare    = 30
	mostPatience = 100 * time.Millisecond
)

// yield waits for a while after a batch, if work has settled meanwhile and programs
// go on: what they do soon becomes fewer and larger batches, or nothing, as with
// files that are removed again.
func (s *Syncer) yield(ctx context.Context, took time.Duration) {
	select {
	case <-s.over.Changed():
		s.cfg.Stirred()
	default:
		return
	}
	if at, ok := s.over.NextSettled(); !ok || at.After(s.over.Now()) {
		return
	}
	most := time.NewTimer(min(yieldShare*took, mostYield))
	defer most.Stop()
	for {
		quiet := time.NewTimer(quietTime)
		select {
		case <-s.over.Changed():
			quiet.Stop()
			s.cfg.Stirred()
			continue
		case <-s.heard:
			s.Heard()
		case <-quiet.C:
		case <-most.C:
		case <-ctx.Done():
		}
		quiet.Stop()
		return
	}
}

// pause waits.
func (s *Syncer) pause(ctx context.Context, long time.Duration) {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Sync pulls, and pushes what has settled. It returns why not all of it went.
func (s *Syncer) Sync(ctx context.Context) error { return s.cycle(ctx, everything, true) }

// Push sends what was done until now, but for files that are being written to. It
// returns why not all of it went; what one entry cannot do is told by
// [Syncer.Status].
func (s *Syncer) Push(ctx context.Context) error {
	s.over.Hurry()
	return s.cycle(ctx, theWork, true)
}

// cycle pulls as much as it is told to, and pushes all that has settled, or one batch
// of it.
func (s *Syncer) cycle(ctx context.Context, what scope, all bool) error {
	select {
	case s.working <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.working }()
	err := error(nil)
	if what > theWork {
		err = s.pull(ctx, what)
	}
	if err == nil {
		err = s.settle(ctx)
	}
	if err == nil {
		err = s.push(ctx, all)
	}
	if err == nil {
		err = s.tidy(ctx)
	}
	if err == nil && what == theRest {
		_, err = s.editor.FetchMore(ctx, restAtOnce)
	}
	s.note(err)
	return err
}

// restAtOnce is how many messages of the rest of a very large tree are fetched
// before it is looked whether there is something else to do.
const restAtOnce = 8

// spare is how much a journal may hold of which nothing is needed before it is
// made smaller: to do so costs a few syncs.
const spare = 8 << 20

// tidy frees what the journal holds in vain, if that is much.
func (s *Syncer) tidy(ctx context.Context) error {
	if size, _ := s.over.Held(); size < spare && s.over.Pending() == 0 {
		return nil
	}
	return s.over.Compact(ctx)
}

// Finish syncs until nothing is left to do, or until what is left cannot go now;
// then it returns why.
func (s *Syncer) Finish(ctx context.Context) error {
	for {
		if err := s.Sync(ctx); err != nil {
			return err
		}
		at, waits := s.over.NextSettled()
		if !waits {
			return s.complete(ctx)
		}
		pause := at.Sub(s.over.Now())
		if pause > patience {
			return s.unfinished()
		}
		timer := time.NewTimer(max(0, pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// complete fetches what is not here of the tree, and returns why work is left, nil
// if none is.
func (s *Syncer) complete(ctx context.Context) error {
	if err := s.editor.Finish(ctx); err != nil {
		return fmt.Errorf("sync workspace %q: %w", s.ws.Name(), err)
	}
	s.cfg.Stirred()
	return s.unfinished()
}

// patience is how long [Syncer.Finish] waits for work to settle: longer than a
// write takes to, and shorter than what was refused.
const patience = 5 * time.Second

// unfinished returns why work is left, nil if none is.
func (s *Syncer) unfinished() error {
	n := s.over.Pending()
	if n == 0 {
		return nil
	}
	for _, p := range s.over.Problems() {
		return fmt.Errorf("sync workspace %q: %q waits: %w", s.ws.Name(), p.Place.Name, p.Err)
	}
	return fault.WithHint(fault.Errorf(fault.Failed, "sync workspace %q: files are being written to", s.ws.Name()), "they are sent from time to time while they are")
}

// note notes how a cycle ended.
func (s *Syncer) note(err error) {
	pending := s.over.Pending()
	state := Synced
	switch {
	case err != nil:
		state = stateOf(s.ws, err, pending)
	case pending > 0:
		state = Pending
	}
	defer s.cfg.Stirred()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = err; s.state != state {
		s.state, s.since = state, s.over.Now()
	}
}

// pull brings the verified tree to where the server is, and tells the overlay.
func (s *Syncer) pull(ctx context.Context, what scope) error {
	if what == everything {
		if err := s.ws.Session().PullOrganization(ctx); err != nil {
			return err
		}
	}
	if err := s.ws.PullLog(ctx); err != nil {
		return err
	}
	return s.Follow(ctx)
}

// Follow brings the verified tree to where the verified log is, does what that
// says is due, and tells the overlay. It waits for nobody who pushes.
func (s *Syncer) Follow(ctx context.Context) error {
	if err := s.ws.Maintain(ctx); err != nil {
		return err
	}
	err := s.editor.Pull(ctx)
	if err == nil {
		err = s.Refresh(ctx)
	}
	if err != nil {
		s.over.Refresh() // what came before it failed is there, and is not shown as before
	}
	return err
}

// Refresh tells the overlay what has moved in the verified tree, whoever moved
// it.
func (s *Syncer) Refresh(ctx context.Context) error {
	return s.ws.Session().Exclusive(ctx, func(ctx context.Context) error {
		at := s.ws.Log().Position().Index
		if at == s.told {
			return nil
		}
		moved, mine, err := s.ws.Changed(ctx, s.told, s.own)
		if err != nil {
			return err
		}
		s.told = at
		if len(mine) > 0 {
			s.over.Settled(mine...)
		}
		if len(moved) > 0 {
			s.over.Refresh(moved...)
		}
		return nil
	})
}

// nothing stands for the record of a plan that changes nothing: there is none.
var nothing [32]byte

// settle finds out what became of a record that was sent and not answered, by
// this process or an earlier one.
func (s *Syncer) settle(ctx context.Context) error {
	b, digest, ok := s.over.Unsettled()
	if !ok {
		return nil
	}
	return s.ws.Session().Exclusive(ctx, func(ctx context.Context) (err error) {
		if err := s.ws.Session().Settle(ctx); err != nil {
			return err
		}
		if err := s.ws.PullLog(ctx); err != nil {
			return err
		}
		stands := digest == nothing // and so that is done
		if !stands {
			if stands, err = s.ws.Holds(ctx, record.Digest(digest)); err != nil {
				return err
			}
		}
		if !stands {
			return b.Release()
		}
		if err := s.editor.Pull(ctx); err != nil {
			return err
		}
		if err := b.Accept(); err != nil {
			return err
		}
		return s.Refresh(ctx)
	})
}

// push commits what has settled, a batch at a time, or one batch.
func (s *Syncer) push(ctx context.Context, all bool) error {
	for {
		if at, ok := s.over.NextSettled(); !ok || at.After(s.over.Now()) {
			return nil
		}
		if err := s.ws.MayWrite(); err != nil {
			return err
		}
		b, err := s.over.Take(s.limits)
		if err != nil || b == nil {
			return err
		}
		if err := s.try(ctx, b); err != nil || !all {
			return err
		}
	}
}

// try commits a batch. An error that concerns only what is in it does not end
// the pushing: the batch is tried in parts, and a part that cannot go waits.
func (s *Syncer) try(ctx context.Context, b *overlay.Batch) error {
	ops := b.Ops()
	err := s.commit(ctx, b)
	if err == nil {
		s.limits = overlay.Limits{
			Ops: min(2*s.limits.Ops, s.cfg.Limits.Ops), Bytes: min(2*s.limits.Bytes, s.cfg.Limits.Bytes), Blocks: min(2*s.limits.Blocks, s.cfg.Limits.Blocks),
		}
		return nil
	}
	if _, _, unsettled := s.over.Unsettled(); unsettled {
		return err
	}
	switch {
	case fault.PromiseOf(err) == transfer.PromiseStored && reused(b):
		b.Unstored()
		return b.Release()
	case fault.PromiseOf(err) == promiseLocal: // the overlay gave the entry up
		return b.Release()
	case !confined(err):
		return errors.Join(err, b.Release())
	case len(ops) > 1:
		s.limits.Ops = max(1, len(ops)/2)
		return b.Release()
	}
	reasons := map[id.Entry]error{}
	for _, op := range ops {
		reasons[entryOf(op)] = err
	}
	return b.Refuse(reasons)
}

// promiseLocal is what package overlay says of damage.
const promiseLocal = "local data is what this device wrote"

// confined reports whether an error may concern one entry alone.
func confined(err error) bool {
	switch fault.KindOf(err) {
	case fault.TooLarge, fault.Invalid, fault.NotFound, fault.Upgrade:
		return true
	}
	return fault.PromiseOf(err) == transfer.PromiseStored
}

// reused reports whether blocks were counted on that were stored before.
func reused(b *overlay.Batch) bool {
	for _, f := range b.Files() {
		if len(f.Stored) > 0 {
			return true
		}
	}
	return false
}

func entryOf(op merge.Op) id.Entry {
	switch op := op.(type) {
	case merge.Create:
		return op.Entry
	case merge.Write:
		return op.Entry
	case merge.Remove:
		return op.Entry
	case merge.Move:
		return op.Entry
	}
	return id.Entry{}
}

// commit uploads the contents of a batch and commits it. After an error the
// batch is still there, with an intent if nobody knows what became of it.
func (s *Syncer) commit(ctx context.Context, b *overlay.Batch) error {
	blocks, err := s.upload(ctx, b)
	if err != nil {
		return fmt.Errorf("sync workspace %q: %w", s.ws.Name(), err)
	}
	intended := false
	plan, err := s.editor.Commit(ctx, edit.Edit{
		Ops: b.Ops(), Base: b.Base(), Blocks: blocks, Modified: b.Times(), Same: s.same,
		Intend: func(digest record.Digest, plan *merge.Plan) error {
			intended = true
			if s.own = digest; len(plan.Notes) > 0 {
				s.own = record.Digest{}
			}
			return b.Intend(digest, plan)
		},
	})
	if err != nil {
		if intended {
			err = errors.Join(err, s.settle(ctx))
		}
		return err
	}
	if !intended { // nothing was left to be changed
		if err := b.Intend(nothing, plan); err != nil {
			return err
		}
	}
	if err := b.Accept(); err != nil {
		return err
	}
	s.count(plan.Notes)
	s.cfg.Stirred()
	if err := s.Refresh(ctx); err != nil {
		return err
	}
	return s.editor.Sweep(ctx, plan)
}

// count counts the copies that were made because others were first.
func (s *Syncer) count(notes []merge.Note) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range notes {
		if n.What == merge.Renamed || n.What == merge.Copied {
			s.conflicts++
		}
	}
}

// Status returns how the workspace stands.
func (s *Syncer) Status(ctx context.Context) Status {
	st := Status{ID: s.ws.ID(), Name: s.ws.Name(), Pending: s.over.Pending(), Complete: !s.ws.Behind() && !s.editor.Partial()}
	for _, p := range s.over.Problems() {
		st.Problems = append(st.Problems, Problem{Path: s.pathOf(ctx, p.Place), Reason: p.Err.Error()})
	}
	s.mu.Lock()
	st.State, st.Since, st.Conflicts = s.state, s.since, s.conflicts
	if s.err != nil {
		st.Reason, st.Hint = s.err.Error(), fault.HintOf(s.err)
	}
	s.mu.Unlock()
	switch st.State {
	case ReadOnly, Archived, Frozen, Revoked: // while others go on
		st.Problems = append(st.Problems, s.hidden(ctx)...)
	}
	if st.State == Synced && st.Pending > 0 {
		st.State = Pending
	}
	return st
}

// hidden returns the work that no name leads to, since others have moved or removed
// what it belongs to. Once it may go, it brings back what it needs.
func (s *Syncer) hidden(ctx context.Context) []Problem {
	var all []Problem
	for e, at := range s.over.Waiting() {
		if shown, err := s.shown(ctx, e); err == nil && !shown { // what cannot be told now is told later
			all = append(all, Problem{s.pathOf(ctx, at), "others have moved or removed it, or a folder above it; what was done here is kept, and shows again once it may be sent"})
		}
	}
	slices.SortFunc(all, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// shown reports whether names lead from the root to an entry.
func (s *Syncer) shown(ctx context.Context, e id.Entry) (bool, error) {
	for range maxDepth {
		if e == s.over.Root {
			return true, nil
		}
		at, ok, err := s.over.Parent(ctx, e)
		if err != nil || !ok {
			return false, err
		}
		// A name may lead to other work, which waits too.
		if c, there, err := s.over.Child(ctx, at.Folder, at.Name); err != nil || !there || c.Entry != e {
			return false, err
		}
		e = at.Folder
	}
	return false, nil
}

// maxDepth bounds the walk from a place to the root.
const maxDepth = 1000

// pathOf returns the path of a place, as far as it can be told.
func (s *Syncer) pathOf(ctx context.Context, at merge.Place) string {
	p := "/" + at.Name
	for range maxDepth {
		above, ok, err := s.over.Parent(ctx, at.Folder)
		if err != nil || !ok || above == (merge.Place{}) {
			break
		}
		p, at = "/"+above.Name+p, above
	}
	return p
}
