package verify_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"parsec/internal/format/record"
	"parsec/internal/verify"
	"parsec/internal/verify/verifytest"
)

// outcome is what the rules say of a record: the promise that it broke, or accepted.
type outcome string

const (
	accepted  outcome = "accepted"
	form      outcome = "only well-formed records"
	forged    outcome = "signed by its author"
	place     outcome = "append-only history"
	sequence  outcome = "no record dropped, repeated or reordered"
	backwards outcome = "time never goes back"
	unknown   outcome = "no part of the organization's log withheld"
	denied    outcome = "only authorized authors"
	version   outcome = "versions follow each other"
	due       outcome = "a fresh key after each revocation"
)

func outcomeOf(err error) outcome {
	var v *verify.Violation
	switch {
	case err == nil:
		return accepted
	case errors.As(err, &v):
		return outcome(v.Rule.String())
	}
	return outcome(err.Error())
}

// cast is an organization with one of each kind of person.
type cast struct {
	*verifytest.Kit
	// alice is an administrator with a second device, desk.
	alice, desk *verifytest.Device
	// carol is another administrator.
	carol *verifytest.Device
	// bob is a standard user with a second device, phone.
	bob, phone *verifytest.Device
	dave       *verifytest.Device
	// guest is an outsider.
	guest *verifytest.Device
	// gone is a user who was revoked.
	gone *verifytest.Device
	// lost was a device of dave's; his key was replaced when it was revoked.
	lost *verifytest.Device
}

func noon() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

func newCast(t *testing.T) *cast {
	t.Helper()
	// The clock stands still, so that only the rule in question decides.
	k := verifytest.NewWith(t, verifytest.Config{Sequester: true, Now: noon})
	c := &cast{Kit: k, alice: k.Admin, carol: k.AddUser(record.ProfileAdmin), bob: k.AddUser(record.ProfileStandard)}
	c.dave, c.guest, c.gone = k.AddUser(record.ProfileStandard), k.AddUser(record.ProfileOutsider), k.AddUser(record.ProfileAdmin)
	c.desk, c.phone, c.lost = k.AddDevice(c.alice), k.AddDevice(c.bob), k.AddDevice(c.dave)
	k.RevokeUser(c.alice, c.gone)
	k.RevokeAndReplace(c.dave, c.lost)
	return c
}

// tryOrganization appends a record and holds the state to its promise: a
// refused record leaves it as it was.
func tryOrganization(t *testing.T, k *verifytest.Kit, raw []byte, want outcome) {
	t.Helper()
	before := k.Org.Snapshot()
	_, err := k.Try(raw)
	if got := outcomeOf(err); got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
	if err != nil && !bytes.Equal(before, k.Org.Snapshot()) {
		t.Error("a refused record changed the state")
	}
}

// tryWorkspace is the same for a workspace.
func tryWorkspace(t *testing.T, w *verifytest.Workspace, raw []byte, want outcome) {
	t.Helper()
	before := w.State.Snapshot()
	_, err := w.Try(raw)
	if got := outcomeOf(err); got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
	if err != nil && !bytes.Equal(before, w.State.Snapshot()) {
		t.Error("a refused record changed the state")
	}
}

func flipped(raw []byte, bit int) []byte {
	out := bytes.Clone(raw)
	out[bit/8] ^= 1 << (bit % 8)
	return out
}
