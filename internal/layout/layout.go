// Package layout is the test that holds the code to its plan: which package
// may import which, what each of the two programs must not link, and how large
// a package or a function may grow. It has no code of its own. That the server
// cannot decrypt is not a promise but a list of packages that it does not
// contain; this is where the list is checked.
package layout
