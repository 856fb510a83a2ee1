package redundant

import (
	"fmt"
	"sync"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/server/meta"
)

// tolerated is after how many failures in a row a store rests.
const tolerated = 3

// member is a store, and how it has been doing.
type member struct {
	Member
	now  func() time.Time
	rest time.Duration

	identifying chan struct{} // has one while it is found out whether it is the store that it was

	mu     sync.Mutex // guards the rest
	row    meta.ObjectStore
	known  bool      // it is the store that it was
	wrong  error     // why it is not
	failed int       // in a row
	until  time.Time // when it is asked first again
}

// named says of an error which store it is about.
func (m *member) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store %s: %w", m.Name, err)
}

// note takes down how a call went. One that was overtaken was slow.
func (m *member) note(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case fault.Is(err, fault.Canceled):
		m.until = m.now().Add(m.rest)
	case err == nil, fault.Is(err, fault.NotFound), fault.Is(err, fault.Conflict):
		m.failed = 0
	default:
		if m.failed++; m.failed >= tolerated {
			m.until = m.now().Add(m.rest)
		}
	}
}

// rests reports whether the store has failed again and again until now.
func (m *member) rests() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed >= tolerated && m.now().Before(m.until)
}

// well reports whether the store is worth asking first.
func (m *member) well() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.now().Before(m.until)
}

// state returns what is done with the store.
func (m *member) state() meta.StoreState {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.row.State
}
