package meta

import "parsec/internal/base/id"

// PackKey names a pack as the object stores do. Placements lead with the
// organization's fingerprint and not with its key: a redundancy layer knows
// no other.
type PackKey struct {
	Organization id.Fingerprint
	Workspace    id.Workspace
	Pack         id.Pack
}

// Placement says how a pack lies in the object stores.
type Placement struct {
	Key PackKey
	// Size is that of the pack, in bytes.
	Size int64
	// Data is in how many parts the pack was cut, and Parity how many further
	// parts there are, of which as many may be lost.
	Data, Parity int
	// Stores are those that hold the parts, one for each.
	Stores []StoreID
	// Sums are the checksums of the parts' chunks; opaque here. They are empty
	// where the pack was stored before there were placements.
	Sums []byte
}

// Repair is a part of a pack that its store does not hold, or holds wrong; of
// a pack that is not placed in the store, one that it holds and should not.
type Repair struct {
	Key   PackKey
	Store StoreID
}

// Placements say where packs lie, and what of them is to be repaired.
type Placements interface {
	// Add adds a placement, unless the pack has one, and returns what the
	// pack has.
	Add(p Placement) (Placement, error)
	// Get returns a pack's placement.
	Get(key PackKey) (Placement, error)
	// Move changes the stores, the parity and the checksums of a placement if
	// its stores are still those of before, and reports whether they were.
	Move(before []StoreID, p Placement) (bool, error)
	// Remove removes a pack's placement, if there is one. Its repairs stay:
	// what their stores hold has to go.
	Remove(key PackKey) error
	// List returns the placements behind after, by ascending key, at most
	// limit of them. It begins with the zero key.
	List(after PackKey, limit int) ([]Placement, error)
	// Queue adds repairs, unless they are queued.
	Queue(repairs []Repair) error
	// Queued returns the repairs behind after, by ascending key and store, at
	// most limit of them.
	Queued(after Repair, limit int) ([]Repair, error)
	// Done removes a repair, if it is queued.
	Done(r Repair) error
}
