package overlay

import (
	"maps"
	"slices"

	"parsec/internal/client/work"
)

// do notes an event in the journal and lets it happen. The caller holds mu and
// has made sure that it can happen.
func (o *Overlay) do(e work.Event) error {
	if err := o.flushOthers(nil); err != nil {
		return err
	}
	record, err := o.journal.Append(e.Encode(), nil)
	if err != nil {
		return err
	}
	e.Record = record
	return o.work.Apply(e)
}

// checkpoint writes a snapshot that stands for all events before it, and
// releases their records but those that contents need. It is written twice:
// what is damaged of one copy is in the other. The caller holds mu.
func (o *Overlay) checkpoint() error {
	before := o.journal.Next()
	needed := map[uint64]bool{}
	parts := o.work.Snapshot()
	for range 2 {
		for _, part := range parts {
			record, err := o.journal.Append(part, nil)
			if err != nil {
				return err
			}
			needed[record] = true
		}
	}
	if err := o.journal.Flush(); err != nil {
		return err
	}
	o.work.Needed(func(record uint64) { needed[record] = true })
	var ended []uint64
	end := func(record uint64) {
		if !needed[record] {
			ended = append(ended, record)
		}
	}
	for _, record := range o.held {
		end(record)
	}
	for record := o.since; record < before; record++ {
		end(record)
	}
	o.journal.Release(ended...)
	o.held, o.since = slices.Collect(maps.Keys(needed)), before+uint64(2*len(parts))
	o.sizeThen, _ = o.journal.Held()
	return nil
}
