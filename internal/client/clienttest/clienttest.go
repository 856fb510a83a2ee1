// Package clienttest gives tests people with devices: each has a home of their
// own, and speaks to a server that the test runs. It is for tests only.
package clienttest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"parsec/internal/client/device"
	"parsec/internal/client/files"
	"parsec/internal/client/filesystem"
	"parsec/internal/client/home"
	"parsec/internal/client/remote"
	"parsec/internal/client/session"
	"parsec/internal/client/syncer"
	"parsec/internal/client/workspace"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
)

// Person is somebody with a device of their own.
type Person struct {
	*session.Held
	t     testing.TB
	Place session.Place
	lock  device.Lock
	open  bool
}

// keyring is one that holds its keys in memory. It spares tests the time that
// a password takes.
type keyring map[string]string

func (k keyring) Get(name string) (string, error) {
	if v, ok := k[name]; ok {
		return v, nil
	}
	return "", device.ErrNoKey
}
func (k keyring) Set(name, value string) error { k[name] = value; return nil }
func (k keyring) Delete(name string) error     { delete(k, name); return nil }

// NewLock returns a lock for one device, which takes no time to open.
func NewLock() device.Lock { return device.WithKeyring(keyring{}) }

// NewPlace returns a workstation with an empty home.
func NewPlace(t testing.TB) session.Place {
	return session.Place{
		Home:   t.TempDir(),
		Holder: home.Holder{Command: t.Name(), Since: time.Now()},
		Config: session.Config{Remote: remote.Config{Retry: remote.Retry{Attempts: 2, First: time.Millisecond, Most: time.Millisecond}}},
	}
}

func (p *Person) keep(h *session.Held) *Person {
	p.Held, p.open = h, true
	p.t.Cleanup(p.Close)
	return p
}

// Bootstrap makes a person the founder of the organization of a link.
func Bootstrap(t testing.TB, link, email string) *Person {
	t.Helper()
	return BootstrapAt(t, NewPlace(t), link, email)
}

// BootstrapAt does so at a workstation. Who is enrolled by its people works in
// the same way.
func BootstrapAt(t testing.TB, at session.Place, link, email string) *Person {
	t.Helper()
	l, err := invitation.ParseLink(link)
	if err != nil {
		t.Fatal(err)
	}
	p := &Person{t: t, Place: at, lock: NewLock()}
	h, err := p.Place.Bootstrap(t.Context(), l, session.Founder{Name: email, Email: email, Label: "first of " + email}, p.lock)
	if err != nil {
		t.Fatal(err)
	}
	return p.keep(h)
}

// Lock opens the person's device file.
func (p *Person) Lock() device.Lock { return p.lock }

// Close ends the person's session, as the end of a command does.
func (p *Person) Close() {
	if !p.open {
		return
	}
	p.open = false
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.t.Context()), 10*time.Second)
	defer cancel()
	if err := p.Held.Close(ctx); err != nil {
		p.t.Logf("close the session of %s: %v", p.Device().Email, err)
	}
}

// Kill ends the session as kill -9 would: nothing is told to anybody.
func (p *Person) Kill() {
	p.open = false
	if err := p.Abandon(); err != nil {
		p.t.Fatal(err)
	}
}

// Reopen opens the person's device again, as the next command does, without
// asking the server for anything.
func (p *Person) Reopen() {
	p.t.Helper()
	p.Close()
	all, err := device.List(p.Place.Home)
	if err != nil {
		p.t.Fatal(err)
	}
	h, err := p.Place.Open(p.t.Context(), all[0], p.lock)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Held, p.open = h, true
}

// ToServer makes the person's device speak to another address from the next
// [Person.Reopen] on.
func (p *Person) ToServer(url string) {
	p.t.Helper()
	p.Close()
	all, err := device.List(p.Place.Home)
	if err != nil {
		p.t.Fatal(err)
	}
	d, err := device.Open(all[0].Path, p.lock)
	if err != nil {
		p.t.Fatal(err)
	}
	d.Server = url
	if err := d.Save(all[0].Path); err != nil {
		p.t.Fatal(err)
	}
	p.Reopen()
}

// Phone connects two people who read their codes to each other.
type Phone struct{ say, hear chan string }

// Phones returns the two ends of a call.
func Phones() (a, b Phone) {
	x, y := make(chan string, 1), make(chan string, 1)
	return Phone{x, y}, Phone{y, x}
}

// Show implements [session.Codes].
func (p Phone) Show(code string) error { p.say <- code; return nil }

// Ask implements [session.Codes].
func (p Phone) Ask(ctx context.Context) (string, error) {
	select {
	case code := <-p.hear:
		return code, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// Tell implements [session.Codes].
func (Phone) Tell(string) {}

// Enroll invites somebody and lets both sides speak. The newcomer's server is
// the link's unless another is given.
func (p *Person) Enroll(email string, profile record.Profile) *Person {
	p.t.Helper()
	inv, err := p.InviteUser(p.t.Context(), email, profile)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.greet(inv, email)
}

// EnrollDevice adds another device of the person's own.
func (p *Person) EnrollDevice() *Person {
	p.t.Helper()
	inv, err := p.InviteDevice(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return p.greet(inv, "")
}

func (p *Person) greet(inv session.Invitation, name string) *Person {
	p.t.Helper()
	q := &Person{t: p.t, Place: NewPlace(p.t), lock: NewLock()}
	q.Place.Config = p.Place.Config
	here, there := Phones()
	group, ctx := errgroup.WithContext(p.t.Context())
	group.Go(func() error { return wrap("greet", p.Greet(ctx, inv.Token, here)) })
	group.Go(func() error {
		h, err := q.Place.Claim(ctx, inv.Link, func(invitation.Statement) (session.Newcomer, error) {
			return session.Newcomer{Name: name, Label: "new of " + name, Lock: q.lock}, nil
		}, there)
		if err == nil {
			q.keep(h)
		}
		return wrap("claim", err)
	})
	if err := group.Wait(); err != nil {
		p.t.Fatal(err)
	}
	return q
}

func wrap(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
	}
	return err
}

// Sync is the beginning of a command: everything is pulled.
func (p *Person) Sync() {
	p.t.Helper()
	if err := p.Held.Sync(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

// CreateWorkspace makes a workspace and returns its tree.
func (p *Person) CreateWorkspace(name string) *files.Tree {
	p.t.Helper()
	if _, err := workspace.Create(p.t.Context(), p.Session, name); err != nil {
		p.t.Fatal(err)
	}
	return p.Tree(name)
}

// Tree opens and pulls a workspace.
func (p *Person) Tree(name string) *files.Tree {
	p.t.Helper()
	t, err := files.Open(p.t.Context(), p.Session, name)
	if err != nil {
		p.t.Fatal(err)
	}
	return t
}

// Work changes a workspace as a command does: on the device first, and then what
// was done is sent. The tree is brought up to date.
func (p *Person) Work(tree *files.Tree, act func(context.Context, *files.Local) error) (err error) {
	ctx := p.t.Context()
	all, err := syncer.OpenDevice(ctx, p.Session, syncer.DeviceConfig{Folder: p.Folder()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, all.Close()) }()
	s, err := all.Open(ctx, tree.Workspace().ID())
	if err != nil {
		return err
	}
	local, err := files.NewLocal(all.Files().View(filesystem.Options{Workspace: s.ID()}), s.Mirror())
	if err != nil {
		return err
	}
	if err := act(ctx, local); err != nil {
		return err
	}
	if err := s.Push(ctx); err != nil {
		return err
	}
	return tree.Pull(ctx)
}

// Share shares a workspace with another person.
func (p *Person) Share(tree *files.Tree, with *Person, role record.Role) {
	p.t.Helper()
	other, err := p.Find(with.Device().Email)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := tree.Workspace().Share(p.t.Context(), other, role); err != nil {
		p.t.Fatal(err)
	}
}
