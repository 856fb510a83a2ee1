package filesystem

import (
	"context"
	"math"
	"slices"
	"sync"

	"parsec/internal/base/fault"
)

// Owner is who holds a lock. Owners of different views differ.
type Owner struct {
	view *View
	id   uint64
}

// Owner returns an owner that a face knows by a number.
func (v *View) Owner(number uint64) Owner { return Owner{v, number} }

// Lock is an advisory lock on a part of a file, as of fcntl(2), or on all of it,
// as of flock(2). Locks hold on this device alone, between all its faces, and
// end with the process: other devices are not asked.
type Lock struct {
	Owner Owner
	// From and To are the first byte and the one behind the last; To is
	// [ToTheEnd] for all that comes.
	From, To uint64
	// Exclusive says that nobody else may have a lock.
	Exclusive bool
	// Whole says that it is one of flock(2), which are apart from the others.
	Whole bool
	// Process is the number of the process that asked for it.
	Process uint32
}

// ToTheEnd is behind every byte.
const ToTheEnd = math.MaxUint64

// locks are the locks on the files of a workspace, by inode number.
type locks struct {
	mu sync.Mutex
	// mu guards what follows.
	held map[uint64][]Lock
	// waits says for which lock an owner waits; freed is closed and made anew
	// whenever something is given back.
	waits map[Owner]waiting
	freed chan struct{}
}

type waiting struct {
	number uint64
	lock   Lock
}

// Locked returns a lock that keeps one from being taken, and false if none does.
func (v *View) Locked(n Node, number uint64, l Lock) (Lock, bool) {
	if n.Top() {
		return Lock{}, false
	}
	t := &n.volume.locks
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inTheWay(number, l)
}

func (t *locks) inTheWay(number uint64, l Lock) (Lock, bool) {
	i := slices.IndexFunc(t.held[number], func(h Lock) bool {
		return h.Owner != l.Owner && h.Whole == l.Whole && (h.Exclusive || l.Exclusive) && h.From < l.To && l.From < h.To
	})
	if i < 0 {
		return Lock{}, false
	}
	return t.held[number][i], true
}

// Lock takes a lock on the file with an inode number, in the place of what its
// owner has of that part. If it is taken, it waits for it or fails.
func (v *View) Lock(ctx context.Context, n Node, number uint64, l Lock, wait bool) error {
	if n.Top() || l.From >= l.To {
		return fault.Errorf(fault.Invalid, "lock file: nothing to lock")
	}
	t := &n.volume.locks
	for {
		freed, err := t.take(number, l, wait)
		if freed == nil {
			return err
		}
		select {
		case <-freed:
		case <-ctx.Done():
			t.mu.Lock()
			delete(t.waits, l.Owner)
			t.mu.Unlock()
			return context.Cause(ctx)
		}
	}
}

// take takes a lock, or returns what is closed when another try may succeed.
func (t *locks) take(number uint64, l Lock, wait bool) (freed <-chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.waits, l.Owner)
	other, taken := t.inTheWay(number, l)
	switch {
	case !taken:
		t.put(number, l, true)
		return nil, nil
	case !wait:
		return nil, fault.Errorf(fault.Conflict, "lock file: %w", Locked)
	case t.waitsFor(other.Owner, l.Owner):
		return nil, fault.Errorf(fault.Conflict, "lock file: %w", Deadlock)
	}
	if t.waits == nil {
		t.waits, t.freed = map[Owner]waiting{}, make(chan struct{})
	}
	t.waits[l.Owner] = waiting{number, l}
	return t.freed, nil
}

// waitsFor reports whether one owner waits, over others or not, for another.
func (t *locks) waitsFor(one, another Owner) bool {
	for range len(t.waits) + 1 {
		if one == another {
			return true
		}
		w, ok := t.waits[one]
		if !ok {
			return false
		}
		other, taken := t.inTheWay(w.number, w.lock)
		if !taken {
			return false
		}
		one = other.Owner
	}
	return false
}

// put cuts a lock's part out of what its owner has, and adds the lock.
func (t *locks) put(number uint64, l Lock, add bool) {
	var all []Lock
	for _, h := range t.held[number] {
		if h.Owner != l.Owner || h.Whole != l.Whole || h.To <= l.From || h.From >= l.To {
			all = append(all, h)
			continue
		}
		if left := h; h.From < l.From {
			left.To = l.From
			all = append(all, left)
		}
		if right := h; h.To > l.To {
			right.From = l.To
			all = append(all, right)
		}
	}
	if add {
		all = append(all, l)
	}
	if t.held == nil {
		t.held = map[uint64][]Lock{}
	}
	if t.held[number] = all; len(all) == 0 {
		delete(t.held, number)
	}
	if t.freed != nil {
		close(t.freed)
		t.freed = make(chan struct{})
	}
}

// Unlock gives back what an owner has locked of a part of a file.
func (v *View) Unlock(n Node, number uint64, l Lock) {
	if n.Top() || l.From >= l.To {
		return
	}
	t := &n.volume.locks
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(number, l, false)
}
