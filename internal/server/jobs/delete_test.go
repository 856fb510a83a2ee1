package jobs_test

import (
	"strings"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/faulty"
	"parsec/internal/server/jobs"
	"parsec/internal/server/meta"
	"parsec/internal/server/servertest"
)

// deletion begins to delete the house's organization, and looks whether it is gone.
func (h *house) deletion(blobs blob.Store) (look func() error, gone func() bool) {
	h.t.Helper()
	if _, err := h.Organizations.Delete(h.t.Context(), h.Org.Name()); err != nil {
		h.t.Fatal(err)
	}
	look = func() error { return h.runner(jobs.Organizations(h.Meta, blobs, time.Hour, h.Now)).Look(h.t.Context()) }
	return look, func() bool {
		all, err := h.Organizations.List(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		return len(all) == 0
	}
}

// objects counts what the store holds of a workspace.
func (h *house) objects(w id.Workspace) (n int) {
	h.t.Helper()
	for _, err := range h.Blobs.List(h.t.Context(), blob.Scope{Organization: h.Fingerprint(), Workspace: w}, id.Pack{}) {
		if err != nil {
			h.t.Fatal(err)
		}
		n++
	}
	return n
}

func TestADeletionLeavesUploadsThatAreUnderWayTheirTime(t *testing.T) {
	h := newHouse(t)
	w := h.CreateWorkspace(h.Admin).ID
	h.upload(w, 100)
	// What an upload stored whose rows are not there yet, and perhaps never are.
	under := blob.Key{Scope: blob.Scope{Organization: h.Fingerprint(), Workspace: w}, Pack: id.New[id.Pack]()}
	if err := h.Blobs.Put(t.Context(), under, [][]byte{[]byte("under way")}); err != nil {
		t.Fatal(err)
	}
	look, gone := h.deletion(h.Blobs)
	servertest.Kind(t, "while an upload is under way", look(), fault.Busy)
	if n := h.objects(w); n != 1 || gone() {
		t.Errorf("%d objects are left, and the organization is gone: %v", n, gone())
	}
	_, _, err := h.Organizations.Stats(t.Context(), h.Org.Name())
	if err != nil {
		t.Fatal(err)
	}
	h.now = h.now.Add(2 * time.Hour)
	if err := look(); err != nil || h.objects(w) != 0 || !gone() {
		t.Errorf("later: %v, %d objects are left, and the organization is gone: %v", err, h.objects(w), gone())
	}
	if err := look(); err != nil {
		t.Errorf("once more: %v", err)
	}
}

func TestADeletionThatIsBrokenOffGoesOnAndSaysWhatItWaitsFor(t *testing.T) {
	h := newHouse(t)
	w := h.CreateWorkspace(h.Admin).ID
	for range 5 {
		h.upload(w, 100)
	}
	blobs := faulty.New(h.Blobs)
	look, gone := h.deletion(blobs)
	for _, persisted := range []bool{false, true} {
		blobs.Inject(faulty.Delete, faulty.Fault{Err: fault.Errorf(fault.Unreachable, "the disk is away"), Persisted: persisted, Times: 1})
		servertest.Kind(t, "a store that fails", look(), fault.Unreachable)
		row, _, err := h.Organizations.Stats(t.Context(), h.Org.Name())
		if err != nil || !strings.Contains(row.Problem, "the disk is away") || gone() {
			t.Errorf("it waits for %q, %v", row.Problem, err)
		}
	}
	if err := look(); err != nil || h.objects(w) != 0 || !gone() {
		t.Errorf("at last: %v, %d objects are left, and the organization is gone: %v", err, h.objects(w), gone())
	}
	if err := h.Meta.Read(t.Context(), func(tx meta.Tx) error {
		trail, err := tx.Audit().List(0, 0, 10)
		if len(trail) != 1 || trail[0].What != "removed organization" || trail[0].Subject != h.Org.Name() {
			t.Errorf("the trail is %+v", trail)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
