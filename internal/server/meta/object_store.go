package meta

// StoreID is the number by which placements know an object store. It is given
// when the store is first registered, begins with 1, and is never given again.
type StoreID int64

// StoreState says what is done with an object store.
type StoreState int64

// The states of an object store. They are stored; their numbers stay.
const (
	// StoreActive is read, and new packs are placed in it.
	StoreActive StoreState = iota
	// StoreDraining is read and emptied, and nothing new is placed in it.
	StoreDraining
	// StoreRetired holds nothing that is needed, and is not opened.
	StoreRetired
)

// ObjectStore is a store of packs.
type ObjectStore struct {
	ID StoreID
	// Name is its URL without credentials.
	Name  string
	State StoreState
	// URL is that of a store that was added while servers ran, with its
	// credentials if it was given any; "" for one that the configuration names.
	URL string
	// Marker is what the store holds to be known again; opaque, and empty as
	// long as it holds none.
	Marker []byte
}

// ObjectStores are the stores of packs, and the work on them.
type ObjectStores interface {
	// Register returns the number of the store with a name, which it gives to
	// one that is new. When it is number 1, the packs that have no placement are
	// placed whole in it, without checksums: they were stored while there was
	// one store and no need to say where.
	Register(name string) (StoreID, error)
	// List returns all stores, by ascending number.
	List() ([]ObjectStore, error)
	// Set changes the state, the URL and the marker of a store.
	Set(s ObjectStore) error
	// Forget removes the repairs of a store.
	Forget(s StoreID) error
	// Repairs returns how many repairs of each store are queued.
	Repairs() (map[StoreID]int64, error)
	// Uses reports whether blocks were uploaded with a pack. A pack without
	// any is one whose upload goes on, or failed.
	Uses(key PackKey) (bool, error)
	// Job returns what was noted of a job; nil for nothing.
	Job(name string) ([]byte, error)
	// SetJob notes what becomes of a job; opaque. It fails with stale unless
	// what is noted is what was.
	SetJob(name string, was, is []byte) error
}
