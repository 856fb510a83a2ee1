package redundant

import (
	"context"

	"parsec/internal/server/meta"
)

// Status is how a store is doing.
type Status struct {
	// Name is its URL without credentials.
	Name string
	// State is active, draining or retired, or else failing where it fails
	// again and again, wrong where it is not the store that it was, and missing
	// where this process does not know how to open it.
	State string
	// Problem is why, if it is not as it should be.
	Problem string
	// Repairs is how many are queued.
	Repairs int64
	// Found is what the last scrub found.
	Found Found
}

// Progress is a job, and the names of the stores that it is about.
type Progress struct {
	Job
	StoreName, IntoName string
}

// Status returns how the stores are doing, and the jobs on them: those that go
// on, and the last of each kind that ended.
func (s *Store) Status(ctx context.Context) (all []Status, jobs []Progress, err error) {
	var rows []meta.ObjectStore
	var repairs map[meta.StoreID]int64
	if err := s.rows.Read(ctx, func(tx meta.Tx) (err error) {
		if rows, err = tx.ObjectStores().List(); err == nil {
			repairs, err = tx.ObjectStores().Repairs()
		}
		return err
	}); err != nil {
		return nil, nil, err
	}
	found, names := map[meta.StoreID]*Found{}, map[meta.StoreID]string{}
	for _, row := range rows {
		names[row.ID] = row.Name
	}
	for _, kind := range []string{jobScrub, jobDrain} {
		j, _, err := s.job(ctx, kind)
		if err != nil {
			return nil, nil, err
		}
		if j != nil {
			jobs = append(jobs, Progress{Job: *j, StoreName: names[j.Store], IntoName: names[j.Into]})
			if kind == jobScrub {
				found = j.Found
			}
		}
	}
	for _, row := range rows {
		one := Status{Name: row.Name, Repairs: repairs[row.ID]}
		one.State, one.Problem = s.stateOf(ctx, row)
		if f := found[row.ID]; f != nil {
			one.Found = *f
		}
		all = append(all, one)
	}
	return all, jobs, nil
}

// stateOf returns how a store is, and why. It asks the store, which may not
// have been asked for long.
func (s *Store) stateOf(ctx context.Context, row meta.ObjectStore) (state, problem string) {
	if row.State == meta.StoreRetired {
		return "retired", ""
	}
	m, err := s.member(row.ID)
	if err != nil {
		return "missing", "neither the configuration nor the database says how to open it"
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.Rest)
	defer cancel()
	_, err = m.Store.Size(ctx, markerKey())
	m.mu.Lock()
	wrong := m.wrong
	m.mu.Unlock()
	switch {
	case wrong != nil:
		return "wrong", wrong.Error()
	case err != nil:
		return "failing", err.Error()
	case row.State == meta.StoreDraining:
		return "draining", ""
	}
	return "active", ""
}

// Repairs returns how many repairs of each store are queued, by name.
func (s *Store) Repairs(ctx context.Context) (all map[string]int64, err error) {
	all = map[string]int64{}
	err = s.rows.Read(ctx, func(tx meta.Tx) error {
		rows, err := tx.ObjectStores().List()
		if err != nil {
			return err
		}
		repairs, err := tx.ObjectStores().Repairs()
		for _, row := range rows {
			if row.State != meta.StoreRetired {
				all[row.Name] = repairs[row.ID]
			}
		}
		return err
	})
	return all, err
}
