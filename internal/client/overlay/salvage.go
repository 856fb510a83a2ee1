package overlay

import (
	"fmt"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/journal"
	"parsec/internal/client/merge"
	"parsec/internal/client/work"
	"parsec/internal/format/manifest"
)

// salvage makes files, in a folder of their own, of contents that were being
// kept when nothing is left that tells which: the lists of what waited are
// damaged, in both their copies. Some of it may have been sent long ago.
func (o *Overlay) salvage(records []journal.Record, damage journal.Damage) {
	files := map[id.Entry]work.Event{}
	var folder id.Entry
	for _, r := range records {
		e, err := work.DecodeEvent(r.Body)
		if err != nil || e.Kind != work.EvWrite || r.Payload == 0 {
			continue
		}
		if folder.IsZero() {
			folder = o.salvaged(o.Root, "recovered "+o.Now().UTC().Format("2006-01-02 150405"), merge.Node{Kind: manifest.Folder, Created: e.Modified}).Entry
		}
		to, ok := files[e.Entry]
		if !ok {
			to = o.salvaged(folder, fmt.Sprintf("file %d", len(files)+1), merge.Node{Kind: manifest.File, Created: e.Modified, Modified: e.Modified})
		}
		to.Changes++
		files[e.Entry] = to
		e.Entry, e.Changes, e.Record, e.Payload, e.Open = to.Entry, to.Changes, r.Number, r.Payload, false
		if err := o.work.Apply(e); err != nil {
			o.giveUp(to.Entry, err)
		}
	}
	o.lose(o.Root, fault.WithHint(fault.Broken("local data is what this device wrote", "both copies of the list of what waited to be sent are damaged, %d contents are recovered: %w", len(files), damage),
		"look into the folder \"recovered\" for what was not sent; the rest shows the server's version"))
}

// salvaged makes an entry for what is recovered.
func (o *Overlay) salvaged(in id.Entry, name string, n merge.Node) work.Event {
	e := work.Event{Kind: work.EvCreate, Entry: id.New[id.Entry](), Place: merge.Place{Folder: in, Name: name}, Node: n, At: o.Now()}
	if err := o.work.Apply(e); err != nil {
		o.giveUp(e.Entry, err)
	}
	return e
}
