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
	"parsec/internal/client/disk"
	"parsec/internal/client/filesystem"
	"parsec/internal/client/home"
	"parsec/internal/client/session"
	"parsec/internal/client/socket"
	"parsec/internal/client/syncer"
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

	mu sync.Mutex
	// mu guards what is synced, which is opened when it is first asked for.
	syncing *syncer.Device
	// running waits for the syncing of an agent that stays, which quit ends.
	running sync.WaitGroup
	quit    context.CancelFunc

	// faces are what shows the workspaces; ended says that there will be no more.
	faces   map[Face]bool
	ended   bool
	keeping sync.WaitGroup

	server *socket.Server // nil where other processes cannot join
	// cancel breaks off what other processes have begun.
	cancel  context.CancelFunc
	serving sync.WaitGroup
	failed  error // written before serving is done

	stopping chan struct{} // closed when the agent is told to stop
	stop     func()
	ending   chan struct{} // closed when it begins to end: who only watches goes
	end      func()
}

// Open opens a device of a home, and serves its socket.
func Open(ctx context.Context, p session.Place, f device.Found, l device.Lock, cfg Config) (*Agent, error) {
	p.Holder.Serves, p.Holder.Stays = socket.CanJoin, cfg.Stays
	held, err := p.Open(ctx, f, l)
	if err != nil {
		return nil, err
	}
	a := &Agent{held: held, cfg: cfg, who: p.Holder, cancel: func() {}, stopping: make(chan struct{}), ending: make(chan struct{})}
	a.stop = sync.OnceFunc(func() { close(a.stopping) })
	a.end = sync.OnceFunc(func() { close(a.ending) })
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

// Syncing returns the workspaces of the device with the work that is not
// committed. An agent that stays keeps them in sync from then on; in any other
// process that is up to the caller.
func (a *Agent) Syncing(ctx context.Context) (*syncer.Device, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.syncing != nil {
		return a.syncing, nil
	}
	d, err := syncer.OpenDevice(ctx, a.held.Session, syncer.DeviceConfig{
		Folder: a.held.Folder(), Files: filesystem.Config{Space: a.space},
	})
	if err != nil {
		return nil, err
	}
	a.syncing = d
	if a.cfg.Stays {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		a.quit = cancel
		a.running.Go(func() { _ = d.Run(ctx) }) // it only ends with its context
		a.running.Go(func() { a.publish(ctx) })
	}
	return d, nil
}

// space returns how much room there is for what is written: what is not on the
// server yet lies on the own disk.
func (a *Agent) space(context.Context) (filesystem.Space, error) {
	total, free, err := disk.Space(a.held.Folder())
	return filesystem.Space{Total: total, Free: free}, err
}

// publishEvery is how often an agent tells the user's other devices what it
// verified, should nothing else have done so.
const publishEvery = time.Hour

// publish tells the user's other devices from time to time what was verified.
func (a *Agent) publish(ctx context.Context) {
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = a.held.Publish(ctx) // what fails is done the next time
		}
	}
}

// endSyncing ends what [Agent.Syncing] began, and makes all work durable.
func (a *Agent) endSyncing() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.syncing == nil {
		return nil
	}
	if a.quit != nil {
		a.quit()
	}
	a.running.Wait()
	d := a.syncing
	a.syncing = nil
	return d.Close()
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

// Stays reports whether the process holds the device until it is told to stop.
func (a *Agent) Stays() bool { return a.cfg.Stays }

// Stay holds the device until the context ends or somebody tells the agent to
// stop.
func (a *Agent) Stay(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-a.stopping:
	}
}

// Stopping is closed when somebody has told the agent to stop.
func (a *Agent) Stopping() <-chan struct{} { return a.stopping }

// Others returns how many calls of other processes are in flight.
func (a *Agent) Others() int {
	if a.server == nil {
		return 0
	}
	return a.server.Calls()
}

// Drain ends the faces, waits until no other process has work in flight here, and
// then lets nobody join any more, and ends the syncing. An agent that was told to
// stop waits only so long.
func (a *Agent) Drain() error {
	a.end()
	return errors.Join(a.endFaces(), a.drain(), a.endSyncing())
}

func (a *Agent) drain() error {
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
