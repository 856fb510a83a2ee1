package merge

import (
	"bytes"
	"slices"

	"parsec/internal/format/manifest"
)

// sameContent reports whether two nodes hold the same content for certain: the
// same blocks, or the same target.
func sameContent(a, b Node) bool {
	return a.Kind == b.Kind && a.Target == b.Target && a.File.Size == b.File.Size &&
		a.File.Blocks.Depth == b.File.Blocks.Depth &&
		bytes.Equal(a.File.Blocks.Items, b.File.Blocks.Items) &&
		slices.Equal(a.File.Blocks.Pages, b.File.Blocks.Pages)
}

func same(a, b Node) bool {
	return sameContent(a, b) && a.Created == b.Created && a.Modified == b.Modified && a.File.Executable == b.File.Executable
}

// withContent returns n with the content of other.
func withContent(n, other Node) Node {
	executable := n.File.Executable
	n.Target, n.File = other.Target, other.File
	n.File.Executable = executable
	return n
}

// three merges what both sides made of one node. It reports whether both
// changed the content, which then is theirs in the result.
func three(was, ours, theirs Node) (Node, bool) {
	out := theirs
	out.Created = threeTimes(was.Created, ours.Created, theirs.Created)
	out.Modified = threeTimes(was.Modified, ours.Modified, theirs.Modified)
	if ours.File.Executable != was.File.Executable {
		out.File.Executable = ours.File.Executable
	}
	switch {
	case sameContent(ours, was) || sameContent(ours, theirs):
		return out, false
	case sameContent(theirs, was) && ours.Kind == theirs.Kind:
		return withContent(out, ours), false
	}
	return out, true
}

// threeTimes merges a time; of two new ones the later stays.
func threeTimes(was, ours, theirs int64) int64 {
	switch {
	case ours == was:
		return theirs
	case theirs == was:
		return ours
	}
	return max(ours, theirs)
}

// equalNew reports whether two entries that were made under one name are the
// same but for their blocks.
func equalNew(a, b Node) bool {
	return a.Kind == b.Kind && a.Target == b.Target &&
		(a.Kind != manifest.File || a.Modified == b.Modified && a.File.Size == b.File.Size && a.File.Executable == b.File.Executable)
}
