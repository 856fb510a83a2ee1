// Package drivetest exercises a folder of a file system at random, by the calls
// of the operating system, and compares each answer with a model's: the bytes of
// files in [Content], names and what is said of them in [Names]. The model is
// what POSIX.1-2024 asks for and, where that leaves it open, what Linux does. A
// file system that answers otherwise on purpose is described by
// [Options.Refused]; nothing else is excused, and nothing is skipped because it
// failed.
//
// It is of the kind of Apple's fsx: it knows nothing of what it exercises. What
// happens is decided by the seed alone, so that a run can be repeated. One that
// fails is repeated by itself, with fewer and fewer operations while it still
// fails, and what is left is printed.
//
// It cannot tell what survives a kill or power loss, and it has its folder for
// itself: what two machines do to the same file is not its question.
package drivetest

import (
	"fmt"
	"strings"
	"syscall"
)

// Options are what an exerciser does. A zero field means the default beside it.
type Options struct {
	// Operations is how many are done; 2,000.
	Operations int
	// Seed decides which they are.
	Seed uint64
	// Refused are operations, by the names that the log has for them, that the
	// file system cannot do, and the error that it must answer each with where
	// the operation would succeed elsewhere. Some operations are only tried if
	// they are here: "link", "make fifo", "set attribute" and "create name that
	// is not text".
	Refused map[string]syscall.Errno
	// Between is called after each operation with the exerciser's folder and the
	// number of operations that are done; nil for nothing. It may make the file
	// system's life hard, as by dropping caches.
	Between func(folder string, done int)
}

// Failure is a difference between a file system and the model.
type Failure struct {
	// Exerciser is which one found it.
	Exerciser string
	// Seed and Number are those of the run: how many operations it had done.
	Seed   uint64
	Number int
	// Log has the operations that lead to it, one each. It is the whole run up to
	// there, unless Shrunk says that operations were left out.
	Log    []string
	Shrunk bool
	// Err is the difference.
	Err error
}

// shown is how many operations of a log are printed: the last ones say most.
const shown = 120

// Error says what differs, and after which operations.
func (f *Failure) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, seed %d, after %d operations: %v\n", f.Exerciser, f.Seed, f.Number, f.Err)
	from := max(0, len(f.Log)-shown)
	switch {
	case f.Shrunk:
		fmt.Fprintf(&b, "these %d operations are enough", len(f.Log))
	default:
		fmt.Fprintf(&b, "it did not fail again with fewer than these %d operations", len(f.Log))
	}
	if from > 0 {
		fmt.Fprintf(&b, "; the last %d of them", shown)
	}
	b.WriteString(":\n")
	for i, line := range f.Log[from:] {
		fmt.Fprintf(&b, "%6d  %s\n", from+i+1, line)
	}
	return b.String()
}

// Unwrap returns the difference.
func (f *Failure) Unwrap() error { return f.Err }
