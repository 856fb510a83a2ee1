// Package mirror is the verified state of a workspace's tree, as this device
// holds it: it fetches the manifests that the verified log names, takes them
// into the cache, and answers which versions, children and places entries have.
// It resolves what members contradict, and hides only that. Paths, and changes
// of any kind, are the business of package files.
//
// Nothing counts before the log names it, by number and digest. What the log
// names and the server withholds is a broken promise.
package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/list"
	"parsec/internal/client/remote"
	"parsec/internal/client/store"
	"parsec/internal/client/tree"
	"parsec/internal/format/canon"
	"parsec/internal/format/manifest"
)

// PromiseComplete is that nothing of what the log names is withheld.
const PromiseComplete = "nothing withheld"

// Pull fetches and takes in the manifests that the verified log names and the
// cache does not hold. Of a workspace that is very large when it is first used,
// these are only such as are asked for, and such as were written since.
func (t *Mirror) Pull(ctx context.Context) error {
	return t.ws.Session().Exclusive(ctx, t.pull)
}

func (t *Mirror) pull(ctx context.Context) error {
	for t.ws.Behind() {
		to := t.ws.Log().Position().Index
		mark := t.ws.Mark()
		if postponed, err := t.postpone(ctx, mark, to); err != nil || postponed {
			return err
		}
		in := intake{t: t}
		err := t.ws.Session().Server().Manifests(ctx, t.ws.ID(), mark.Manifests, mark.Cursor, func(chains []remote.Chain, cursor []byte) error {
			return in.take(ctx, chains, func(m *store.Mark) { m.Cursor = cursor })
		})
		if err = errors.Join(err, in.wait()); err == nil {
			err = t.Settle(ctx)
		}
		if err != nil {
			return err
		}
		done := func(m *store.Mark) { m.Manifests, m.Cursor = to, nil }
		if err := t.write(ctx, nil, done); err != nil {
			return err
		}
	}
	return nil
}

// arrival is what one entry's manifests change in the cache.
type arrival struct {
	entry    id.Entry
	versions []store.Version
	problem  *store.Problem
	// parts and shape are of a folder.
	parts []*tree.Part
	shape []byte
	// lost says why the content of a folder's newest version cannot be had.
	lost error
	// gap says that versions before a delta are not here.
	gap bool
}

// intake takes chains in while those that come next are checked already. It
// serves one goroutine, which waits at the end.
type intake struct {
	t       *Mirror
	writing sync.WaitGroup
	// entries are those that are being written, and err is how that ended.
	entries map[id.Entry]bool
	err     error
}

func (in *intake) take(ctx context.Context, chains []remote.Chain, move func(*store.Mark)) error {
	// What is checked builds on what was written of the same entry.
	if slices.ContainsFunc(chains, func(c remote.Chain) bool { return in.entries[c.Entry] }) {
		if err := in.wait(); err != nil {
			return err
		}
	}
	arrivals, err := in.t.check(ctx, chains)
	if err != nil {
		return err
	}
	if err := in.wait(); err != nil {
		return err
	}
	in.entries = make(map[id.Entry]bool, len(arrivals))
	for _, a := range arrivals {
		in.entries[a.entry] = true
	}
	in.writing.Go(func() { in.err = in.t.write(ctx, arrivals, move) })
	return nil
}

// wait waits for what is being written.
func (in *intake) wait() error {
	in.writing.Wait()
	return in.err
}

// take checks chains against the log and takes them in, in one update. While a rest
// is not here, what a folder holds is left for when somebody looks into it: who
// lists a folder asks for all that it names, and not for what is in that.
func (t *Mirror) take(ctx context.Context, chains []remote.Chain) error {
	arrivals, err := t.checkAll(ctx, chains, t.Partial())
	if err != nil {
		return err
	}
	return t.write(ctx, arrivals, nil)
}

// check checks chains against the log.
func (t *Mirror) check(ctx context.Context, chains []remote.Chain) ([]arrival, error) {
	return t.checkAll(ctx, chains, false)
}

// checkAll does so, and does not look into folders where it is shallow.
func (t *Mirror) checkAll(ctx context.Context, chains []remote.Chain, shallow bool) ([]arrival, error) {
	entries := make([]id.Entry, len(chains))
	for i, c := range chains {
		entries[i] = c.Entry
	}
	known, err := t.cache.Chains(ctx, t.ws.ID(), entries)
	if err != nil {
		return nil, err
	}
	arrivals := make([]arrival, len(chains))
	for i, c := range chains {
		if arrivals[i], err = t.arrive(ctx, known[i], c, shallow); err != nil {
			return nil, err
		}
	}
	return arrivals, t.fill(ctx, arrivals, known)
}

// write takes in what was checked, and moves the mark.
func (t *Mirror) write(ctx context.Context, arrivals []arrival, move func(*store.Mark)) error {
	return t.ws.Cache(ctx, move, func(tx *store.CacheTx) error {
		for _, a := range arrivals {
			if err := a.write(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// arrive checks the manifests of one entry. Versions that the verified log
// does not name yet, or not any more, are passed over.
func (t *Mirror) arrive(ctx context.Context, known []store.Version, c remote.Chain, shallow bool) (arrival, error) {
	a := arrival{entry: c.Entry}
	for _, m := range c.Manifests {
		i := slices.IndexFunc(known, func(v store.Version) bool { return v.Number == m.Version })
		if i < 0 || known[i].Gone {
			continue
		}
		v := known[i]
		v.Manifest = m.Sealed
		_, body, err := t.OpenVersion(ctx, v)
		if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Upgrade) {
			return a, err
		}
		a.problem = nil
		if err != nil {
			a.blame(v, err)
		}
		if shallow {
			a.versions = append(a.versions, v)
			continue
		}
		if gap, err := t.follow(ctx, &a, v, body); err != nil || gap {
			a.gap = gap
			return a, err
		}
		a.versions = append(a.versions, v)
	}
	return a, nil
}

// blame notes that the author of a version signed what cannot be shown.
func (a *arrival) blame(v store.Version, why error) {
	a.problem = &store.Problem{Entry: v.Entry, Author: v.Author, Reason: why.Error()}
}

// Facts are what the cache keeps of a folder beside its children.
type Facts struct {
	_     struct{} `cbor:",toarray"`
	Shape tree.Shape
	Marks []tree.Mark
}

func (t *Mirror) Facts(ctx context.Context, folder id.Entry) (Facts, error) {
	var f Facts
	data, found, err := t.cache.Folder(ctx, t.ws.ID(), folder)
	if err != nil || !found {
		return f, err
	}
	return f, canon.Unmarshal(data, &f)
}

// follow takes in a version of a folder, which may be malformed. It reports a
// gap where the versions before a delta are not here.
func (t *Mirror) follow(ctx context.Context, a *arrival, v store.Version, body manifest.Body) (gap bool, err error) {
	folder, isFolder := body.(manifest.FolderBody)
	var facts Facts
	if a.shape != nil {
		err = canon.Unmarshal(a.shape, &facts)
	} else {
		facts, err = t.Facts(ctx, v.Entry)
	}
	if err != nil || !isFolder && facts.Shape == (tree.Shape{}) {
		return false, err
	}
	switch snapshot := v.Number == v.Base; {
	case snapshot: // whatever came before it is replaced
		facts, a.lost = Facts{Shape: tree.Gone(v.Number - 1)}, nil
	case a.lost != nil:
		a.blame(v, a.lost)
		return false, nil
	case v.Number <= facts.Shape.Version: // the whole chain was asked for again
		return false, nil
	case v.Number != facts.Shape.Version+1:
		return true, nil
	}
	version := tree.Version{Number: v.Number}
	if isFolder {
		version.Body = &folder
	}
	part, shape, err := facts.Shape.Follow(ctx, version, v.Base, pages{t})
	if fault.Is(err, fault.Upgrade) { // nobody announced it in the log: its author's mistake
		a.blame(v, err)
		version.Body = nil
		part, shape, err = facts.Shape.Follow(ctx, version, v.Base, pages{t})
	}
	if Confined(err) { // a page is not there: nothing else has to wait for it
		a.lost = err
		a.blame(v, err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !part.Delta {
		facts.Marks = part.Marks
	}
	facts.Shape = shape
	a.shape = canon.Marshal(facts)
	a.parts = append(a.parts, part)
	if part.Malformed != nil && a.problem == nil {
		a.blame(v, part.Malformed)
	}
	return false, nil
}

func (a arrival) write(tx *store.CacheTx) error {
	if err := tx.PutVersions(a.versions...); err != nil {
		return err
	}
	if a.problem != nil {
		if err := tx.PutProblems(*a.problem); err != nil {
			return err
		}
	} else if len(a.versions) > 0 {
		if err := tx.SolveProblems(a.entry); err != nil {
			return err
		}
	}
	for _, part := range a.parts {
		if err := writePart(tx, a.entry, part); err != nil {
			return err
		}
	}
	if a.shape == nil {
		return nil
	}
	return tx.PutFolder(a.entry, a.shape)
}

func writePart(tx *store.CacheTx, folder id.Entry, part *tree.Part) error {
	if !part.Delta {
		if err := tx.ClearFolder(folder); err != nil {
			return err
		}
	}
	return WriteChildren(tx, folder, part.Children)
}

// WriteChildren writes the children that a delta adds, and takes away those
// that it removes.
func WriteChildren(tx *store.CacheTx, folder id.Entry, children []manifest.Child) error {
	var add, former []store.Child
	var remove []string
	for _, c := range children {
		if c.Removed() {
			remove = append(remove, c.Name)
			old, found, err := tx.Child(folder, c.Name)
			if err != nil {
				return err
			}
			if found {
				former = append(former, old)
			}
		} else {
			add = append(add, store.Child{Folder: folder, Name: c.Name, Entry: c.Entry, Kind: c.Kind})
		}
	}
	if err := tx.PutFormer(former...); err != nil {
		return err
	}
	if err := tx.RemoveChildren(folder, remove...); err != nil {
		return err
	}
	return tx.PutChildren(add...)
}

// Chains returns the live chains of entries with their manifests, and asks the
// server for those that are not here. One that it does not give is either
// replaced by a version that is not verified yet, or withheld.
func (t *Mirror) Chains(ctx context.Context, entries []id.Entry) (all [][]store.Version, err error) {
	all, err = t.cache.Chains(ctx, t.ws.ID(), entries)
	if err != nil || len(lackingOf(all)) == 0 {
		return all, err
	}
	err = t.ws.Session().Exclusive(ctx, func(ctx context.Context) error {
		all, err = t.fetch(ctx, entries)
		return err
	})
	return all, err
}

func (t *Mirror) fetch(ctx context.Context, entries []id.Entry) ([][]store.Version, error) {
	for {
		all, err := t.cache.Chains(ctx, t.ws.ID(), entries)
		if err != nil || len(lackingOf(all)) == 0 {
			return all, err
		}
		if all, err = t.ask(ctx, entries, all); err != nil || len(lackingOf(all)) == 0 {
			return all, err
		}
		before := t.ws.Log().Position()
		if err := t.ws.PullLog(ctx); err != nil {
			return nil, err
		}
		if i := lackingOf(all)[0]; t.ws.Log().Position() == before {
			return nil, fault.Broken(PromiseComplete, "the log of workspace %q names version %d of entry %s, and the server does not give it",
				t.ws.Name(), all[i][len(all[i])-1].Number, entries[i])
		}
	}
}

// ask asks the server for the chains that lack a manifest, and returns all.
func (t *Mirror) ask(ctx context.Context, entries []id.Entry, known [][]store.Version) ([][]store.Version, error) {
	var ask []id.Entry
	for _, i := range lackingOf(known) {
		ask = append(ask, entries[i])
	}
	err := t.ws.Session().Server().EntryManifests(ctx, t.ws.ID(), ask, func(chains []remote.Chain) error {
		return t.take(ctx, chains)
	})
	if err == nil {
		err = t.Settle(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch manifests: %w", err)
	}
	return t.cache.Chains(ctx, t.ws.ID(), entries)
}

// lackingOf returns which of the chains lack a manifest.
func lackingOf(chains [][]store.Version) []int {
	var which []int
	for i, chain := range chains {
		if lacking(chain) {
			which = append(which, i)
		}
	}
	return which
}

// lacking reports whether a manifest of a live chain is not here.
func lacking(chain []store.Version) bool {
	return slices.ContainsFunc(chain, func(v store.Version) bool { return !v.Gone && v.Manifest == nil })
}

// Complete makes sure that all of a folder's versions are taken in.
func (t *Mirror) Complete(ctx context.Context, folder id.Entry) error {
	chains, err := t.Chains(ctx, []id.Entry{folder})
	if err != nil || len(chains[0]) == 0 {
		return err
	}
	chain := chains[0]
	facts, err := t.Facts(ctx, folder)
	if newest := chain[len(chain)-1]; err != nil || newest.Gone || facts.Shape.Version >= newest.Number {
		return err
	}
	return t.retake(ctx, folder, chain)
}

// retake takes in a folder once more whose content could not be had.
func (t *Mirror) retake(ctx context.Context, folder id.Entry, chain []store.Version) error {
	return t.ws.Session().Exclusive(ctx, func(ctx context.Context) error { return t.takeAgain(ctx, folder, chain) })
}

func (t *Mirror) takeAgain(ctx context.Context, folder id.Entry, chain []store.Version) error {
	c := remote.Chain{Entry: folder}
	for _, v := range chain {
		c.Manifests = append(c.Manifests, remote.SealedManifest{Version: v.Number, Sealed: v.Manifest})
	}
	a, err := t.arrive(ctx, chain, c, false)
	if err != nil {
		return err
	}
	if a.lost != nil {
		return a.lost
	}
	err = t.ws.Cache(ctx, nil, func(tx *store.CacheTx) error { return a.write(tx) })
	if err != nil || len(a.parts) == 0 {
		return err
	}
	return t.Settle(ctx)
}

// Named returns all that a folder names, also what is hidden, by name.
func (t *Mirror) Named(ctx context.Context, folder id.Entry) ([]manifest.Child, error) {
	var all []manifest.Child
	for c, err := range t.cache.Children(ctx, t.ws.ID(), folder, "") {
		if err != nil {
			return nil, err
		}
		all = append(all, ChildOf(c))
	}
	slices.SortFunc(all, func(a, b manifest.Child) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Pages returns a reader of the pages of lists, which come from the server.
func (t *Mirror) Pages() list.Reader { return pages{t} }

type pages struct{ t *Mirror }

var _ list.Reader = pages{}

// ReadPages implements [list.Reader].
func (p pages) ReadPages(ctx context.Context, refs []manifest.Ref) ([][]byte, error) {
	out := make([][]byte, len(refs))
	err := p.t.Fetch(ctx, refs, func(i int, content []byte) error {
		out[i] = bytes.Clone(content)
		return nil
	})
	return out, err
}

func ChildOf(c store.Child) manifest.Child {
	return manifest.Child{Name: c.Name, Entry: c.Entry, Kind: c.Kind}
}
