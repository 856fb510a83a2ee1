package agent

import (
	"errors"

	"parsec/internal/base/fault"
)

// Face is a way in which an agent shows its workspaces to other programs for as
// long as it runs: a mounted folder, or a server on this machine.
type Face interface {
	// Done is closed when it has ended, by Close or by itself.
	Done() <-chan struct{}
	// Close ends it, and returns when what was written through it is kept.
	Close() error
}

// Keep keeps a face until it ends by itself or the agent ends, which ends it
// before anything else. It fails, and ends the face, where the agent is about to
// end, or does not stay.
func (a *Agent) Keep(f Face) error {
	a.mu.Lock()
	refused := a.ended || !a.cfg.Stays
	if !refused {
		if a.faces == nil {
			a.faces = map[Face]bool{}
		}
		a.faces[f] = true
		a.keeping.Go(func() {
			<-f.Done()
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.faces, f)
		})
	}
	a.mu.Unlock()
	if !refused {
		return nil
	}
	return errors.Join(fault.Errorf(fault.Conflict, "the process that holds the device is about to end"), f.Close())
}

// endFaces ends all faces.
func (a *Agent) endFaces() error {
	a.mu.Lock()
	a.ended = true
	all := make([]Face, 0, len(a.faces))
	for f := range a.faces {
		all = append(all, f)
	}
	a.mu.Unlock()
	var failed []error
	for _, f := range all {
		failed = append(failed, f.Close())
	}
	if err := errors.Join(failed...); err != nil {
		return err // what could not be ended ends with the process
	}
	a.keeping.Wait()
	return nil
}
