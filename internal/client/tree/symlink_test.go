package tree_test

import (
	"strings"
	"testing"

	"parsec/internal/client/tree"
)

func TestASymlinkIsFollowedOnlyWithinTheRoot(t *testing.T) {
	for _, c := range []struct {
		target string
		depth  int
		ok     bool
	}{
		{"file", 0, true},
		{"folder/file", 0, true},
		{"..", 1, true},
		{"../file", 1, true},
		{"../../a/b", 2, true},
		{"..file", 0, true},
		{"...", 0, true},
		{"..", 0, false},
		{"../file", 0, false},
		{"../../file", 1, false},
		{"/etc/passwd", 9, false},
		{"//etc", 9, false},
		{"folder/../file", 9, false},
		{"folder/..", 9, false},
		{"../folder/..", 9, false},
		{"./file", 9, false},
		{".", 9, false},
		{"folder/", 9, false},
		{"folder//file", 9, false},
		{"../", 9, false},
		{"", 9, false},
		{"a\x00b", 9, false},
		{"\xff", 9, false},
		{strings.Repeat("x", 256), 9, false},
		{strings.Repeat("../", 1365) + "x", 2000, false},
	} {
		if err := tree.CheckTarget(c.target, c.depth); (err == nil) != c.ok {
			t.Errorf("target %.40q at depth %d: got %v", c.target, c.depth, err)
		}
	}
}
