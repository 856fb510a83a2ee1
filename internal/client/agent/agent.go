// Package agent is the process that holds an unlocked device. Whoever holds a
// device serves its socket, be it `parsec agent` or a command that runs for a
// second: other commands of the same person join that process instead of opening
// the device a second time, and run there, on the same session. So there is
// one implementation of each operation, and two processes never write the
// local state against each other.
//
// The package knows neither the command line nor the screen: what a command
// does is given to it as a function.
//
// Invariants:
//   - Commands run side by side; the session orders what changes it.
//   - The device is given back only when no work is in flight, and the socket is
//     gone before the lock is.
//   - Whoever joins needs no password: the device is open, and the socket is its
//     owner's alone.
package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"parsec/internal/client/device"
	"parsec/internal/client/home"
	"parsec/internal/client/session"
	"parsec/internal/client/socket"
)

// stopTime is how long an agent that is told to stop lets commands go on that
// other processes gave it, before it breaks them off.
const stopTime = 10 * time.Second

// Config is how a device is held.
type Config struct {
	// Stays says that the process holds the device until it is told to stop.
	Stays bool
	// Short is where a private folder for the socket is made if the device's own
	// has too long a path.
	Short string
	// Run runs a command that another process gave, and returns its exit status.
	Run func(context.Context, *Agent, *socket.Call) int
}

// Agent holds a device.
type Agent struct {
	held *session.Held
	cfg  Config
	who  home.Holder

	server *socket.Server // nil where other processes cannot join
	// cancel breaks off what other processes have begun.
	cancel  context.CancelFunc
	serving sync.WaitGroup
	failed  error // written before serving is done

	stopping chan struct{} // closed when the agent is told to stop
	stop     func()
}

// Open opens a device of a home, and serves its socket.
func Open(ctx context.Context, p session.Place, f device.Found, l device.Lock, cfg Config) (*Agent, error) {
	p.Holder.Serves, p.Holder.Stays = socket.CanJoin, cfg.Stays
	held, err := p.Open(ctx, f, l)
	if err != nil {
		return nil, err
	}
	a := &Agent{held: held, cfg: cfg, who: p.Holder, cancel: func() {}, stopping: make(chan struct{})}
	a.stop = sync.OnceFunc(func() { close(a.stopping) })
	if !socket.CanJoin {
		return a, nil
	}
	if a.server, err = socket.Listen(held.Folder(), cfg.Short); err != nil {
		return nil, errors.Join(err, held.Abandon())
	}
	a.serve(ctx)
	return a, nil
}

// serve answers on the socket until [Agent.Close]. The end of this process' own
// work does not end that of others.
func (a *Agent) serve(ctx context.Context) {
	ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.serving.Go(func() {
		a.failed = a.server.Serve(ctx, socket.Handlers{
			Command: func(ctx context.Context, c *socket.Call) int { return a.cfg.Run(ctx, a, c) },
			API:     a.api(),
		})
	})
}

// Held returns the session and the claim to its device, for work within
// [Agent.Do].
func (a *Agent) Held() *session.Held { return a.held }

// Do brings the session up to date and calls act.
func (a *Agent) Do(ctx context.Context, act func(context.Context, *session.Session) error) error {
	if err := a.held.Sync(ctx); err != nil {
		return err
	}
	return act(ctx, a.held.Session)
}

// Publish tells the user's other devices what was verified, if that is due. A
// process that ends does so by [Agent.Close].
func (a *Agent) Publish(ctx context.Context) error { return a.held.Publish(ctx) }

// Stay holds the device until the context ends or somebody tells the agent to
// stop.
func (a *Agent) Stay(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-a.stopping:
	}
}

// Others returns how many calls of other processes are in flight.
func (a *Agent) Others() int {
	if a.server == nil {
		return 0
	}
	return a.server.Calls()
}

// Drain waits until no other process has work in flight here, and then lets
// nobody join any more. An agent that was told to stop waits only so long.
func (a *Agent) Drain() error {
	if a.server == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if a.cfg.Stays {
		ctx, cancel = context.WithTimeout(ctx, stopTime)
		defer cancel()
	}
	a.server.Drain(ctx)
	a.cancel()
	a.serving.Wait()
	return a.failed
}

// Close gives the device back, once nobody else has work in flight. What was
// verified is told to the user's other devices until the context ends.
func (a *Agent) Close(ctx context.Context) error {
	err := a.Drain()
	return errors.Join(err, a.held.Close(ctx))
}
