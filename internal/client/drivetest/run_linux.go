package drivetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A machine does operations to a folder and to a model of it.
type machine[O fmt.Stringer] interface {
	// next chooses an operation by what there is.
	next(r *rand.Rand) O
	// do does an operation, and returns how the answer differs from the model's.
	do(op O) error
	// check compares all that there is.
	check() error
	// close gives back what is open.
	close()
}

// exercise is one kind of machine.
type exercise[O fmt.Stringer] struct {
	name string
	// start makes a machine for a folder that is empty.
	start func(folder string, o Options) (machine[O], error)
}

// Content exercises the bytes of files in a new folder within dir, and fails the
// test where they differ from the model's.
func Content(t testing.TB, dir string, o Options) {
	t.Helper()
	if err := TryContent(dir, o); err != nil {
		t.Fatal(err)
	}
}

// TryContent does what [Content] does and returns the difference, a [*Failure],
// or why there could be none.
func TryContent(dir string, o Options) error {
	return exercise[contentOp]{"content", startContent}.run(dir, o)
}

// Names exercises names, folders and what is said of files in a new folder within
// dir, and fails the test where they differ from the model's.
func Names(t testing.TB, dir string, o Options) {
	t.Helper()
	if err := TryNames(dir, o); err != nil {
		t.Fatal(err)
	}
}

// TryNames does what [Names] does and returns the difference, a [*Failure], or
// why there could be none.
func TryNames(dir string, o Options) error {
	return exercise[nameOp]{"names", startNames}.run(dir, o)
}

func (e exercise[O]) run(dir string, o Options) error {
	if o.Operations == 0 {
		o.Operations = 2000
	}
	r := rand.New(rand.NewPCG(o.Seed, 0))
	var done []O
	difference, err := e.once(dir, o, func(m machine[O]) (O, bool) {
		if len(done) == o.Operations {
			var none O
			return none, false
		}
		op := m.next(r)
		done = append(done, op)
		return op, true
	})
	if err != nil || difference == nil {
		return err
	}
	f := &Failure{Exerciser: e.name, Seed: o.Seed, Number: len(done), Err: difference}
	fewer, again := e.shrink(dir, o, done)
	if again != nil {
		f.Err, f.Shrunk = again, true
	}
	for _, op := range fewer {
		f.Log = append(f.Log, op.String())
	}
	return f
}

// once does operations in a new folder until there is a difference or no more.
func (e exercise[O]) once(dir string, o Options, next func(machine[O]) (O, bool)) (difference, err error) {
	folder, err := os.MkdirTemp(dir, e.name+"-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	m, err := e.start(folder, o)
	if err != nil {
		return nil, err
	}
	defer m.close()
	for n := 1; ; n++ {
		op, more := next(m)
		if !more {
			return caught(m.check), nil
		}
		if err := caught(func() error { return m.do(op) }); err != nil {
			return fmt.Errorf("%v: %w", op, err), nil
		}
		if o.Between != nil {
			o.Between(folder, n)
		}
	}
}

// caught makes an error of a page of mapped memory that cannot be had (SIGBUS).
func caught(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(interface{ Addr() uintptr })
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("mapped memory at %#x cannot be reached: %v", fault.Addr(), r)
		}
	}()
	return do()
}

// budget is how many operations are spent on finding fewer that fail.
const budget = 300_000

// shrink drops operations while what is left still fails, and returns that and
// how it fails. The error is nil if even all of them do not fail again.
func (e exercise[O]) shrink(dir string, o Options, ops []O) (fewer []O, difference error) {
	left := max(budget, 4*len(ops))
	fails := func(tried []O) (upTo int, difference error) {
		left -= len(tried)
		n := 0
		difference, err := e.once(dir, o, func(machine[O]) (op O, more bool) {
			if n == len(tried) {
				return op, false
			}
			n++
			return tried[n-1], true
		})
		if err != nil {
			return 0, nil
		}
		return n, difference
	}
	n, difference := fails(ops)
	if difference == nil {
		return ops, nil
	}
	ops = ops[:n]
	for chunk := (len(ops) + 1) / 2; chunk > 0 && left > 0; chunk /= 2 {
		for at := max(0, len(ops)-chunk); left > 0; at = max(0, at-chunk) {
			tried := slices.Delete(slices.Clone(ops), at, min(at+chunk, len(ops)))
			if n, err := fails(tried); err != nil {
				ops, difference = tried[:n], err
				at = min(at, len(ops))
			}
			if at == 0 {
				break
			}
		}
	}
	return ops, difference
}

// errno returns the error number of an error of the operating system.
func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	var e syscall.Errno
	if !errors.As(err, &e) {
		return unix.EIO
	}
	return e
}

// differ compares what the system answered with what the model does.
func differ(got error, want syscall.Errno) error {
	if e := errno(got); e != want {
		return fmt.Errorf("the system answers %s, the model %s", spell(e), spell(want))
	}
	return nil
}

func spell(e syscall.Errno) string {
	if e == 0 {
		return "success"
	}
	return fmt.Sprintf("%s (%v)", unix.ErrnoName(e), e)
}

// again calls the system until no signal comes between; the runtime sends them to
// itself.
func again(call func() error) error {
	for {
		if err := call(); errno(err) != unix.EINTR {
			return err
		}
	}
}

// timeOf makes a time of nanoseconds since 1970.
func timeOf(nanoseconds int64) unix.Timespec { return unix.NsecToTimespec(nanoseconds) }

// times chooses a time to set: now and then one that programs trip over.
func times(r *rand.Rand) int64 {
	switch r.IntN(8) {
	case 0:
		return 0
	case 1:
		return -r.Int64N(1e18)
	case 2:
		return 1e9 * r.Int64N(4e9)
	default:
		return r.Int64N(4e18)
	}
}
