// Package ignore is the list of names that stay on a device: those of the
// temporary files of editors and systems, which help nobody else. It is a list
// of patterns that the user can change, and it is kept sealed in the device's
// state, as a pattern may be a name.
//
// The package decides nothing but whether a name matches. What that means for
// an entry is package overlay's.
package ignore

import (
	"context"
	"path"
	"slices"
	"sync"
	"sync/atomic"

	"parsec/internal/base/fault"
	"parsec/internal/client/store"
)

// The most patterns of a list, and bytes of one: every name that is made is
// compared with all of them.
const (
	MaxPatterns = 1000
	MaxLength   = 255
)

// Defaults returns the patterns of a device on which the user has changed
// nothing, by what leaves such names behind.
func Defaults() []string {
	return []string{
		".DS_Store", "._*", ".Spotlight-V100", ".Trashes", ".fseventsd", // macOS
		"Thumbs.db", "ehthumbs.db", "desktop.ini", // Windows
		".directory", ".Trash-*", ".fuse_hidden*", ".nfs*", ".goutputstream-*", // Linux
		"~$*", "~WRL*.tmp", ".~lock.*#", // office programs
		".*.sw?", "*~", "#*#", ".#*", ".*.kate-swp", // editors
	}
}

// List is a device's list. Its methods may be called from many goroutines.
type List struct {
	state *store.State
	// changing is held by who changes the list.
	changing sync.Mutex
	now      atomic.Pointer[[]string]
}

// Open reads the list of a device from its state.
func Open(ctx context.Context, state *store.State) (*List, error) {
	l := &List{state: state}
	patterns, changed, err := state.Ignored(ctx)
	if err != nil {
		return nil, err
	}
	if !changed {
		patterns = Defaults()
	}
	l.now.Store(&patterns)
	return l, nil
}

// Patterns returns the list, in the order in which it was made.
func (l *List) Patterns() []string { return slices.Clone(*l.now.Load()) }

// Has reports whether a name, without the folders above it, matches a pattern.
func (l *List) Has(name string) bool {
	return slices.ContainsFunc(*l.now.Load(), func(pattern string) bool {
		matches, _ := path.Match(pattern, name) // a bad one never gets here
		return matches
	})
}

// Add adds patterns of [path.Match], all or none, durably. Those that are there
// already are left. It fails with [fault.Usage] for what is no pattern of a name.
func (l *List) Add(ctx context.Context, patterns ...string) error {
	return l.change(ctx, func(all []string) ([]string, error) {
		for _, p := range patterns {
			if err := check(p); err != nil {
				return nil, err
			}
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
		if len(all) > MaxPatterns {
			return nil, fault.Errorf(fault.Usage, "ignore names: a list has at most %d patterns", MaxPatterns)
		}
		return all, nil
	})
}

func check(pattern string) error {
	_, err := path.Match(pattern, "")
	switch {
	case err != nil:
		return fault.WithHint(fault.Errorf(fault.Usage, "ignore names: %q is no pattern", pattern),
			`* stands for any characters, ? for one, [a-z] for one of these, and \ takes the meaning of the next one`)
	case pattern == "" || len(pattern) > MaxLength:
		return fault.Errorf(fault.Usage, "ignore names: a pattern has 1 to %d bytes", MaxLength)
	case slices.Contains([]byte(pattern), '/'):
		return fault.WithHint(fault.Errorf(fault.Usage, "ignore names: %q matches nothing", pattern), "a pattern is for one name, without folders above it")
	case matchesAll(pattern):
		return fault.WithHint(fault.Errorf(fault.Usage, "ignore names: %q matches every name", pattern), "nothing would be shared any more")
	}
	return nil
}

// matchesAll reports whether a pattern is made of stars alone.
func matchesAll(pattern string) bool {
	return !slices.ContainsFunc([]byte(pattern), func(c byte) bool { return c != '*' })
}

// Remove takes patterns from the list, all or none, durably. It fails with
// [fault.NotFound] for one that is not there.
func (l *List) Remove(ctx context.Context, patterns ...string) error {
	return l.change(ctx, func(all []string) ([]string, error) {
		for _, p := range patterns {
			if !slices.Contains(all, p) {
				return nil, fault.WithHint(fault.Errorf(fault.NotFound, "stop ignoring names: there is no pattern %q", p), "`parsec ignore list` shows those there are")
			}
		}
		return slices.DeleteFunc(all, func(p string) bool { return slices.Contains(patterns, p) }), nil
	})
}

// change replaces the list by what a function makes of it.
func (l *List) change(ctx context.Context, by func([]string) ([]string, error)) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	all, err := by(l.Patterns())
	if err != nil {
		return err
	}
	err = l.state.Update(ctx, func(t *store.StateTx) error { return t.PutIgnored(all) })
	if err == nil {
		l.now.Store(&all)
	}
	return err
}

// Reset makes the list that of [Defaults] again, also of later versions of the
// program.
func (l *List) Reset(ctx context.Context) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	err := l.state.Update(ctx, func(t *store.StateTx) error { return t.ForgetIgnored() })
	if err == nil {
		all := Defaults()
		l.now.Store(&all)
	}
	return err
}
