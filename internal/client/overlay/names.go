package overlay

import "parsec/internal/client/work"

// What of the work on a workspace is said to others.
type (
	// Node is what there is to see of an entry.
	Node = work.Node
	// Problem is an entry that cannot be pushed, or of which local data is lost.
	Problem = work.Problem
	// Limits bound a batch. One operation is taken however large it is.
	Limits = work.Limits
	// Range is a part of a file.
	Range = work.Range
	// Piece is a part of a file's content that is on the server in blocks that no
	// commit names yet.
	Piece = work.Piece
)
