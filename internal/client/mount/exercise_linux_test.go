package mount_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"parsec/internal/client/drivetest"
)

var (
	operations = flag.Int("operations", 1000, "how many operations each exerciser does")
	seed       = flag.Uint64("seed", 1, "which operations the exercisers do")
	exercise   = flag.String("exercise", "", "exercise nothing but this folder, in a process of its own")
)

// exercisers returns the exercisers by their names.
func exercisers() map[string]func(string, drivetest.Options) error {
	return map[string]func(string, drivetest.Options) error{"content": drivetest.TryContent, "names": drivetest.TryNames}
}

// TestMain exercises a folder if it is asked to. Who serves a file system must not
// wait for it as who reads mapped memory does: nothing can interrupt that, and
// all of the process may have to wait for it.
func TestMain(m *testing.M) {
	flag.Parse()
	if *exercise == "" {
		os.Exit(m.Run())
	}
	err := exercisers()[flag.Arg(0)](*exercise, drivetest.Options{Operations: *operations, Seed: *seed, Refused: refused()})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// refused is what a workspace cannot hold; see docs/drive.md.
func refused() map[string]syscall.Errno {
	return map[string]syscall.Errno{
		"link":                         syscall.EPERM,
		"make fifo":                    syscall.EPERM,
		"exchange":                     syscall.EINVAL,
		"set attribute":                syscall.EOPNOTSUPP,
		"create name that is not text": syscall.EILSEQ,
	}
}

func TestADriveIsAsTheModel(t *testing.T) {
	d := alone(t)
	d.exercise(*seed)
}

// What is committed meanwhile changes nothing to see.
func TestADriveIsAsTheModelWhileItSyncs(t *testing.T) {
	d := alone(t)
	d.busy()
	d.exercise(*seed + 100)
	d.sync()
}

// exercise runs two of each exerciser at once.
func (d *desk) exercise(seed uint64) {
	d.t.Helper()
	self, err := os.Executable()
	d.ok(err)
	var all sync.WaitGroup
	for i := range uint64(2) {
		for name := range exercisers() {
			c := exec.CommandContext(d.t.Context(), self, "-exercise", d.dir,
				"-operations", strconv.Itoa(*operations), "-seed", strconv.FormatUint(seed+i, 10), name)
			all.Go(func() {
				if out, err := c.CombinedOutput(); err != nil {
					d.t.Errorf("%v: %s", err, out)
				}
			})
		}
	}
	all.Wait()
}

// So do rsync, and cp -p to a new name.
func TestATimeStaysThroughARenameOver(t *testing.T) {
	d := alone(t)
	d.write("old", "old content")
	d.write("new", "new")
	at := time.Unix(1_000_000_000, 123_456_789)
	d.ok(os.Chtimes(d.path("new"), at, at))
	d.ok(os.Rename(d.path("new"), d.path("old")))
	for range 2 { // the kernel says of the old file that it has changed when it forgets it
		info, err := os.Stat(d.path("old"))
		d.ok(err)
		if got := info.ModTime(); !got.Equal(at) {
			t.Errorf("it was changed at %v, want %v", got, at)
		}
		d.open("old", os.O_RDONLY)
	}
}
