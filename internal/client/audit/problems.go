package audit

import (
	"context"
	"fmt"
	"path"
	"slices"

	"parsec/internal/base/id"
	"parsec/internal/client/files"
	"parsec/internal/client/tree"
	"parsec/internal/format/manifest"
)

// Problems returns what members signed and cannot be shown, with who signed
// it: manifests that cannot be used, and names that contradict others.
func Problems(ctx context.Context, t *files.Tree) ([]Failure, error) {
	kept, err := t.Workspace().Session().Local().Cache.Problems(ctx, t.Workspace().ID())
	if err != nil {
		return nil, err
	}
	var all []Failure
	known := map[id.Entry]bool{}
	for _, p := range kept {
		known[p.Entry] = true
		all = append(all, failure(t, nameOf(ctx, t, p.Entry), p.Author, p.Reason))
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
		author, err := namer(ctx, t, p)
		if err != nil {
			return nil, err
		}
		reason := p.Reason.String()
		if p.Err != nil {
			reason = fmt.Sprintf("%s: %v", reason, p.Err)
		}
		all = append(all, failure(t, path.Join(nameOf(ctx, t, p.Place.Folder), p.Place.Name), author, reason))
	}
	return all, nil
}

func failure(t *files.Tree, at string, author id.Device, reason string) Failure {
	return Failure{Path: at, Reason: fmt.Sprintf("signed by %s: %s", emailOf(t, author), reason)}
}

// emailOf returns the e-mail address of a device's user, or what there is.
func emailOf(t *files.Tree, d id.Device) string {
	s := t.Workspace().Session()
	if device, ok := s.Organization().Device(d); ok {
		return s.EmailOf(device.User)
	}
	return d.String()
}

// namer returns who gave a folder a name that is hidden: the author of the
// newest version that says so. Those before the snapshot are not there any more.
func namer(ctx context.Context, t *files.Tree, p tree.Problem) (id.Device, error) {
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
