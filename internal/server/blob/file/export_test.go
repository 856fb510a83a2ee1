package file

import (
	"os"
	"path"
)

// FailNext makes the next time of one step of a Put fail: before it is done,
// or after.
func (s *Store) FailNext(step string, done bool, err error) {
	was := s.disk
	fails := func(do func() error) error {
		s.disk = was
		if done {
			if err := do(); err != nil {
				return err
			}
		}
		return err
	}
	switch step {
	case "write":
		s.disk.write = func(f *os.File, parts [][]byte) error {
			return fails(func() error { return was.write(f, parts) })
		}
	case "sync":
		s.disk.sync = func(f *os.File) error { return fails(func() error { return was.sync(f) }) }
	case "link":
		s.disk.link = func(root *os.Root, from, to string) error {
			return fails(func() error { return was.link(root, from, to) })
		}
	case "sync folder":
		s.disk.syncDir = func(root *os.Root, dir string) error {
			return fails(func() error { return was.syncDir(root, dir) })
		}
	}
}

// Watch tells of each step of the Puts that follow: what, and on which file
// or folder.
func (s *Store) Watch(tell func(step string)) {
	was := s.disk
	s.disk = disk{
		write: func(f *os.File, parts [][]byte) error {
			tell("write")
			return was.write(f, parts)
		},
		sync: func(f *os.File) error {
			tell("sync")
			return was.sync(f)
		},
		link: func(root *os.Root, from, to string) error {
			tell("link " + path.Dir(to))
			return was.link(root, from, to)
		},
		syncDir: func(root *os.Root, dir string) error {
			tell("sync " + dir)
			return was.syncDir(root, dir)
		},
	}
}
