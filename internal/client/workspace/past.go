package workspace

import (
	"context"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/client/store"
)

// Made is what one record of the log made.
type Made struct {
	Index uint64
	// Time is when its author says that it was, in nanoseconds since the Unix epoch.
	Time int64
	// Versions are those that a commit made, without manifests.
	Versions []store.Version
}

// backwards is how many records are read at once on the way back.
const backwards = 16

// Backwards calls visit with what the records of the verified log made, from an
// index back to the first, until visit returns false.
func (w *Workspace) Backwards(ctx context.Context, from uint64, visit func(Made) (more bool)) error {
	for from > 0 {
		after := from - min(from, backwards)
		some, err := w.made(ctx, after, from)
		if err != nil {
			return err
		}
		for _, m := range slices.Backward(some) {
			if !visit(m) {
				return nil
			}
		}
		from = after
	}
	return nil
}

// Made returns what the record at an index of the verified log made.
func (w *Workspace) Made(ctx context.Context, index uint64) (Made, error) {
	some, err := w.made(ctx, index-1, index)
	if err != nil {
		return Made{}, err
	}
	return some[0], nil
}

// made returns what the records behind an index made, up to another.
func (w *Workspace) made(ctx context.Context, after, to uint64) (all []Made, err error) {
	for kept, err := range w.session.Local().State.Records(ctx, w.id, after) {
		if err != nil {
			return nil, err
		}
		if kept.Index > to {
			break
		}
		step, err := decode(kept)
		if err != nil {
			return nil, err
		}
		all = append(all, Made{kept.Index, step.Record.Time, versionsOf(step)})
	}
	if uint64(len(all)) != to-after {
		return nil, fault.Errorf(fault.Failed, "read the log of %s: it has no record at index %d", w.what(), to)
	}
	return all, nil
}
