package jobs

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/meta"
)

const (
	// Deletion is the name of the job that removes deleted organizations.
	Deletion = "organizations"
	// rowsAtOnce is how many rows of a deleted organization one transaction removes.
	rowsAtOnce = 1000
	// removers is how many objects are removed at once.
	removers = 8
	// maxProblem is how many bytes of a problem are kept.
	maxProblem = 500
)

// clearer is a store that may still hold parts of objects that are deleted.
type clearer interface {
	// Clear removes them, for an organization, and fails unless none is left.
	Clear(ctx context.Context, o id.Fingerprint) error
}

// Organizations removes the organizations that the operator deleted: first the
// objects from every store, then the rows, and the organization's own last, so
// that it is listed, with what it waits for, as long as there is anything of
// it. An upload may take as long as upload says: what one that was under way
// at the deletion has stored is left to it for so long.
func Organizations(store meta.Store, blobs blob.Store, upload time.Duration, now func() time.Time) Job {
	d := deleter{store, blobs, upload, now}
	return Job{Name: Deletion, Run: d.run}
}

// deleter deletes organizations.
type deleter struct {
	store  meta.Store
	blobs  blob.Store
	upload time.Duration
	now    func() time.Time
}

// run deletes all that are to be deleted. One that cannot be holds no other up.
func (d deleter) run(ctx context.Context) (failed error) {
	for after, more := meta.OrganizationKey(0), true; more; {
		var page []meta.Organization
		if err := d.store.Read(ctx, func(tx meta.Tx) (err error) {
			page, err = tx.Deletions().Begun(after, batch)
			return err
		}); err != nil {
			return fault.Errorf(fault.KindOf(err), "find deleted organizations: %w", err)
		}
		for _, o := range page {
			err := d.delete(ctx, o)
			if ctx.Err() != nil {
				return err
			}
			if err != nil {
				failed = fault.Errorf(fault.KindOf(err), "delete organization %s: %w", o.Fingerprint, err)
				if err := d.note(ctx, o, err.Error()); err != nil {
					return err
				}
			}
			after = o.Key
		}
		more = len(page) == batch
	}
	return failed
}

// delete does all that is left to do of one deletion.
func (d deleter) delete(ctx context.Context, o meta.Organization) error {
	if !o.Fingerprint.IsZero() {
		if err := d.objects(ctx, o); err != nil {
			return err
		}
	}
	for more := true; more; {
		if err := d.store.Write(ctx, func(tx meta.Tx) (err error) {
			more, err = tx.Deletions().Remove(o.Key, rowsAtOnce)
			return err
		}); fault.Is(err, fault.NotFound) {
			return nil // another process was faster
		} else if err != nil {
			return err
		}
	}
	return d.end(ctx, o)
}

// end removes the last row, and says so in the audit trail.
func (d deleter) end(ctx context.Context, o meta.Organization) error {
	err := d.store.Write(ctx, func(tx meta.Tx) error {
		if _, err := tx.Organizations().Lock(o.Key, meta.Exclusive); err != nil {
			return err
		}
		// What a request that read without a lock wrote meanwhile.
		if more, err := tx.Deletions().Remove(o.Key, rowsAtOnce); err != nil || more {
			return fault.Errorf(kindOf(err), "something of it came to be meanwhile: %v", err)
		}
		if err := tx.Deletions().End(o.Key); err != nil {
			return err
		}
		return tx.Audit().Append(meta.Deed{
			At: d.now().UnixNano(), Act: id.New[id.Act](), What: "removed organization", Subject: o.Name, Outcome: "ok",
		})
	})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func kindOf(err error) fault.Kind {
	if err == nil {
		return fault.Busy
	}
	return fault.KindOf(err)
}

// note says in the organization's row what keeps it from going.
func (d deleter) note(ctx context.Context, o meta.Organization, problem string) error {
	if problem = problem[:min(len(problem), maxProblem)]; problem == o.Problem {
		return nil
	}
	err := d.store.Write(ctx, func(tx meta.Tx) error {
		row, err := tx.Organizations().Lock(o.Key, meta.Exclusive)
		if err != nil {
			return err
		}
		row.Problem = problem
		return tx.Organizations().Update(row)
	})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// objects removes the objects of an organization, also those that no row leads
// to any more.
func (d deleter) objects(ctx context.Context, o meta.Organization) error {
	left, err := d.placed(ctx, o)
	if err != nil {
		return err
	}
	for after, more := (id.Workspace{}), true; more; {
		var page []id.Workspace
		if err := d.store.Read(ctx, func(tx meta.Tx) (err error) {
			page, err = tx.Deletions().Workspaces(o.Key, after, batch)
			return err
		}); err != nil {
			return err
		}
		for _, w := range page {
			some, err := d.listed(ctx, blob.Scope{Organization: o.Fingerprint, Workspace: w})
			if err != nil {
				return err
			}
			left += some
			after = w
		}
		more = len(page) == batch
	}
	if c, ok := d.blobs.(clearer); ok {
		if err := c.Clear(ctx, o.Fingerprint); err != nil {
			return err
		}
	}
	if left > 0 {
		return fault.Errorf(fault.Busy, "%d uploads that were under way are waited for until %s",
			left, time.Unix(0, o.Deleting).Add(d.upload).UTC().Format(time.RFC3339))
	}
	return nil
}

// placed removes the packs that have a placement. It returns how many it left
// to uploads that may be under way.
func (d deleter) placed(ctx context.Context, o meta.Organization) (left int, err error) {
	over := d.now().After(time.Unix(0, o.Deleting).Add(d.upload))
	for after, more := (meta.PackKey{Organization: o.Fingerprint}), true; more; {
		var page []meta.Placement
		var keys []blob.Key
		if err := d.store.Read(ctx, func(tx meta.Tx) (err error) {
			page, err = tx.Placements().List(after, batch)
			for _, p := range page {
				used := over
				if err == nil && !over && p.Key.Organization == o.Fingerprint {
					used, err = tx.ObjectStores().Uses(p.Key)
				}
				switch {
				case err != nil || p.Key.Organization != o.Fingerprint:
				case used:
					keys = append(keys, blob.Key{Scope: blob.Scope{Organization: p.Key.Organization, Workspace: p.Key.Workspace}, Pack: p.Key.Pack})
				default:
					left++
				}
			}
			return err
		}); err != nil {
			return left, err
		}
		if err := d.remove(ctx, keys); err != nil {
			return left, err
		}
		if more = len(page) == batch && page[batch-1].Key.Organization == o.Fingerprint; more {
			after = page[batch-1].Key
		}
	}
	return left, nil
}

// listed removes the objects that the store lists. It returns how many it left
// to uploads that may be under way: those so young that no rows lead to.
func (d deleter) listed(ctx context.Context, scope blob.Scope) (left int, err error) {
	var keys []blob.Key
	for object, err := range d.blobs.List(ctx, scope, id.Pack{}) {
		if err != nil {
			return left, err
		}
		used := d.now().Sub(object.Modified) > d.upload
		if !used {
			if err := d.store.Read(ctx, func(tx meta.Tx) (err error) {
				used, err = tx.ObjectStores().Uses(meta.PackKey{Organization: scope.Organization, Workspace: scope.Workspace, Pack: object.Key.Pack})
				return err
			}); err != nil {
				return left, err
			}
		}
		if !used {
			left++
			continue
		}
		if keys = append(keys, object.Key); len(keys) == batch {
			if err := d.remove(ctx, keys); err != nil {
				return left, err
			}
			keys = keys[:0]
		}
	}
	return left, d.remove(ctx, keys)
}

// remove removes objects, several at once.
func (d deleter) remove(ctx context.Context, keys []blob.Key) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(removers)
	for _, key := range keys {
		group.Go(func() error { return d.blobs.Delete(ctx, key) })
	}
	return group.Wait()
}
