// Package docs is the test that holds the documentation to what the programs
// do. It builds both, runs the commands of the README as a reader would, and
// compares the reference in docs/cli with what the programs say of themselves.
// It has no code of its own. Links and the form of pages are package layout's.
package docs
