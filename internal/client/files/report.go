package files

import (
	"sync"

	"parsec/internal/base/fault"
)

// Progress is told how a copy goes on. Its methods may be called from several
// goroutines at once.
type Progress interface {
	// Found adds to what there is to do.
	Found(files int, bytes uint64)
	// Done adds to what is done, or was there already.
	Done(files int, bytes uint64)
	// Skipped says of one entry why it is not copied. The others are.
	Skipped(path string, err error)
	// Conflict says that the copy has another name than was wanted, since
	// somebody else wrote there at the same time.
	Conflict(wanted, name string)
	// Outside says that a copied link leads out of what was copied. It is a
	// link like any other, and nothing is read or written through it here, but
	// whoever opens it should know.
	Outside(path, target string)
}

// tally passes progress on and counts what was left out.
type tally struct {
	Progress
	mu      sync.Mutex // guards skipped and first
	skipped int
	first   error // or the first that breaks a promise
}

func (t *tally) Skipped(path string, err error) {
	t.mu.Lock()
	t.skipped++
	if t.first == nil || fault.Is(err, fault.Integrity) && !fault.Is(t.first, fault.Integrity) {
		t.first = err
	}
	t.mu.Unlock()
	t.Progress.Skipped(path, err)
}

// err says how many entries were left out of a copy, if any.
func (t *tally) err() error {
	err := t.left("copied")
	if t.skipped > 1 {
		err = fault.WithHint(err, "run the command again with --update to copy only those")
	}
	return err
}

// left says how many entries were left out, if any, and what was not done to them.
func (t *tally) left(done string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.skipped {
	case 0:
		return nil
	case 1:
		return fault.Errorf(fault.KindOf(t.first), "1 entry was not %s: %w", done, t.first)
	}
	return fault.Errorf(fault.KindOf(t.first), "%d entries were not %s, among them: %w", t.skipped, done, t.first)
}

// Silent is a [Progress] that nobody watches.
type Silent struct{}

// Found implements [Progress].
func (Silent) Found(int, uint64) {}

// Done implements [Progress].
func (Silent) Done(int, uint64) {}

// Skipped implements [Progress].
func (Silent) Skipped(string, error) {}

// Conflict implements [Progress].
func (Silent) Conflict(string, string) {}

// Outside implements [Progress].
func (Silent) Outside(string, string) {}
