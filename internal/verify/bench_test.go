package verify_test

import (
	"fmt"
	"testing"

	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/verify"
	"parsec/internal/verify/verifytest"
)

// BenchmarkAppend measures one commit behind a history of others, with its
// signature and without, beside the number of changes, members and users.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ changes, members, users, commits int }{
		{1, 1, 10, 10},
		{1, 1, 10, 10_000},
		{1, 1, 5_000, 10},
		{1, 5_000, 5_000, 10},
		{1_000, 1, 10, 10},
		{1_000, 1, 10, 1_000},
	} {
		name := fmt.Sprintf("changes=%d/members=%d/users=%d/commits=%d", c.changes, c.members, c.users, c.commits)
		b.Run(name, func(b *testing.B) {
			w := newLarge(b, c.members, c.users)
			for range c.commits {
				w.Commit(w.author, w.changes(1)...)
			}
			raw := w.Sign(w.author, w.Changes(w.changes(c.changes)...))
			signed, err := verify.Authenticate(w.kit.Org, raw)
			if err != nil {
				b.Fatal(err)
			}
			b.Run("authenticate", func(b *testing.B) {
				for b.Loop() {
					if _, err := verify.Authenticate(w.kit.Org, raw); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("append", func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					state := w.State.Clone()
					b.StartTimer()
					if err := state.CheckPresent(w.kit.Org, signed); err != nil {
						b.Fatal(err)
					}
					if _, err := state.Append(w.kit.Org, w.History, signed); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkReplay measures what a new device does once: 10,000 commits, or as
// many changes in larger ones.
func BenchmarkReplay(b *testing.B) {
	for _, c := range []struct{ commits, changes int }{{10_000, 1}, {100, 1_000}} {
		b.Run(fmt.Sprintf("commits=%d/changes=%d", c.commits, c.changes), func(b *testing.B) {
			w := newLarge(b, 3, 10)
			for range c.commits {
				w.Commit(w.author, w.changes(c.changes)...)
			}
			var bytes int64
			for _, raw := range w.Records {
				bytes += int64(len(raw))
			}
			b.SetBytes(bytes)
			for b.Loop() {
				state, history := verify.NewWorkspace(w.kit.Fingerprint(), w.ID), verifytest.NewMemory()
				for _, raw := range w.Records {
					s, err := verify.Authenticate(w.kit.Org, raw)
					if err != nil {
						b.Fatal(err)
					}
					step, err := state.Append(w.kit.Org, history, s)
					if err != nil {
						b.Fatal(err)
					}
					history.Apply(step)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N*c.commits*c.changes), "ns/change")
		})
	}
}

// large is a workspace in an organization of some size, in which one user in
// ten lost a device and was given another key since.
type large struct {
	*verifytest.Workspace
	kit    *verifytest.Kit
	author *verifytest.Device
}

func newLarge(b *testing.B, members, users int) *large {
	k := verifytest.NewWith(b, verifytest.Config{Now: noon})
	w := &large{Workspace: k.CreateWorkspace(k.Admin), kit: k, author: k.Admin}
	for i := 1; i < users; i++ {
		u := k.AddUser(record.ProfileStandard)
		if i%10 == 0 {
			k.RevokeAndReplace(u, k.AddDevice(u))
		}
		if i < members {
			w.Share(k.Admin, u, record.RoleContributor)
		}
	}
	return w
}

func (w *large) changes(n int) []record.Change {
	changes := make([]record.Change, n)
	for i := range changes {
		e := id.New[id.Entry]()
		changes[i] = record.Change{Entry: e, Version: 1, Base: 1, Manifest: append(e[:], e[:]...)}
	}
	return changes
}
