// Package convergence holds a property of the whole client: whatever several
// devices do, with whatever networks and crashes, nothing that anybody wrote is
// lost unseen, nothing appears that nobody wrote, and all end with the same tree. It is for tests only.
package convergence
