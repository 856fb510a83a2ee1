package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"strconv"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"parsec/internal/base/fault"
	"parsec/internal/client/filesystem"
)

// Mount is a folder that shows a view.
type Mount struct {
	dir    string
	drive  *drive
	server *fuse.Server
	done   chan struct{}
	ends   sync.WaitGroup
	close  func() error
}

// maxRequest is how many bytes the kernel reads or writes at once at most, as many
// as it allows.
const maxRequest = 1 << 20

// Start shows a view as a folder, which is empty or was shown by a process that
// was killed. The folder is there when it returns, until [Mount.Close], or until
// somebody unmounts it.
func Start(view *filesystem.View, dir string, cfg Config) (*Mount, error) {
	full, err := place(dir)
	if err != nil {
		return nil, err
	}
	root, err := view.Root()
	if err != nil {
		return nil, err
	}
	a, err := view.Stat(context.Background(), root)
	if err != nil {
		return nil, fmt.Errorf("look at what is to be mounted: %w", err)
	}
	d := &drive{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), view: view, readOnly: cfg.ReadOnly, table: newTable(a), hearing: newHearing(),
		owner: fuse.Owner{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())},
	}
	server, err := fuse.NewServer(d, full, options(cfg))
	if err != nil {
		return nil, cannot(dir, err)
	}
	m := &Mount{dir: full, drive: d, server: server, done: make(chan struct{})}
	m.close = sync.OnceValue(m.end)
	m.serve()
	if err := server.WaitMount(); err != nil {
		return nil, errors.Join(cannot(dir, err), m.Close())
	}
	readAhead(full)
	return m, nil
}

// readAhead has the kernel ask for larger parts of what is read on, 1 MiB instead of
// 128 KiB. Only root can have it so, and what fails costs time only.
func readAhead(dir string) {
	if m, err := on(dir); err == nil && ours(m) {
		_ = os.WriteFile(fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", m.Major, m.Minor), []byte(strconv.Itoa(maxRequest>>10)), 0)
	}
}

// options returns how the kernel is to ask.
func options(cfg Config) *fuse.MountOptions {
	o := &fuse.MountOptions{
		FsName: "parsec", Name: "parsec", DirectMount: true, MaxWrite: maxRequest, MaxBackground: 64,
		EnableLocks: true, IgnoreSecurityLabels: true, ExplicitDataCacheControl: true,
		EnableAcl: true, // there are none, and so the kernel remembers that: `ls -l` asks of each file
		ExtraCapabilities: fuse.CAP_WRITEBACK_CACHE | fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_READDIRPLUS_AUTO | fuse.CAP_ASYNC_DIO |
			fuse.CAP_HANDLE_KILLPRIV_V2, // there are no such bits, so the kernel need not ask for them at each write
		Options: []string{"default_permissions"},
		Logger:  log.New(io.Discard, "", 0), // what it says of requests has names in it
	}
	if cfg.ReadOnly {
		o.Options = append(o.Options, "ro")
		o.DirectMountFlags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_RDONLY
	}
	return o
}

// place makes sure that a folder is there and can be mounted on.
func place(dir string) (string, error) {
	full, err := resolved(dir)
	if err != nil {
		return "", err
	}
	m, err := on(full)
	if err != nil {
		return "", err
	}
	if ours(m) && dead(full) {
		if err := detach(full, true); err != nil {
			return "", fmt.Errorf("replace what a process that has ended mounted on %s: %w", dir, err)
		}
	} else if ours(m) {
		return "", fault.WithHint(fault.Errorf(fault.Conflict, "mount on %s: parsec is mounted there already", dir), "`parsec umount` ends that")
	}
	all, err := os.ReadDir(full)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fault.WithHint(fault.Errorf(fault.NotFound, "mount on %s: there is no such folder", dir), "make it with mkdir")
	case err != nil:
		return "", fmt.Errorf("mount on %s: %w", dir, err)
	case len(all) > 0:
		return "", fault.WithHint(fault.Errorf(fault.Conflict, "mount on %s: the folder is not empty, and would be hidden", dir), "choose an empty folder")
	}
	return full, nil
}

// cannot says why a folder cannot be mounted on.
func cannot(dir string, err error) error {
	err = fault.Errorf(fault.Failed, "mount on %s: %w", dir, err)
	if f, opened := os.OpenFile("/dev/fuse", os.O_RDWR, 0); opened != nil {
		return fault.WithHint(err, "this system has no FUSE, or not for you (/dev/fuse); `parsec webdav` needs none")
	} else if f.Close() == nil && os.Geteuid() != 0 {
		return fault.WithHint(err, "others than root need fusermount3 (of the package fuse3)")
	}
	return err
}

// serve answers the kernel until the folder is unmounted.
func (m *Mount) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	unwatch := m.drive.view.Watch(m.drive.heard)
	m.ends.Go(func() { m.drive.forget(ctx) })
	m.ends.Go(func() {
		m.server.Serve()
		unwatch()
		cancel()
		for _, h := range m.drive.files.rest() {
			m.drive.close(h)
		}
		close(m.done)
	})
}

// Done is closed when the folder is not shown any more.
func (m *Mount) Done() <-chan struct{} { return m.done }

// Close unmounts the folder, and returns when all that was written is with the
// view. Programs that have something of it open cannot go on.
func (m *Mount) Close() error { return m.close() }

func (m *Mount) end() error {
	select {
	case <-m.done:
		m.ends.Wait()
		return nil
	default:
	}
	is, err := on(m.dir)
	if err == nil {
		err = detach(m.dir, false)
	}
	if fault.Is(err, fault.Conflict) {
		flushed := flush(m.dir)
		ended := abort(m.dir, is)
		if err = flushed; !ended {
			// The kernel ends the connection with this process, which is about to end.
			return errors.Join(err, detach(m.dir, true))
		}
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", m.dir, err)
	}
	m.ends.Wait()
	return nil
}
