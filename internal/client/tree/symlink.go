package tree

import (
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/format/manifest"
)

// CheckTarget refuses to follow a symlink whose target might lead out of the
// exposed root. The link lies in a folder depth levels below that root, 0 for
// the root itself. The target must be relative: `..` at most depth times, and
// then plain names. It holds for where the link is now, and is asked again at
// every read.
func CheckTarget(target string, depth int) error {
	if err := manifest.CheckTarget(target); err != nil {
		return err
	}
	up := 0
	plain := false
	for part := range strings.SplitSeq(target, "/") {
		if part == ".." && !plain {
			up++
			continue
		}
		plain = true
		if manifest.CheckName(part) != nil {
			return fault.Errorf(fault.Denied, "follow symlink: its target is not a relative path of plain names")
		}
	}
	if up > depth {
		return fault.Errorf(fault.Denied, "follow symlink: its target leads out of the workspace")
	}
	return nil
}
