package admin

import (
	"context"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/server/blob/redundant"
)

// several returns the object stores, where there are several.
func (a *API) several() (*redundant.Store, error) {
	if a.stores == nil {
		return nil, fault.WithHint(fault.Errorf(fault.Conflict, "this server keeps its packs in one object store, as it is"),
			"restart it with that store first, another one behind it and --redundancy; then `parsec-server store scrub --repair` copies what it has")
	}
	return a.stores, nil
}

// ListStores lists the object stores and the work on them.
func (a *API) ListStores(ctx context.Context, _ *parsecv1.ListStoresRequest) (*parsecv1.ListStoresResponse, error) {
	stores, err := a.several()
	if err != nil {
		return nil, err
	}
	all, jobs, err := stores.Status(ctx)
	if err != nil {
		return nil, err
	}
	m := new(parsecv1.ListStoresResponse)
	for _, s := range all {
		f := s.Found
		m.Stores = append(m.Stores, &parsecv1.ObjectStore{
			Name: s.Name, State: s.State, Problem: s.Problem, Repairs: s.Repairs,
			Parts: f.Parts, Bytes: f.Bytes, Lost: f.Lost, Rotten: f.Rotten, Unreachable: f.Unreachable, Repaired: f.Repaired,
		})
	}
	for _, j := range jobs {
		m.Jobs = append(m.Jobs, &parsecv1.StoreJob{
			Kind: j.Kind, Store: j.StoreName, Into: j.IntoName, Repair: j.Repair, Rate: j.Rate, Started: j.Started, Finished: j.Finished,
			Packs: j.Packs, Bytes: j.Bytes, Failed: j.Failed, Problem: j.Problem,
		})
	}
	return m, nil
}

// ScrubStores begins to verify all packs in all stores.
func (a *API) ScrubStores(ctx context.Context, q *parsecv1.ScrubStoresRequest) (*parsecv1.ScrubStoresResponse, error) {
	stores, err := a.several()
	if err != nil {
		return nil, err
	}
	return new(parsecv1.ScrubStoresResponse), stores.StartScrub(ctx, q.GetRepair(), q.GetRate())
}

// AddStore adds a store, or takes one back into use.
func (a *API) AddStore(ctx context.Context, q *parsecv1.AddStoreRequest) (*parsecv1.AddStoreResponse, error) {
	stores, err := a.several()
	if err != nil {
		return nil, err
	}
	_, name, err := stores.Add(ctx, q.GetUrl())
	if err != nil {
		return nil, err
	}
	return &parsecv1.AddStoreResponse{Name: name}, nil
}

// DrainStore begins to empty a store, perhaps into another one.
func (a *API) DrainStore(ctx context.Context, q *parsecv1.DrainStoreRequest) (*parsecv1.DrainStoreResponse, error) {
	stores, err := a.several()
	if err != nil {
		return nil, err
	}
	name, err := stores.Drain(ctx, q.GetUrl(), q.GetInto(), q.GetRate())
	if err != nil {
		return nil, err
	}
	return &parsecv1.DrainStoreResponse{Name: name}, nil
}
