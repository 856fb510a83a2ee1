package redundant

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"golang.org/x/sync/errgroup"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

// The kinds of jobs; of each there is one at most.
const (
	jobScrub = "scrub"
	jobDrain = "drain"
)

// Found is what a scrub has found in one store.
type Found struct {
	// Parts and Bytes are good.
	Parts, Bytes int64
	// Lost parts are not there, Rotten ones are wrong, and for Unreachable
	// ones the store did not answer.
	Lost, Rotten, Unreachable int64
	// Repaired are those of the lost and rotten ones that are good again.
	Repaired int64
}

// Job is work on all packs that goes on beside everything else, and over
// restarts. Its text form is kept in the database.
type Job struct {
	Kind string
	// Store is the one that is emptied, and Into the one that takes its place,
	// if there is one.
	Store, Into meta.StoreID `json:",omitempty"`
	// Repair says that a scrub mends what it finds.
	Repair bool
	// Rate is in bytes a second, and 0 as fast as it goes.
	Rate int64
	// Started and Finished are in nanoseconds since the Unix epoch; Finished is
	// 0 while it goes on.
	Started, Finished int64
	// Packs and Bytes have been looked at.
	Packs, Bytes int64
	// Failed is how many packs cannot be read any more, or could not be moved.
	Failed int64
	// Problem is what failed last.
	Problem string
	// Found is what a scrub found.
	Found map[meta.StoreID]*Found `json:",omitempty"`

	// After is up to where it has come, in its round of Round.
	After []byte
	Round int
	// Owner works on it until Until, in nanoseconds since the Unix epoch,
	// unless it says so again.
	Owner string
	Until int64
}

// lease is how long a job belongs to a process that says nothing.
const lease = 30 * time.Second

// saved is how often progress is noted.
const saved = 2 * time.Second

// job reads a job; nil where there never was one.
func (s *Store) job(ctx context.Context, kind string) (j *Job, raw []byte, err error) {
	err = s.rows.Read(ctx, func(tx meta.Tx) error {
		raw, err = tx.ObjectStores().Job(kind)
		return err
	})
	if err != nil || raw == nil {
		return nil, nil, err
	}
	j = new(Job)
	if err := json.Unmarshal(raw, j); err != nil {
		return nil, raw, fault.Errorf(fault.Failed, "read job %s: %w", kind, err)
	}
	return j, raw, nil
}

// note writes down a job in place of what was there, and fails with stale
// where that is another one.
func (s *Store) note(ctx context.Context, was []byte, j *Job) (raw []byte, err error) {
	if raw, err = json.Marshal(j); err != nil || bytes.Equal(was, raw) {
		return raw, err
	}
	return raw, s.rows.Write(ctx, func(tx meta.Tx) error { return tx.ObjectStores().SetJob(j.Kind, was, raw) })
}

// beginJob writes down a new job, unless one of its kind goes on, which decide
// may change.
func (s *Store) beginJob(ctx context.Context, j *Job, decide func(on *Job) error) error {
	for {
		on, raw, err := s.job(ctx, j.Kind)
		if err != nil {
			return err
		}
		if on != nil && on.Finished == 0 {
			if err := decide(on); err != nil {
				return err
			}
		} else {
			j.Started = s.c.Now().UnixNano()
			on = j
		}
		if _, err = s.note(ctx, raw, on); !fault.Is(err, fault.Stale) {
			select {
			case s.wake <- struct{}{}:
			default:
			}
			return err
		}
	}
}

// work looks up the stores and does what jobs there are, until ctx ends.
func (s *Store) work(ctx context.Context) {
	ticker := time.NewTicker(s.c.Poll)
	defer ticker.Stop()
	var said string
	for {
		err := s.Refresh(ctx)
		if strange := s.strange(ctx); strange != nil {
			err = strange
		}
		for _, kind := range []string{jobScrub, jobDrain} {
			if failed := s.workOn(ctx, kind); failed != nil {
				err = failed
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && err.Error() != said { // once is enough
			s.c.Log.WarnContext(ctx, "work on the stores waits", "error", err)
			said = err.Error()
		} else if err == nil {
			said = ""
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.wake:
		}
	}
}

// strange asks the stores of which it is not known whether they are what they
// were, and says which is not.
func (s *Store) strange(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.c.Rest)
	defer cancel()
	var all errgroup.Group
	for _, m := range s.everyone() {
		if row, known := m.identity(); known || row.State == meta.StoreRetired {
			continue
		}
		all.Go(func() error {
			_, err := m.Store.Size(ctx, markerKey())
			return m.named(err)
		})
	}
	return all.Wait()
}

// workOn does a job, if there is one and nobody else does it.
func (s *Store) workOn(ctx context.Context, kind string) error {
	j, raw, err := s.job(ctx, kind)
	now := s.c.Now()
	if err != nil || j == nil || j.Finished != 0 || j.Owner != s.owner && now.UnixNano() < j.Until {
		return err
	}
	w := &worker{s: s, j: j, raw: raw, began: now}
	if err := w.save(ctx); fault.Is(err, fault.Stale) {
		return nil // somebody else was faster
	} else if err != nil {
		return err
	}
	if kind == jobScrub {
		err = w.rounds(ctx, 1, w.scrubPack, func(context.Context) error { return nil })
	} else {
		err = w.rounds(ctx, 2, w.moveOut, w.retire)
	}
	if fault.Is(err, fault.Stale) {
		return nil // it was changed, or is somebody else's: it is looked up again
	}
	if err != nil { // whoever tries next need not wait
		w.done = true
		_ = w.save(context.WithoutCancel(ctx))
	}
	return err
}

// worker does a job.
type worker struct {
	s     *Store
	j     *Job
	raw   []byte
	began time.Time // of this stretch of work
	moved int64     // bytes in it
	noted time.Time
	done  bool // and it belongs to nobody any more
}

// save notes how far the job is, and that it goes on being this process's.
func (w *worker) save(ctx context.Context) (err error) {
	w.noted = w.s.c.Now()
	w.j.Owner, w.j.Until = w.s.owner, w.noted.Add(lease).UnixNano()
	if w.done {
		w.j.Owner, w.j.Until = "", 0
	}
	w.raw, err = w.s.note(ctx, w.raw, w.j)
	return err
}

// rounds does something to every pack, so many times, and what is to be done
// at the end, and ends the job.
func (w *worker) rounds(ctx context.Context, rounds int, each func(context.Context, meta.Placement) (int64, error), end func(context.Context) error) error {
	for ; w.j.Round < rounds; w.j.Round++ {
		if w.j.Round > 0 && len(w.j.After) == 0 {
			w.j.Packs, w.j.Bytes, w.j.Failed = 0, 0, 0
			// What other processes were doing by the old state of the stores is done.
			if err := wait(ctx, 2*w.s.c.Poll); err != nil {
				return err
			}
		}
		for {
			page, err := w.s.page(ctx, keyOf(w.j.After))
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			for _, row := range page {
				n, err := each(ctx, row)
				if err != nil {
					return err
				}
				if err := w.went(ctx, row, n); err != nil {
					return err
				}
			}
		}
		w.j.After = nil
	}
	if err := end(ctx); err != nil {
		return err
	}
	w.j.Finished, w.done = w.s.c.Now().UnixNano(), true
	return w.save(ctx)
}

// went counts a pack, and waits where it went too fast.
func (w *worker) went(ctx context.Context, row meta.Placement, n int64) error {
	w.j.After = bytes.Join([][]byte{row.Key.Organization[:], row.Key.Workspace[:], row.Key.Pack[:]}, nil)
	w.j.Packs++
	w.j.Bytes += n
	w.moved += n
	for {
		if w.s.c.Now().Sub(w.noted) >= saved {
			if err := w.save(ctx); err != nil {
				return err
			}
		}
		if w.j.Rate <= 0 {
			return ctx.Err()
		}
		ahead := time.Duration(float64(w.moved)/float64(w.j.Rate)*float64(time.Second)) - w.s.c.Now().Sub(w.began)
		if ahead <= 0 {
			return ctx.Err()
		}
		if err := wait(ctx, min(ahead, saved)); err != nil {
			return err
		}
	}
}

func keyOf(after []byte) (key meta.PackKey) {
	if len(after) == len(key.Organization)+len(key.Workspace)+len(key.Pack) {
		copy(key.Organization[:], after)
		copy(key.Workspace[:], after[len(key.Organization):])
		copy(key.Pack[:], after[len(key.Organization)+len(key.Workspace):])
	}
	return key
}

// wait waits, unless ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fault.Errorf(fault.Canceled, "%w", ctx.Err())
	}
}

// fails notes that something of a pack failed, and says so.
func (w *worker) fails(ctx context.Context, p id.Pack, err error) {
	w.j.Problem = err.Error()
	w.s.c.Log.WarnContext(ctx, w.j.Kind, "pack", p, "error", err)
}

// Run queues what reads have noticed, and does the jobs that were begun, until
// ctx ends. Several processes may do so at once: a job is one process's at a
// time.
func (s *Store) Run(ctx context.Context) error {
	var all errgroup.Group
	all.Go(func() error { return s.tend(ctx) })
	all.Go(func() error { s.work(ctx); return nil })
	return all.Wait()
}
