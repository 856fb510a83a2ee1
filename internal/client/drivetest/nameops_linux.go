package drivetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// nameKind is a kind of operation of [Names].
type nameKind struct {
	// weight is how often it is chosen, beside the others.
	weight int
	// removes says that there is less after it; onlyRefused that it is only tried
	// where the file system refuses it.
	removes, onlyRefused bool
	choose               func(m *names, c choice, op *nameOp)
	do                   func(m *names, op nameOp) error
}

// nameOrder returns the names of the kinds in an order that stays.
var nameOrder = sync.OnceValue(func() []string { return slices.Sorted(maps.Keys(nameKinds())) })

func chooseFresh(_ *names, c choice, op *nameOp) { op.path = c.fresh() }

// chooseKnown chooses a path, and whether a symlink is followed.
func chooseKnown(_ *names, c choice, op *nameOp) { op.path, op.flags = c.known(), c.r.IntN(2) }

// nameKinds returns the kinds of operations by their names.
var nameKinds = sync.OnceValue(func() map[string]nameKind {
	all := makeKinds()
	maps.Copy(all, lookKinds())
	maps.Copy(all, refusedKinds())
	return all
})

// makeKinds change names.
func makeKinds() map[string]nameKind {
	return map[string]nameKind{
		"create": {weight: 14, choose: func(_ *names, c choice, op *nameOp) {
			if op.path = c.fresh(); c.r.IntN(4) == 0 {
				op.path = c.known()
			}
			op.flags = []int{0, 0, unix.O_EXCL, unix.O_TRUNC}[c.r.IntN(4)]
			op.mode = []int{0o644, 0o755}[c.r.IntN(2)]
			op.other = text(c.r)
		}, do: (*names).create},
		"make folder": {weight: 9, choose: chooseFresh, do: (*names).makeFolder},
		"fill folder": {do: (*names).fillFolder}, // the first operation, and only that
		"symlink": {weight: 5, choose: func(_ *names, c choice, op *nameOp) {
			op.path = c.fresh()
			op.other = c.target(op.path)
		}, do: (*names).symlink},
		"rename": {weight: 16, choose: func(m *names, c choice, op *nameOp) {
			op.path, op.other = c.known(), c.fresh()
			switch c.r.IntN(6) {
			case 0, 1:
				op.other = c.known()
			case 2:
				op.other = join(op.path, alphabet[c.r.IntN(4)]) // into itself
			}
			if c.r.IntN(4) == 0 {
				op.flags = unix.RENAME_NOREPLACE
			}
		}, do: (*names).rename},
		"exchange": {weight: 2, choose: func(_ *names, c choice, op *nameOp) {
			op.path, op.other, op.flags = c.known(), c.known(), unix.RENAME_EXCHANGE
		}, do: (*names).rename},
		"unlink":        {weight: 6, removes: true, choose: chooseKnown, do: (*names).unlink},
		"remove folder": {weight: 6, removes: true, choose: chooseKnown, do: (*names).removeFolder},
	}
}

// text is a short content.
func text(r *rand.Rand) string { return fmt.Sprintf("content %d", r.IntN(1_000_000)) }

// calls does a call for what the model answers with an error or 0, and reports
// whether it was done. A path that leads outside is not followed.
func calls(want syscall.Errno, call func() error) (done bool, err error) {
	if want == outside {
		return false, nil
	}
	err = differ(again(call), want)
	return err == nil && want == 0, err
}

// free is the model's answer for where something is to be made.
func free(at place, e syscall.Errno) syscall.Errno {
	if e == 0 && at.node != nil {
		return unix.EEXIST
	}
	return e
}

// there is the model's answer for where something has to be.
func there(at place, e syscall.Errno) syscall.Errno {
	if e == 0 && at.node == nil {
		return unix.ENOENT
	}
	return e
}

func (m *names) create(op nameOp) error {
	at, want := m.root.resolve(op.path, op.flags&unix.O_EXCL == 0)
	switch {
	case op.flags&unix.O_EXCL != 0:
		want = free(at, want)
	case want == 0 && at.node != nil && at.node.kind == unix.S_IFDIR:
		want = unix.EISDIR
	}
	var fd int
	done, err := calls(want, func() (err error) {
		fd, err = unix.Open(m.path(op.path), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|op.flags, uint32(op.mode))
		return err
	})
	if !done {
		return err
	}
	n := at.node
	if n == nil {
		n = newNode(unix.S_IFREG)
		n.executable = op.mode&0o100 != 0
		at.folder.put(at.name, n)
	}
	if op.flags&unix.O_TRUNC != 0 {
		n.content, n.modified = "", nil
	}
	return errors.Join(write(&held{fd, n}, op.other), differ(unix.Close(fd), 0), m.stat(op.path, true))
}

// write writes at the beginning of a file.
func write(h *held, text string) error {
	if text == "" {
		return nil
	}
	n := 0
	err := again(func() (err error) { n, err = unix.Pwrite(h.fd, []byte(text), 0); return err })
	if err != nil || n != len(text) {
		return fmt.Errorf("%d of %d bytes were written: %w", n, len(text), differ(err, 0))
	}
	h.node.content = text + h.node.content[min(len(text), len(h.node.content)):]
	h.node.modified = nil
	return nil
}

func (m *names) makeFolder(op nameOp) error {
	at, want := m.root.resolve(op.path, false)
	done, err := calls(free(at, want), func() error { return unix.Mkdir(m.path(op.path), 0o755) })
	if done {
		at.folder.put(at.name, newNode(unix.S_IFDIR))
		return m.stat(op.path, false)
	}
	return err
}

// fillFolder makes a folder of more files than one call lists.
func (m *names) fillFolder(op nameOp) error {
	err := m.makeFolder(op)
	for i := 0; i < many && err == nil; i++ {
		err = m.create(nameOp{path: fmt.Sprintf("%s/file %03d", op.path, i), flags: unix.O_EXCL})
	}
	return err
}

func (m *names) symlink(op nameOp) error {
	at, want := m.root.resolve(op.path, false)
	done, err := calls(free(at, want), func() error { return unix.Symlink(op.other, m.path(op.path)) })
	if done {
		n := newNode(unix.S_IFLNK)
		n.target = op.other
		at.folder.put(at.name, n)
		return m.stat(op.path, false)
	}
	return err
}

func (m *names) unlink(op nameOp) error {
	at, want := m.root.resolve(op.path, false)
	if want = there(at, want); want == 0 && at.node.kind == unix.S_IFDIR {
		want = unix.EISDIR
	}
	done, err := calls(want, func() error { return unix.Unlink(m.path(op.path)) })
	if done {
		at.folder.take(at.name)
		at.node.removed = true
	}
	return err
}

func (m *names) removeFolder(op nameOp) error {
	at, want := m.root.resolve(op.path, false)
	switch want = there(at, want); {
	case want != 0:
	case at.node.kind != unix.S_IFDIR:
		want = unix.ENOTDIR
	case len(at.node.children) > 0:
		want = unix.ENOTEMPTY
	}
	done, err := calls(want, func() error { return unix.Rmdir(m.path(op.path)) })
	if done {
		at.folder.take(at.name)
		at.node.removed = true
	}
	return err
}

// renameError is the model's answer to a rename, in Linux's order.
func renameError(from, to place, flags int) syscall.Errno {
	exchange := flags == unix.RENAME_EXCHANGE
	folder := func(n *node) bool { return n.kind == unix.S_IFDIR }
	switch {
	case from.node == nil:
		return unix.ENOENT
	case flags == unix.RENAME_NOREPLACE && to.node != nil:
		return unix.EEXIST
	case exchange && to.node == nil:
		return unix.ENOENT
	case to.folder.within(from.node), exchange && from.folder.within(to.node):
		return unix.EINVAL
	case to.node != nil && from.folder.within(to.node):
		return unix.ENOTEMPTY
	case to.node == nil || from.node == to.node || exchange:
		return 0
	case folder(to.node) && !folder(from.node):
		return unix.EISDIR
	case !folder(to.node) && folder(from.node):
		return unix.ENOTDIR
	case len(to.node.children) > 0:
		return unix.ENOTEMPTY
	}
	return 0
}

func (m *names) rename(op nameOp) error {
	from, want := m.root.resolve(op.path, false)
	to, toWant := m.root.resolve(op.other, false)
	if want == outside || toWant == outside {
		return nil
	}
	if from.node != nil && to.folder != nil && from.node.height()+to.folder.depth() > 2*maxDepth {
		return nil // paths become too long
	}
	// A parent that cannot be reached comes first, then the names.
	late := func(e syscall.Errno, path string) bool {
		return e == unix.ENAMETOOLONG && len(path[strings.LastIndex(path, "/")+1:]) > maxName
	}
	switch {
	case want != 0 && !late(want, op.path):
	case toWant != 0 && !late(toWant, op.other):
		want = toWant
	case want != 0:
	case from.node == nil:
		want = unix.ENOENT
	case toWant != 0:
		want = toWant
	default:
		want = renameError(from, to, op.flags)
	}
	if want == 0 && from.node != to.node {
		want = m.refused[op.kind]
	}
	done, err := calls(want, func() error {
		return unix.Renameat2(unix.AT_FDCWD, m.path(op.path), unix.AT_FDCWD, m.path(op.other), uint(op.flags))
	})
	if !done || from.node == to.node {
		return err
	}
	if op.flags == unix.RENAME_EXCHANGE {
		from.folder.put(from.name, to.node)
		to.folder.put(to.name, from.node)
		return errors.Join(m.stat(op.path, false), m.stat(op.other, false))
	}
	if to.node != nil {
		to.node.removed = true
		from.node.numbers = append(slices.Clone(from.node.numbers), to.node.numbers...)
	}
	from.folder.take(from.name)
	to.folder.put(to.name, from.node)
	return errors.Join(m.stat(op.path, false), m.stat(op.other, false))
}

// refusedKinds are tried where the file system refuses them, each with paths to
// which there is nothing else to say.
func refusedKinds() map[string]nameKind {
	all := map[string]nameKind{}
	add := func(name string, choose func(*names, choice, *nameOp), may func(m *names, op nameOp) bool, call func(m *names, op nameOp) error) {
		all[name] = nameKind{weight: 1, onlyRefused: true, choose: choose, do: func(m *names, op nameOp) error {
			if !may(m, op) {
				return nil
			}
			return differ(call(m, op), m.refused[name])
		}}
	}
	kind := func(m *names, path string) uint32 {
		if at, e := m.root.resolve(path, true); there(at, e) == 0 {
			return at.node.kind
		}
		return 0
	}
	free := func(m *names, path string) bool {
		at, e := m.root.resolve(path, false)
		return e == 0 && at.node == nil
	}
	folder := func(_ *names, c choice, op *nameOp) { op.path = c.folder() }
	add("link", func(_ *names, c choice, op *nameOp) { op.path, op.other = c.known(), join(c.folder(), "unused") },
		func(m *names, op nameOp) bool { return kind(m, op.path) == unix.S_IFREG && free(m, op.other) },
		func(m *names, op nameOp) error { return unix.Link(m.path(op.path), m.path(op.other)) })
	add("make fifo", func(_ *names, c choice, op *nameOp) { op.path = c.fresh() },
		func(m *names, op nameOp) bool { return free(m, op.path) },
		func(m *names, op nameOp) error { return unix.Mkfifo(m.path(op.path), 0o644) })
	add("set attribute", folder,
		func(m *names, op nameOp) bool { return kind(m, op.path) == unix.S_IFDIR },
		func(m *names, op nameOp) error {
			return unix.Setxattr(m.path(op.path), "user.drivetest", []byte("x"), 0)
		})
	add("create name that is not text", folder,
		func(m *names, op nameOp) bool { return kind(m, op.path) == unix.S_IFDIR },
		func(m *names, op nameOp) error {
			fd, err := unix.Open(m.path(join(op.path, "\xff")), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
			if err == nil {
				_ = unix.Close(fd)
			}
			return err
		})
	return all
}
