package drivetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// lookKinds look at what there is, and change what is said of it.
func lookKinds() map[string]nameKind {
	slot := func(*names, choice, *nameOp) {}
	onSlot := func(do func(m *names, h *held, op nameOp) error) func(*names, nameOp) error {
		return func(m *names, op nameOp) error {
			if h := m.open[op.slot]; h != nil {
				return do(m, h, op)
			}
			return nil
		}
	}
	return map[string]nameKind{
		"stat":         {weight: 8, choose: chooseKnown, do: func(m *names, op nameOp) error { return m.stat(op.path, op.flags == 1) }},
		"read symlink": {weight: 3, choose: chooseKnown, do: (*names).readLink},
		"change mode": {weight: 4, choose: func(_ *names, c choice, op *nameOp) {
			op.path, op.mode = c.known(), []int{0o644, 0o755}[c.r.IntN(2)]
		}, do: (*names).changeMode},
		"set time": {weight: 4, choose: func(_ *names, c choice, op *nameOp) {
			op.path, op.flags, op.time = c.known(), c.r.IntN(2), times(c.r)
		}, do: (*names).setTime},
		"list": {
			weight: 4, choose: func(_ *names, c choice, op *nameOp) { op.path = c.folder() },
			do: func(m *names, op nameOp) error { return m.list(op.path) },
		},
		"sync folder":         {weight: 1, choose: func(_ *names, c choice, op *nameOp) { op.path = c.folder() }, do: (*names).syncFolder},
		"list while changing": {weight: 2, choose: chooseChanges, do: (*names).listChanging},
		"open":                {weight: 6, choose: chooseKnown, do: (*names).hold},
		"use open":            {weight: 6, choose: slot, do: onSlot(func(m *names, h *held, _ nameOp) error { return m.useHeld(h) })},
		"write open": {
			weight: 4, choose: func(_ *names, c choice, op *nameOp) { op.other = text(c.r) },
			do: onSlot(func(m *names, h *held, op nameOp) error { return errors.Join(write(h, op.other), m.useHeld(h)) }),
		},
		"close": {weight: 3, choose: slot, do: func(m *names, op nameOp) error { return m.release(op.slot) }},
	}
}

func (m *names) release(slot int) error {
	h := m.open[slot]
	if h == nil {
		return nil
	}
	m.open[slot] = nil
	return differ(unix.Close(h.fd), 0)
}

// hold opens a file, and keeps it open.
func (m *names) hold(op nameOp) error {
	if err := m.release(op.slot); err != nil {
		return err
	}
	at, want := m.root.resolve(op.path, op.flags == 1)
	switch want = there(at, want); {
	case want != 0:
	case at.node.kind == unix.S_IFDIR:
		want = unix.EISDIR
	case at.node.kind == unix.S_IFLNK:
		want = unix.ELOOP
	}
	flags := unix.O_RDWR | unix.O_CLOEXEC
	if op.flags != 1 {
		flags |= unix.O_NOFOLLOW
	}
	var fd int
	done, err := calls(want, func() (err error) { fd, err = unix.Open(m.path(op.path), flags, 0); return err })
	if done {
		m.open[op.slot] = &held{fd, at.node}
		return m.useHeld(m.open[op.slot])
	}
	return err
}

func (m *names) readLink(op nameOp) error {
	at, want := m.root.resolve(op.path, false)
	switch want = there(at, want); {
	case want != 0:
	case at.node.kind != unix.S_IFLNK:
		want = unix.EINVAL
	case strings.Count(at.node.target, "..") > at.node.depth():
		return nil // whether it may be read is for the file system to say
	}
	p := make([]byte, 4096)
	n := 0
	done, err := calls(want, func() (err error) { n, err = unix.Readlink(m.path(op.path), p); return err })
	if done && string(p[:n]) != at.node.target {
		return fmt.Errorf("it leads to %q, in the model to %q", p[:n], at.node.target)
	}
	return err
}

func (m *names) changeMode(op nameOp) error {
	at, want := m.root.resolve(op.path, true)
	if want = there(at, want); want == 0 && at.node.kind != unix.S_IFREG {
		return nil // modes of folders are the file system's matter
	}
	done, err := calls(want, func() error { return unix.Chmod(m.path(op.path), uint32(op.mode)) })
	if done {
		at.node.executable = op.mode&0o100 != 0
		return m.stat(op.path, true)
	}
	return err
}

func (m *names) setTime(op nameOp) error {
	at, want := m.root.resolve(op.path, op.flags == 1)
	flags := unix.AT_SYMLINK_NOFOLLOW
	if op.flags == 1 {
		flags = 0
	}
	both := []unix.Timespec{timeOf(op.time), timeOf(op.time)}
	done, err := calls(there(at, want), func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, m.path(op.path), both, flags) })
	if done {
		at.node.modified = &op.time
		return m.stat(op.path, op.flags == 1)
	}
	return err
}

// entry is what a folder's list says of a name.
type entry struct {
	number uint64
	kind   uint8
}

// A listing reads a folder piece by piece.
type listing struct {
	fd    int
	buf   []byte
	found map[string]entry
}

// openList opens a folder to list it.
func (m *names) openList(path string, size int) (*listing, error) {
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Open(m.path(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	return &listing{fd: fd, buf: make([]byte, size), found: map[string]entry{}}, err
}

// more reads one piece, and reports whether there was any.
func (l *listing) more() (bool, error) {
	n := 0
	err := again(func() (err error) { n, err = unix.Getdents(l.fd, l.buf); return err })
	if err != nil || n == 0 {
		return false, differ(err, 0)
	}
	for p := l.buf[:n]; len(p) > 0; {
		size := binary.NativeEndian.Uint16(p[16:])
		name, _, _ := strings.Cut(string(p[19:size]), "\x00")
		if _, twice := l.found[name]; twice {
			return false, fmt.Errorf("%q is listed twice", name)
		}
		l.found[name] = entry{binary.NativeEndian.Uint64(p), p[18]}
		p = p[size:]
	}
	return true, nil
}

func (l *listing) rest() error {
	for {
		if more, err := l.more(); err != nil || !more {
			return err
		}
	}
}

// compare compares a list with a folder of the model. What is of either kind may
// be missing.
func (l *listing) compare(folder *node, added, removed []string) error {
	for _, dots := range []string{".", ".."} {
		if _, ok := l.found[dots]; !ok {
			return fmt.Errorf("%q is not listed", dots)
		}
		delete(l.found, dots)
	}
	for _, name := range folder.names() {
		e, ok := l.found[name]
		delete(l.found, name)
		switch n := folder.children[name]; {
		case !ok && slices.Contains(added, name):
		case !ok:
			return fmt.Errorf("%q is not listed", name)
		case e.kind != unix.DT_UNKNOWN && uint32(e.kind)<<12 != n.kind:
			return fmt.Errorf("%q is listed as of kind %d, in the model it is of %d", name, e.kind, n.kind>>12)
		default:
			if err := n.number(e.number); err != nil {
				return fmt.Errorf("%q in the list: %w", name, err)
			}
		}
	}
	for name := range l.found {
		if !slices.Contains(removed, name) {
			return fmt.Errorf("%q is listed and not there", name)
		}
	}
	return nil
}

// list compares a folder's list of names.
func (m *names) list(path string) error {
	at, want := m.root.resolve(path, true)
	if want = there(at, want); want == 0 && at.node.kind != unix.S_IFDIR {
		want = unix.ENOTDIR
	}
	var l *listing
	done, err := calls(want, func() (err error) { l, err = m.openList(path, 32<<10); return err })
	if !done {
		return err
	}
	return errors.Join(l.rest(), l.compare(at.node, nil, nil), unix.Close(l.fd))
}

func (m *names) syncFolder(op nameOp) error {
	at, want := m.root.resolve(op.path, true)
	if want = there(at, want); want == 0 && at.node.kind != unix.S_IFDIR {
		want = unix.ENOTDIR
	}
	var l *listing
	done, err := calls(want, func() (err error) { l, err = m.openList(op.path, 0); return err })
	if done {
		return errors.Join(differ(again(func() error { return unix.Fsync(l.fd) }), 0), unix.Close(l.fd))
	}
	return err
}

// chooseChanges chooses what is made and removed while a folder is listed: more
// often than not in the large one.
func chooseChanges(m *names, c choice, op *nameOp) {
	if op.path = c.folder(); c.r.IntN(2) == 0 {
		op.path = bigName
	}
	at, e := m.root.resolve(op.path, false)
	if e != 0 || at.node == nil || at.node.kind != unix.S_IFDIR {
		op.path, at.node = "", m.root
	}
	for _, name := range at.node.names() {
		if at.node.children[name].kind == unix.S_IFREG && c.r.IntN(30) == 0 {
			op.removed = append(op.removed, name)
		}
	}
	for range 1 + c.r.IntN(2+len(op.removed)) {
		if name := fmt.Sprintf("file %03d", c.r.IntN(2*many)); at.node.children[name] == nil && !slices.Contains(op.add, name) {
			op.add = append(op.add, name)
		}
	}
}

// listChanging lists a folder, and changes it in between: what was there all the
// time is listed once, and what never was is not.
func (m *names) listChanging(op nameOp) error {
	at, want := m.root.resolve(op.path, false)
	if want = there(at, want); want == 0 && at.node.kind != unix.S_IFDIR {
		want = unix.ENOTDIR
	}
	var l *listing
	done, err := calls(want, func() (err error) { l, err = m.openList(op.path, 600); return err })
	if !done {
		return err
	}
	_, err = l.more()
	for _, name := range op.removed {
		err = errors.Join(err, m.unlink(nameOp{path: join(op.path, name)}))
	}
	for _, name := range op.add {
		err = errors.Join(err, m.create(nameOp{path: join(op.path, name)}))
	}
	err = errors.Join(err, l.rest(), l.compare(at.node, op.add, op.removed))
	if _, back := unix.Seek(l.fd, 0, unix.SEEK_SET); back != nil {
		err = errors.Join(err, differ(back, 0))
	}
	l.found = map[string]entry{}
	return errors.Join(err, l.rest(), l.compare(at.node, nil, nil), differ(unix.Close(l.fd), 0))
}
