package files

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"

	"parsec/internal/base/id"
	"parsec/internal/client/tree"
	"parsec/internal/format/manifest"
)

// Hidden returns how many entries are known to be hidden without a look at the
// whole tree: whose manifests cannot be used, which are named more than once,
// or which a listing has left out.
func (t *Tree) Hidden(ctx context.Context) (int, error) {
	if t.then != nil {
		return 0, nil // what was hidden then may long be mended
	}
	hidden, err := t.Mirror.Hidden(ctx)
	if err != nil {
		return 0, err
	}
	maps.Copy(hidden, t.hidden)
	return len(hidden), nil
}

// Problems returns what members signed and cannot be shown, with who signed
// it: manifests that cannot be used, and names that contradict others.
func (t *Tree) Problems(ctx context.Context) ([]Failure, error) {
	kept, err := t.cache.Problems(ctx, t.ws.ID())
	if err != nil {
		return nil, err
	}
	var all []Failure
	known := map[id.Entry]bool{}
	for _, p := range kept {
		known[p.Entry] = true
		all = append(all, t.failure(t.nameOf(ctx, p.Entry), p.Author, p.Reason))
	}
	src := t.Source()
	places, err := tree.Resolve(ctx, t.Root(), src)
	if err != nil {
		return nil, err
	}
	for _, p := range places.Problems {
		if p.Reason == tree.Unusable && known[p.Entry] {
			continue
		}
		author, err := t.namer(ctx, p)
		if err != nil {
			return nil, err
		}
		reason := p.Reason.String()
		if p.Err != nil {
			reason = fmt.Sprintf("%s: %v", reason, p.Err)
		}
		all = append(all, t.failure(path.Join(t.nameOf(ctx, p.Place.Folder), p.Place.Name), author, reason))
	}
	return all, nil
}

func (t *Tree) failure(at string, author id.Device, reason string) Failure {
	return Failure{Path: at, Reason: fmt.Sprintf("signed by %s: %s", t.emailOf(author), reason)}
}

// emailOf returns the e-mail address of a device's user, or what there is.
func (t *Tree) emailOf(d id.Device) string {
	s := t.ws.Session()
	if device, ok := s.Organization().Device(d); ok {
		return s.EmailOf(device.User)
	}
	return d.String()
}

// namer returns who gave a folder a name that is hidden: the author of the
// newest version that says so. Those before the snapshot are not there any more.
func (t *Tree) namer(ctx context.Context, p tree.Problem) (id.Device, error) {
	chains, err := t.Chains(ctx, []id.Entry{p.Place.Folder})
	if err != nil || len(chains[0]) == 0 {
		return id.Device{}, err
	}
	chain := chains[0]
	author, shape := chain[0].Author, tree.Gone(chain[0].Number-1)
	for _, v := range chain {
		version := tree.Version{Number: v.Number}
		if _, body, err := t.OpenVersion(ctx, v); err == nil {
			if folder, ok := body.(manifest.FolderBody); ok {
				version.Body = &folder
			}
		}
		part, next, err := shape.Follow(ctx, version, v.Base, t.Pages())
		if err != nil {
			return author, nil // what is behind it could not be had either
		}
		shape = next
		if slices.ContainsFunc(part.Children, func(c manifest.Child) bool { return c.Name == p.Place.Name && c.Entry == p.Entry }) {
			author = v.Author
		}
	}
	return author, nil
}
