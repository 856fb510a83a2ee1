// Package mount shows a view of the workspaces as a folder of the system: it
// answers what the kernel asks over FUSE, by package filesystem, and has no
// semantics of its own. What it adds is what the kernel may remember, and when
// it is told to forget.
//
// The kernel caches names, attributes and pages, and writes pages back later. It
// never takes a new size from here for a file that it knows, so a file that
// others have changed becomes another one for the kernel: with the same inode
// number, under a node id that was never used. Who has the old one open keeps
// what was opened, and what is written there becomes a merge; who opens the name
// gets the new one.
//
// Invariants:
//   - A node id of the kernel stands for one version of a file's content, as
//     others wrote it, and what is written through it here.
//   - The kernel is told to forget by one goroutine, which holds no lock.
//   - No request waits for the server for longer than the view's patience.
//   - What was written and closed is kept by the view before close(2) returns.
package mount

// Config is how a view is shown.
type Config struct {
	// ReadOnly has the kernel refuse every change. It is for views that refuse
	// them anyway.
	ReadOnly bool
}
