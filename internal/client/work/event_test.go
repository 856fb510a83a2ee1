package work_test

import (
	"bytes"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/journal"
	"parsec/internal/client/merge"
	"parsec/internal/client/work"
	"parsec/internal/format/manifest"
)

// events are one of each kind that is made from outside.
func events() []work.Event {
	at := time.Unix(1_800_000_000, 5)
	e, folder := id.New[id.Entry](), id.New[id.Entry]()
	place := merge.Place{Folder: folder, Name: "name"}
	file := merge.Node{Kind: manifest.File, Created: 1, Modified: 2, File: manifest.FileBody{Size: 3, Executable: true}}
	link := merge.Node{Kind: manifest.Symlink, Created: 1, Modified: 2, Target: "target"}
	adopted := []work.Adopted{{Entry: e, Seen: merge.Seen{Version: 7, Place: place, Node: file}}}
	return []work.Event{
		{Kind: work.EvCreate, Entry: e, At: at, Place: place, Node: link, Folders: adopted, Local: true},
		{Kind: work.EvTouch, Entry: e, At: at, Adopt: adopted, Copy: folder},
		{Kind: work.EvWrite, Entry: e, At: at, Number: 1 << 40, Modified: 5, Changes: 9, Open: true},
		{Kind: work.EvTruncate, Entry: e, At: at, Number: 77, Modified: 5, Changes: 9},
		{Kind: work.EvSet, Entry: e, At: at, Executable: true, Created: 8, Modified: -5},
		{Kind: work.EvRemove, Entry: e, At: at, Adopt: adopted},
		{Kind: work.EvMove, Entry: e, At: at, Place: place, Over: folder, Copy: e},
		{Kind: work.EvTake, Ops: []uint64{3, 4, 1000}},
		{Kind: work.EvStored, Number: 12, Piece: work.Piece{From: 0, To: 0, Refs: []manifest.Ref{}}},
		{Kind: work.EvLost, Entry: e, At: at, Text: "why"},
		{Kind: work.EvPublish, Entry: e, At: at},
	}
}

func TestAnEventComesBackAsItWasAndAPartOfItDoesNot(t *testing.T) {
	for _, e := range events() {
		whole := e.Encode()
		back, err := work.DecodeEvent(whole)
		if err != nil {
			t.Errorf("kind %d: %v", e.Kind, err)
			continue
		}
		if again := back.Encode(); !bytes.Equal(again, whole) {
			t.Errorf("kind %d came back as another one:\n%x\n%x", e.Kind, again, whole)
		}
		for n := range whole {
			if _, err := work.DecodeEvent(whole[:n]); !fault.Is(err, fault.Integrity) {
				t.Fatalf("kind %d: the first %d of %d bytes are taken for all: %v", e.Kind, n, len(whole), err)
			}
		}
	}
	for _, b := range [][]byte{nil, {0}, {200, 1}} {
		if _, err := work.DecodeEvent(b); !fault.Is(err, fault.Integrity) {
			t.Errorf("%x is taken for an event: %v", b, err)
		}
	}
}

// A tree that is restored from a snapshot does with the next events what the one does
// of which the snapshot was made.
func TestASnapshotAndTheEventsBehindItGiveTheSameTree(t *testing.T) {
	root, at := id.New[id.Entry](), time.Unix(1_800_000_000, 0)
	ids := []id.Entry{id.New[id.Entry](), id.New[id.Entry](), id.New[id.Entry]()}
	place := func(name string) merge.Place { return merge.Place{Folder: root, Name: name} }
	file := merge.Node{Kind: manifest.File, Created: 1, Modified: 1}
	all := []work.Event{
		{Kind: work.EvCreate, Entry: ids[0], At: at, Place: place("a"), Node: file},
		{Kind: work.EvWrite, Entry: ids[0], At: at, Number: 0, Modified: 2, Changes: 1, Record: 2, Payload: 100},
		{Kind: work.EvCreate, Entry: ids[1], At: at, Place: place("b"), Node: merge.Node{Kind: manifest.Folder}},
		{Kind: work.EvTake, Ops: []uint64{1}},
		{Kind: work.EvTouch, Entry: ids[0], At: at, Copy: ids[2]},
		{Kind: work.EvWrite, Entry: ids[0], At: at, Number: 50, Modified: 3, Changes: 2, Record: 6, Payload: 10},
		{Kind: work.EvMove, Entry: ids[0], At: at, Place: merge.Place{Folder: ids[1], Name: "c"}, Copy: ids[2]},
		{Kind: work.EvRelease},
		{Kind: work.EvRemove, Entry: ids[0], At: at},
	}
	for n := range len(all) + 1 {
		whole, restored := work.NewTree(root), work.NewTree(root)
		apply(t, whole, all[:n])
		for _, part := range whole.Snapshot() {
			snapshot, rest, err := work.NewestSnapshot([]journal.Record{{Number: 1, Body: part}})
			if err != nil || len(rest) > 0 {
				t.Fatalf("%d records are left of one, %v", len(rest), err)
			}
			if err := restored.Restore(snapshot); err != nil {
				t.Fatal(err)
			}
		}
		apply(t, whole, all[n:])
		apply(t, restored, all[n:])
		for _, e := range append(ids, root) {
			a, b := whole.Inodes[e], restored.Inodes[e]
			if (a == nil) != (b == nil) || a != nil && (a.Place != b.Place || a.Changed() != b.Changed() || len(a.Ops) != len(b.Ops)) {
				t.Errorf("restored behind %d events, %v is %+v, want %+v", n, e, b, a)
			}
		}
		if whole.Pending() != restored.Pending() {
			t.Errorf("restored behind %d events, %d operations wait, want %d", n, restored.Pending(), whole.Pending())
		}
		at := at.Add(time.Hour)
		if a, b := len(whole.Settled(at, work.Limits{Ops: 10, Bytes: 1 << 20, Blocks: 10})), len(restored.Settled(at, work.Limits{Ops: 10, Bytes: 1 << 20, Blocks: 10})); a != b {
			t.Errorf("restored behind %d events, %d operations have settled, want %d", n, b, a)
		}
	}
}

func apply(t *testing.T, tree *work.Tree, events []work.Event) {
	t.Helper()
	for _, e := range events {
		if err := tree.Apply(e); err != nil {
			t.Fatalf("event of kind %d: %v", e.Kind, err)
		}
	}
}
