package webdav

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// The limits of locks.
const (
	// maxLocks is how many there may be at once.
	maxLocks = 1024
	// maxOwner is how many bytes of XML may say who owns one.
	maxOwner = 8 << 10
	// defaultTimeout is that of who does not ask for one. Clients refresh a lock
	// while they need it; nobody should wait long for one that was forgotten.
	defaultTimeout, maxTimeout = 10 * time.Minute, time.Hour
)

// lock is a lock of a URL.
type lock struct {
	token string
	// path is what it was taken of, deep says that it is of everything below too.
	path string
	deep bool
	// shared says that others may have such a lock too.
	shared bool
	// owner is the XML that says who owns it, for other clients to show.
	owner   string
	timeout time.Duration
	expires time.Time
}

// covers reports whether a lock is one of a path.
func (l *lock) covers(p string) bool { return l.path == p || l.deep && below(p, l.path) }

// below reports whether a path is below another one.
func below(p, above string) bool {
	return p != above && (above == "/" || strings.HasPrefix(p, above+"/"))
}

// locks are the locks there are.
type locks struct {
	now func() time.Time

	mu sync.Mutex
	// mu guards what follows. at are the locks by path, and next is when the
	// first of them expires.
	at      map[string][]*lock
	byToken map[string]*lock
	next    time.Time
}

func newLocks(now func() time.Time) *locks {
	return &locks{now: now, at: map[string][]*lock{}, byToken: map[string]*lock{}}
}

// expire drops what has expired; the caller holds mu.
func (t *locks) expire() {
	now := t.now()
	if len(t.byToken) == 0 || now.Before(t.next) {
		return
	}
	t.next = now.Add(maxTimeout)
	for _, l := range t.byToken {
		if !now.Before(l.expires) {
			t.drop(l)
		} else if l.expires.Before(t.next) {
			t.next = l.expires
		}
	}
}

// drop ends a lock; the caller holds mu.
func (t *locks) drop(l *lock) {
	delete(t.byToken, l.token)
	var left []*lock
	for _, other := range t.at[l.path] {
		if other != l {
			left = append(left, other)
		}
	}
	if t.at[l.path] = left; len(left) == 0 {
		delete(t.at, l.path)
	}
}

// covering returns the locks of a path; the caller holds mu.
func (t *locks) covering(p string) []*lock {
	all := t.at[p]
	if len(t.byToken) == len(all) { // there are no others
		return all
	}
	for above := p; above != "/"; {
		above = path.Dir(above)
		for _, l := range t.at[above] {
			if l.deep {
				all = append(all[:len(all):len(all)], l)
			}
		}
	}
	return all
}

// of returns the locks of a path.
func (t *locks) of(p string) []lock {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	var all []lock
	for _, l := range t.covering(p) {
		all = append(all, *l)
	}
	return all
}

// covers reports whether a token is that of a lock of a path.
func (t *locks) covers(token, p string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	l := t.byToken[token]
	return l != nil && l.covers(p)
}

// add takes a lock, and fails with 423 where another one is in the way.
func (t *locks) add(l lock) (lock, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	if len(t.byToken) >= maxLocks {
		return l, refusef(http.StatusInsufficientStorage, "there are %d locks already", maxLocks)
	}
	for _, other := range t.byToken {
		if (other.covers(l.path) || l.covers(other.path)) && !(l.shared && other.shared) {
			return l, &refusal{statusLocked, "somebody else has a lock", "no-conflicting-lock", other.path}
		}
	}
	l.token = newToken()
	t.refreshed(&l)
	t.byToken[l.token] = &l
	t.at[l.path] = append(t.at[l.path], &l)
	return l, nil
}

// refreshed has a lock begin anew; the caller holds mu.
func (t *locks) refreshed(l *lock) {
	l.expires = t.now().Add(l.timeout)
	if len(t.byToken) == 0 || l.expires.Before(t.next) {
		t.next = l.expires
	}
}

// newToken returns a token, which is a random UUID.
func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// refresh has the lock of a path begin anew whose token is among those given.
func (t *locks) refresh(p string, tokens map[string]bool, timeout time.Duration) (lock, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	for _, l := range t.covering(p) {
		if tokens[l.token] {
			l.timeout = timeout
			t.refreshed(l)
			return *l, true
		}
	}
	return lock{}, false
}

// remove ends the lock of a path with a token, and reports whether there was one.
func (t *locks) remove(token, p string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	l := t.byToken[token]
	if l == nil || !l.covers(p) {
		return false
	}
	t.drop(l)
	return true
}

// release ends the locks that were taken of a path that is gone, and of all below.
func (t *locks) release(p string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.byToken {
		if l.path == p || below(l.path, p) {
			t.drop(l)
		}
	}
}

// need is a path that a request changes, and with it all below if deep is set.
type need struct {
	path string
	deep bool
}

// allow fails if a path is locked and none of the locks' tokens is among those
// given.
func (t *locks) allow(tokens map[string]bool, needs ...need) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	if len(t.byToken) == 0 {
		return nil
	}
	for _, n := range needs {
		if l := notAmong(t.covering(n.path), tokens); l != nil {
			return locked(l.path)
		}
		if !n.deep {
			continue
		}
		for p, all := range t.at {
			if below(p, n.path) && notAmong(all, tokens) != nil {
				return locked(p)
			}
		}
	}
	return nil
}

// notAmong returns one of the locks of a path if none has one of the tokens.
func notAmong(all []*lock, tokens map[string]bool) *lock {
	for _, l := range all {
		if tokens[l.token] {
			return nil
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[0]
}
