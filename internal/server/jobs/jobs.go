// Package jobs does what no request waits for: it collects what uploads and
// invitations left behind, and removes what the operator deleted.
//
// Of several processes over one database one does a job at a time. It has a
// lease in the database, which it prolongs while it works; the lease of a
// process that was killed ends by itself, and another goes on. Leases save
// work and keep nothing safe: where the clocks of processes differ, two may do
// a job at once. So each job is made of steps that may be repeated, and that
// leave everything in order wherever they are broken off.
package jobs

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

// Job is something to do again and again.
type Job struct {
	// Name is unique, and the same in all processes.
	Name string
	// Every is how long after it was done it is due again; 0 for at each look.
	Every time.Duration
	// Run does it. It is called again where it failed.
	Run func(ctx context.Context) error
}

// Config is how a runner works. A zero field means the default beside it.
type Config struct {
	// Look is the time between two looks for what is due; default 30 s.
	Look time.Duration
	// Lease is how long the others wait for a process that does not prolong
	// its lease; default 2 min.
	Lease time.Duration
	// Now is the server's clock; default time.Now.
	Now func() time.Time
	// Observer is told of each job that was done, or failed; it may be nil.
	Observer Observer
}

// Observer is told of jobs.
type Observer interface {
	// Job tells a job's name, the kind of its failure or "ok", and how long it took.
	Job(name, outcome string, took time.Duration)
}

// Runner does the jobs of one process.
type Runner struct {
	store meta.Store
	log   *slog.Logger
	jobs  []Job
	cfg   Config
	me    id.Process
	wake  map[string]chan struct{} // by the name of a job
}

// New returns a runner over a store, which is a process of its own to others.
func New(store meta.Store, log *slog.Logger, c Config, jobs ...Job) *Runner {
	if c.Look == 0 {
		c.Look = 30 * time.Second
	}
	if c.Lease == 0 {
		c.Lease = 2 * time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	r := &Runner{store: store, log: log, jobs: jobs, cfg: c, me: id.New[id.Process](), wake: make(map[string]chan struct{})}
	for _, j := range jobs {
		r.wake[j.Name] = make(chan struct{}, 1)
	}
	return r
}

// Wake has a job looked at now. Where another process is at it, that goes on,
// and this one looks again in time.
func (r *Runner) Wake(job string) {
	select {
	case r.wake[job] <- struct{}{}:
	default: // it is to be looked at already
	}
}

// Run does what is due until the context ends. It fails in no way; a job that
// fails is logged, and done again at the next look.
func (r *Runner) Run(ctx context.Context) error {
	var group errgroup.Group
	for _, j := range r.jobs {
		group.Go(func() error {
			look := time.NewTicker(r.cfg.Look)
			defer look.Stop()
			failing := false
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-look.C:
				case <-r.wake[j.Name]:
				}
				err := r.do(ctx, j)
				if err != nil && !failing && ctx.Err() == nil {
					r.log.WarnContext(ctx, "a job failed and is tried again", "job", j.Name, "error", err)
				}
				failing = err != nil
			}
		})
	}
	return group.Wait()
}

// Look does what is due now, one after the other.
func (r *Runner) Look(ctx context.Context) error {
	var errs []error
	for _, j := range r.jobs {
		errs = append(errs, r.do(ctx, j))
	}
	return errors.Join(errs...)
}

// do does a job, if it is due and no other process is at it.
func (r *Runner) do(ctx context.Context, j Job) error {
	mine, err := r.take(ctx, j)
	if err != nil || !mine {
		return err
	}
	began, clock := r.cfg.Now(), time.Now()
	err = r.hold(ctx, j)
	if r.cfg.Observer != nil && ctx.Err() == nil {
		outcome := "ok"
		if err != nil {
			outcome = fault.KindOf(err).String()
		}
		r.cfg.Observer.Job(j.Name, outcome, time.Since(clock))
	}
	done := began.UnixNano()
	if err != nil {
		done = 0
	}
	// Also where the server is stopping: else the others wait for the lease.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Lease)
	defer cancel()
	ended := r.store.Write(ctx, func(tx meta.Tx) error { return tx.Turns().Done(j.Name, r.me, done) })
	if fault.Is(ended, fault.NotFound) { // another has taken it over, and will end it
		ended = nil
	}
	return errors.Join(err, ended)
}

// take takes or prolongs the lease of a job that is due.
func (r *Runner) take(ctx context.Context, j Job) (mine bool, err error) {
	now := r.cfg.Now()
	turn := meta.Turn{Job: j.Name, Holder: r.me, Until: now.Add(r.cfg.Lease).UnixNano()}
	err = r.store.Write(ctx, func(tx meta.Tx) (err error) {
		mine, err = tx.Turns().Take(turn, now.UnixNano(), now.Add(-j.Every).UnixNano())
		return err
	})
	return mine, err
}

// hold does a job and prolongs its lease meanwhile. Where that does not
// succeed, the job ends: another process may be at it.
func (r *Runner) hold(ctx context.Context, j Job) error {
	group, ctx := errgroup.WithContext(ctx)
	done := make(chan struct{})
	group.Go(func() error {
		defer close(done)
		return j.Run(ctx)
	})
	group.Go(func() error {
		prolong := time.NewTicker(r.cfg.Lease / 3)
		defer prolong.Stop()
		for {
			select {
			case <-done:
				return nil
			case <-prolong.C:
			}
			mine, err := r.take(ctx, j)
			if err == nil && !mine {
				err = fault.Errorf(fault.Busy, "another server has taken the job over")
			}
			if err != nil {
				return err
			}
		}
	})
	return group.Wait()
}
