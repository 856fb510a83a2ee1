// Package audit reads the log of a workspace for people, and checks everything anew:
// both logs from their first record, every manifest and every block, as the
// server gives them now. It changes nothing, and believes nothing that it was
// told before but what this device remembers of the logs.
package audit

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/files"
	"parsec/internal/client/list"
	"parsec/internal/client/mirror"
	"parsec/internal/client/remote"
	"parsec/internal/client/store"
	"parsec/internal/client/workspace"
	"parsec/internal/format/manifest"
)

// Event is a record of the workspace's log, for people.
type Event struct {
	workspace.Event
	Changes []Change
}

// Change is what a record did to one entry.
type Change struct {
	// Path is where the entry is now, or where this device last saw it; empty
	// if it never did.
	Path  string
	Entry id.Entry
	What  string
}

// Log calls visit with who changed what, from the first record on. Below a
// path other than the root folder's, only commits that changed something there
// are told.
func Log(ctx context.Context, t *files.Tree, p string, visit func(Event) error) error {
	under, err := t.Stat(ctx, p)
	if err != nil {
		return err
	}
	all := under.ID == t.Root()
	return t.Workspace().Events(ctx, func(e workspace.Event) error {
		told := Event{Event: e}
		for _, v := range e.Versions {
			inside, err := t.Below(ctx, v.Entry, under.ID)
			if err != nil {
				return err
			}
			if !all && !inside {
				continue
			}
			c := Change{Entry: v.Entry, What: whatOf(v)}
			if c.Path, err = lastPath(ctx, t, v.Entry); err != nil {
				return err
			}
			told.Changes = append(told.Changes, c)
		}
		slices.SortFunc(told.Changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
		if e.Says != "" && all {
			told.Changes = append(told.Changes, Change{What: e.Says})
		}
		if !all && len(told.Changes) == 0 {
			return nil
		}
		return visit(told)
	})
}

// maxDepth bounds the walk from an entry to the root: no path is as deep.
const maxDepth = 4096

// lastPath returns the path of an entry, or the last that it had here.
func lastPath(ctx context.Context, t *files.Tree, e id.Entry) (string, error) {
	below := ""
	for range maxDepth {
		at, ok, err := t.Path(ctx, e)
		if err != nil || ok {
			return path.Join(at, below), err
		}
		former, found, err := t.Workspace().Session().Local().Cache.Former(ctx, t.Workspace().ID(), e)
		if err != nil {
			return "", err
		}
		if !found {
			named, ok, err := t.Parent(ctx, e)
			if err != nil || !ok {
				return "", err
			}
			former = named
		}
		below = path.Join(former.Name, below)
		e = former.Folder
	}
	return "", nil
}

func whatOf(v store.Version) string {
	switch {
	case v.Gone:
		return "removed"
	case v.Number == 1:
		return "created"
	}
	return "changed"
}

// Failure is something that did not pass a verification.
type Failure struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// Report is what a verification covered, and what did not pass.
type Report struct {
	Records   int       `json:"records"`
	Manifests int       `json:"manifests"`
	Blocks    int       `json:"blocks"`
	Bytes     uint64    `json:"bytes"`
	Failures  []Failure `json:"failures"`
}

// Verify checks everything anew, as the server gives it now: both logs from
// their first record, the manifest of every entry, and every block of every
// file, which it downloads.
func Verify(ctx context.Context, t *files.Tree, progress files.Progress) (Report, error) {
	r := Report{Failures: []Failure{}}
	audit, err := t.Workspace().Audit(ctx)
	if err != nil {
		return r, err
	}
	r.Records = audit.Records
	if err := verifyManifests(ctx, t, audit, &r); err != nil {
		return r, err
	}
	root, err := t.Stat(ctx, "/")
	if err != nil {
		return r, err
	}
	v := &verification{tree: t, report: &r, progress: progress}
	if err := files.Walk(ctx, t, root, func(e files.Entry) error { return v.add(ctx, e) }); err != nil {
		return r, err
	}
	if err := v.flush(ctx); err != nil {
		return r, err
	}
	problems, err := Problems(ctx, t)
	r.Failures = append(r.Failures, problems...)
	return r, err
}

// verifyManifests asks for the manifest of every live entry and compares each
// with the version that the log names.
func verifyManifests(ctx context.Context, t *files.Tree, audit workspace.Audit, r *Report) error {
	missing := map[id.Entry]store.Version{}
	for e, v := range audit.Newest {
		if !v.Gone {
			missing[e] = v
		}
	}
	err := t.Workspace().Session().Server().Manifests(ctx, t.Workspace().ID(), 0, nil, func(chains []remote.Chain, _ []byte) error {
		for _, c := range chains {
			newest := c.Manifests[len(c.Manifests)-1]
			v, ok := missing[c.Entry]
			if !ok || v.Number != newest.Version {
				continue
			}
			delete(missing, c.Entry)
			v.Manifest = newest.Sealed
			r.Manifests++
			if _, _, err := t.OpenVersion(ctx, v); err != nil && !fault.Is(err, fault.Invalid) {
				r.Failures = append(r.Failures, Failure{nameOf(ctx, t, c.Entry), err.Error()})
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("verify manifests: %w", err)
	}
	for e, v := range missing {
		r.Failures = append(r.Failures, Failure{nameOf(ctx, t, e), fmt.Sprintf("the log names version %d, and the server does not give it", v.Number)})
	}
	return nil
}

// nameOf returns the path of an entry, or its id where it has none.
func nameOf(ctx context.Context, t *files.Tree, e id.Entry) string {
	if p, ok, err := t.Path(ctx, e); ok && err == nil {
		return p
	}
	return e.String()
}

// verification downloads the blocks of many files at once.
type verification struct {
	tree     *files.Tree
	report   *Report
	progress files.Progress
	refs     []manifest.Ref
	paths    []string
	size     uint64
}

// verifyBatch is how many bytes of content are checked at once.
const verifyBatch = 64 << 20

func (v *verification) add(ctx context.Context, e files.Entry) error {
	body, ok := e.Body.(manifest.FileBody)
	if !ok {
		return nil
	}
	v.progress.Found(1, body.Size)
	blocks, err := list.Open(body)
	if err != nil {
		v.report.Failures = append(v.report.Failures, Failure{e.Path, err.Error()})
		return nil
	}
	for p, err := range blocks.All(ctx, v.tree.Pages()) {
		if mirror.Confined(err) {
			v.report.Failures = append(v.report.Failures, Failure{e.Path, err.Error()})
			return nil
		}
		if err != nil {
			return err
		}
		if p.Ref.Hole() {
			continue
		}
		v.refs, v.paths = append(v.refs, p.Ref), append(v.paths, e.Path)
		if v.size += p.Ref.Size; v.size >= verifyBatch {
			if err := v.flush(ctx); err != nil {
				return err
			}
		}
	}
	v.progress.Done(1, 0)
	return nil
}

// flush checks what was gathered: at once, and where that fails, one by one.
func (v *verification) flush(ctx context.Context) error {
	err := v.tree.Fetch(ctx, v.refs, func(_ int, content []byte) error { return nil })
	failed := map[string]bool{}
	for i, ref := range v.refs {
		if err != nil {
			one := v.tree.Fetch(ctx, v.refs[i:i+1], func(int, []byte) error { return nil })
			if one != nil && !mirror.Confined(one) {
				return one
			}
			if one != nil && !failed[v.paths[i]] {
				failed[v.paths[i]] = true
				v.report.Failures = append(v.report.Failures, Failure{v.paths[i], one.Error()})
			}
			if one != nil {
				continue
			}
		}
		v.report.Blocks++
		v.report.Bytes += ref.Size
		v.progress.Done(0, ref.Size)
	}
	v.refs, v.paths, v.size = v.refs[:0], v.paths[:0], 0
	return nil
}
