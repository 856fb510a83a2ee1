package jobs

import (
	"context"
	"errors"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/server/blob"
	"parsec/internal/server/meta"
)

const (
	// orphanAge is how long after an upload a commit may introduce its blocks.
	orphanAge = 7 * 24 * time.Hour
	// objectAge is how long an object stays whose rows are gone. A backup that
	// copies the database and then the objects has so long.
	objectAge = 24 * time.Hour
	// invitationAge is how long an invitation stays that nobody can use any more.
	invitationAge = 7 * 24 * time.Hour
	// batch is how many rows one transaction looks at.
	batch = 100
)

// Blocks collects the blocks of uploads that no commit followed: their rows a
// week after the upload, which gives back what they took of the organization's
// storage, and the objects of which nothing is left a day later.
func Blocks(store meta.Store, blobs blob.Store, now func() time.Time) Job {
	c := collector{store, blobs, now}
	return Job{Name: "blocks", Every: time.Hour, Run: func(ctx context.Context) error {
		if err := c.settle(ctx); err != nil {
			return err
		}
		return c.remove(ctx)
	}}
}

// Invitations removes the invitations that expired a week ago or earlier, with
// what was left in their mailboxes.
func Invitations(store meta.Store, now func() time.Time) Job {
	return Job{Name: "invitations", Every: 24 * time.Hour, Run: func(ctx context.Context) error {
		expired := now().Add(-invitationAge).UnixNano()
		for n := batch; n == batch; {
			if err := store.Write(ctx, func(tx meta.Tx) (err error) {
				n, err = tx.Leftovers().RemoveInvitations(expired, batch)
				return err
			}); err != nil {
				return fault.Errorf(fault.KindOf(err), "remove expired invitations: %w", err)
			}
		}
		return nil
	}}
}

// Repairs mends what stores lack of what they should hold.
func Repairs(stores interface{ Mend(context.Context) error }) Job {
	return Job{Name: "repairs", Run: stores.Mend}
}

// collector collects what uploads left behind.
type collector struct {
	store meta.Store
	blobs blob.Store
	now   func() time.Time
}

// settle removes rows.
func (c collector) settle(ctx context.Context) error {
	added := c.now().Add(-orphanAge).UnixNano()
	for n := batch; n == batch; {
		if err := c.store.Write(ctx, func(tx meta.Tx) (err error) {
			n, err = tx.Leftovers().Settle(added, c.now().UnixNano(), batch)
			return err
		}); err != nil {
			return fault.Errorf(fault.KindOf(err), "collect blocks without a commit: %w", err)
		}
	}
	return nil
}

// remove removes objects. The row goes after its object, so that an object
// that could not be removed is known as long as it is there; a store that
// fails holds nothing else up.
func (c collector) remove(ctx context.Context) error {
	since := c.now().Add(-objectAge).UnixNano()
	var failed error
	for after, more := (meta.Leftover{}), true; more; {
		var packs, removed []meta.Leftover
		if err := c.store.Read(ctx, func(tx meta.Tx) (err error) {
			packs, err = tx.Leftovers().Emptied(since, after, batch)
			return err
		}); err != nil {
			return fault.Errorf(fault.KindOf(err), "find empty packs: %w", err)
		}
		for _, p := range packs {
			err := c.blobs.Delete(ctx, blob.Key{Scope: blob.Scope{Organization: p.Key.Organization, Workspace: p.Key.Workspace}, Pack: p.Key.Pack})
			if ctx.Err() != nil {
				return err
			}
			if err == nil {
				removed = append(removed, p)
			} else if failed == nil {
				failed = fault.Errorf(fault.KindOf(err), "remove an empty pack: %w", err)
			}
		}
		if err := c.store.Write(ctx, func(tx meta.Tx) error { return tx.Leftovers().Remove(removed) }); err != nil {
			return errors.Join(failed, fault.Errorf(fault.KindOf(err), "remove empty packs: %w", err))
		}
		if more = len(packs) == batch; more {
			after = packs[batch-1]
		}
	}
	return failed
}
