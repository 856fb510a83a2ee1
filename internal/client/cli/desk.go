package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/client/agent"
	"parsec/internal/client/files"
	"parsec/internal/client/filesystem"
	"parsec/internal/client/history"
	"parsec/internal/client/remote"
	"parsec/internal/client/syncer"
	"parsec/internal/client/workspace"
	"parsec/internal/cmdline"
)

// desk is what a command on files works at: the workspaces of the device, as this
// device shows them, brought up to date where the server answers.
type desk struct {
	r     *run
	agent *agent.Agent
	all   *syncer.Device
	// offline is why the server is not asked for more, nil where it answers.
	offline error
	// out is why the server refuses this device, nil where it does not.
	out error
	// shown are the workspaces that the command has named, by what it called them.
	shown map[string]*shown
}

// shown is a workspace as this device shows it.
type shown struct {
	*files.Local
	sync *syncer.Syncer
	// changed says that the command may have changed something in it.
	changed bool
	// tree commits past the local work; nil until somebody asks for it.
	tree *files.Tree
}

// The times that a command gives the server to show that it is there, before it
// goes on with what is on this device: the short one where an agent knows that it
// was away.
const (
	probeTime      = 5 * time.Second
	probeAgainTime = time.Second
)

// sendTime is how long a command waits until an agent, which may be sending much
// else, has sent what the command did.
const sendTime = 15 * time.Second

// onDesk calls act with a desk, and sends what it did.
func (r *run) onDesk(c *cobra.Command, act func(context.Context, *desk) error) error {
	return r.WithAgent(c, func(ctx context.Context, a *agent.Agent) error {
		all, err := a.Syncing(ctx)
		if err != nil {
			return err
		}
		d := &desk{r: r, agent: a, all: all, shown: map[string]*shown{}}
		if err := d.probe(ctx); err != nil {
			return err
		}
		err = act(ctx, d)
		if err == nil && len(d.shown) == 0 {
			err = d.out
		}
		return errors.Join(err, d.send(ctx, err))
	})
}

// probe finds out whether the server answers, and pulls the organization's log if
// so.
func (d *desk) probe(ctx context.Context) error {
	limit := probeTime
	if d.agent.Stays() && d.away(ctx) {
		limit = probeAgainTime
	}
	within, cancel := context.WithTimeoutCause(remote.Once(ctx), limit, fault.Errorf(fault.Unreachable, "the server did not answer for %v", limit))
	defer cancel()
	err := d.agent.Held().Sync(within)
	if err != nil && within.Err() != nil && ctx.Err() == nil && !fault.Is(err, fault.Integrity) {
		err = context.Cause(within)
	}
	if shutOut(err) {
		d.out = err // for each workspace that is asked for, unless work waits there
		return nil
	}
	return d.without(ctx, err)
}

// shutOut reports whether an error says that the user, or the device, may not
// come in any more.
func shutOut(err error) bool {
	return fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.Denied)
}

// left returns a workspace that the user was shut out of, in which work waits
// that was not sent: all that is here can still be copied out.
func (d *desk) left(ctx context.Context, name string, why error) (*syncer.Syncer, error) {
	s, err := d.all.Find(name)
	if err != nil || s.Overlay().Pending() == 0 {
		return nil, why
	}
	d.out, d.offline, d.r.Offline = why, why, true
	d.r.Console.Note("work that was not sent is still on this device, and can be copied out: %v", why)
	return s, s.Refresh(ctx)
}

// change notes that a command is about to change something in a workspace. Where
// nothing can ever be sent, there is no use in it.
func (d *desk) change(s *shown) error {
	if d.out != nil {
		return d.out
	}
	s.changed = true
	return nil
}

// away reports whether the server could not be reached when it was last tried.
func (d *desk) away(ctx context.Context) bool {
	for _, s := range d.all.Workspaces() {
		if s.Status(ctx).State == syncer.Offline {
			return true
		}
	}
	return false
}

// without goes on without the server if that is what an error means, and returns
// the error if not.
func (d *desk) without(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	switch fault.KindOf(err) {
	case fault.Unreachable, fault.Busy, fault.Clock:
	default:
		return err
	}
	d.offline, d.r.Offline = err, true
	d.r.Console.Note("working with what is on this device: %v", err)
	return nil
}

// workspace returns a workspace by its name or id: as the server has it, with the
// work of this device, or, where the server does not answer, as it is here.
func (d *desk) workspace(ctx context.Context, name string) (*shown, error) {
	if s, ok := d.shown[name]; ok {
		return s, nil
	}
	s, err := d.find(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, other := range d.shown {
		if other.sync == s { // by its name here, and by its id there
			d.shown[name] = other
			return other, nil
		}
	}
	local, err := files.NewLocal(d.all.Files().View(filesystem.Options{Workspace: s.ID()}), s.Mirror())
	if err != nil {
		return nil, err
	}
	d.shown[name] = &shown{Local: local, sync: s}
	return d.shown[name], nil
}

func (d *desk) find(ctx context.Context, name string) (*syncer.Syncer, error) {
	if d.out != nil {
		return d.left(ctx, name, d.out)
	}
	if d.offline == nil {
		s, err := d.follow(ctx, name)
		if err == nil {
			return s, nil
		}
		if shutOut(err) {
			return d.left(ctx, name, err)
		}
		if err := d.without(ctx, err); err != nil {
			return nil, err
		}
	}
	s, err := d.all.Find(name)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.Errorf(fault.KindOf(d.offline), "no workspace %q is on this device: %w", name, d.offline)
	}
	if err != nil {
		return nil, err
	}
	return s, s.Refresh(ctx)
}

// follow brings a workspace to where the server is.
func (d *desk) follow(ctx context.Context, name string) (*syncer.Syncer, error) {
	w, err := workspace.Find(ctx, d.agent.Held().Session, name)
	if err != nil {
		return nil, err
	}
	s, err := d.all.Open(ctx, w.ID())
	if err != nil {
		return nil, err
	}
	if s.Status(ctx).State == syncer.Offline {
		s.Heard() // an agent need not wait any longer
	}
	return s, s.Follow(ctx)
}

// bulk returns the verified tree of a workspace, for copies of much past the local
// work, or nil where there is such work that cannot be sent first: a commit around
// it would clash with it.
func (d *desk) bulk(ctx context.Context, s *shown) (*files.Tree, error) {
	if s.tree != nil || d.offline != nil {
		return s.tree, nil
	}
	if s.sync.Overlay().Pending() > 0 {
		s.changed = true
		if err := d.sendOne(ctx, s); err != nil || s.sync.Overlay().Pending() > 0 {
			return nil, err
		}
	}
	s.tree = files.New(s.sync.Mirror())
	return s.tree, nil
}

// committing returns the verified tree of a workspace for what can only be done by
// commits, once all local work is sent.
func (d *desk) committing(ctx context.Context, name string) (*files.Tree, error) {
	s, err := d.workspace(ctx, name)
	if err != nil {
		return nil, err
	}
	t, err := d.bulk(ctx, s)
	switch {
	case err != nil:
		return nil, err
	case d.offline != nil:
		return nil, d.offline
	case t == nil:
		return nil, fault.WithHint(fault.Errorf(fault.Conflict, "change workspace %q: changes of this device wait to be sent first", name), "`parsec sync --wait` sends them, or says why not")
	}
	return t, nil
}

// send sends what the command did, if the server answers, and says so if not: it
// is kept here in any case. failed is how the command ended.
func (d *desk) send(ctx context.Context, failed error) error {
	for name, s := range d.shown {
		if s.tree != nil {
			if err := s.sync.Refresh(ctx); err != nil && failed == nil {
				return err
			}
		}
		if !s.changed {
			continue
		}
		s.changed = false
		if err := s.Keep(ctx); err != nil {
			return fmt.Errorf("keep what was done in %s: %w", name, err)
		}
		if err := d.sendOne(ctx, s); err != nil && failed == nil {
			return err
		}
	}
	return nil
}

func (d *desk) sendOne(ctx context.Context, s *shown) error {
	err, within := d.offline, ctx
	if err == nil {
		if d.agent.Stays() {
			var cancel context.CancelFunc
			within, cancel = context.WithTimeoutCause(ctx, sendTime, fault.Errorf(fault.Busy, "not all of it is sent after %v", sendTime))
			defer cancel()
		}
		err = s.sync.Push(within)
	}
	name := s.sync.Name()
	switch left := s.sync.Overlay().Pending(); {
	case ctx.Err() != nil:
		return fault.WithHint(fault.Errorf(fault.Canceled, "send changes: %w", context.Cause(ctx)), "what was done is kept here, and sent with the next `parsec sync`")
	case fault.Is(err, fault.Integrity):
		return err
	case err != nil && left > 0:
		d.r.Offline = d.r.Offline || fault.Is(err, fault.Unreachable)
		d.r.Console.Warn("%s: kept here, sent with the next sync: %v", name, err)
	case left > 0:
		d.r.Console.Note("%s: %s left; `parsec status` says more", name, cmdline.Counted(left, "change", "changes"))
	}
	return nil
}

// tree is a tree that commands show.
type tree interface {
	files.Lister
	// Content writes the content of a file.
	Content(ctx context.Context, file files.Entry, w io.Writer) error
	// Author returns who wrote the newest version that is committed; "" for nobody.
	Author(ctx context.Context, e files.Entry) (string, error)
	// Hidden returns how many entries are known that cannot be shown.
	Hidden(ctx context.Context) (int, error)
}

var (
	_ tree = (*files.Local)(nil)
	_ tree = (*files.Tree)(nil)
)

// found is an entry with the tree and the workspace's name that it was asked by.
type found struct {
	files.Entry
	tree      tree
	workspace string
}

func (f found) address(p string) string { return f.workspace + ":" + p }

// stat returns the entry at an address.
func (d *desk) stat(ctx context.Context, a address) (found, error) {
	t, err := d.workspace(ctx, a.workspace)
	if err != nil {
		return found{}, err
	}
	e, err := t.Stat(ctx, a.path)
	return found{e, t.Local, a.workspace}, err
}

// past returns a workspace as it was at a moment.
func (d *desk) past(ctx context.Context, name string, at history.Moment) (*files.Tree, error) {
	s, err := d.workspace(ctx, name)
	if err != nil {
		return nil, err
	}
	return files.At(ctx, s.sync.Mirror(), at)
}

// statAt returns the entry that was at an address.
func (d *desk) statAt(ctx context.Context, a address, at history.Moment) (found, error) {
	t, err := d.past(ctx, a.workspace, at)
	if err != nil {
		return found{}, err
	}
	e, err := t.Stat(ctx, a.path)
	return found{e, t, a.workspace}, err
}

// addresses reads arguments that must be in workspaces.
func addresses(args []string, goos string) ([]address, error) {
	var all []address
	for _, arg := range args {
		a, err := parseRemote(arg, goos)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}
