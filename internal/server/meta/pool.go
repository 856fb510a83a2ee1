package meta

import "time"

// Pool is how a store uses its connections to a database. A store without any
// has none of this.
type Pool struct {
	// InUse and Idle are how many connections there are now, and Most is how
	// many there may be.
	InUse, Idle, Most int64
	// Waits is how often a transaction had to wait for one since the store was
	// opened, and Waited how long all of these together.
	Waits  int64
	Waited time.Duration
}
