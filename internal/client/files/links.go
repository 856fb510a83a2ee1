package files

import (
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/format/manifest"
)

// CheckTarget refuses the target of a symlink that could lead out of the tree
// that is exposed: one that is absolute, that climbs more folders than the
// link's depth below the exposed root, or that climbs behind a name. Whoever
// follows what is left stays inside, whatever the names turn out to be.
func CheckTarget(target string, depth int) error {
	parts := strings.Split(strings.TrimSuffix(target, "/"), "/")
	climbed := 0
	for climbed < len(parts) && parts[climbed] == ".." {
		climbed++
	}
	if climbed > max(depth, 0) {
		return fault.Errorf(fault.Invalid, "it leads out of the tree")
	}
	for _, name := range parts[climbed:] {
		if name == "." && len(parts) == climbed+1 {
			continue
		}
		if err := manifest.CheckName(name); err != nil {
			return fault.Errorf(fault.Invalid, "it is absolute or not made of plain names")
		}
	}
	return nil
}
