package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// As many stores as the layout promises are taken away, one after the other
// comes back, and everything acknowledged is there each time.
func TestWhatWasAcknowledgedIsThereWithStoresLost(t *testing.T) {
	for name, c := range map[string]struct {
		redundancy string
		stores     int
	}{
		"a mirror of two":     {"mirror", 2},
		"two parts and one":   {"erasure:2+1", 3},
		"two of four to lose": {"erasure:2+2", 4},
	} {
		t.Run(name, func(t *testing.T) {
			s := &studio{t: t, dir: t.TempDir(), args: []string{"--redundancy", c.redundancy}}
			var folders []string
			for i := range c.stores {
				folders = append(folders, filepath.Join(t.TempDir(), string(rune('a'+i))))
				s.args = append(s.args, "--store", "file:"+folders[i])
			}
			s.start()
			s.found(2)
			s.write(10)
			for _, lost := range folders {
				aside := lost + ".aside"
				if err := os.Rename(lost, aside); err != nil {
					t.Fatal(err)
				}
				s.start()
				s.check()
				s.stop()
				if err := os.RemoveAll(lost); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(aside, lost); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A server that had one store, and gets more, has what it had, and after a
// scrub that repairs, also when the first store is lost.
func TestAServerThatGetsMoreStoresKeepsWhatItHadInThemToo(t *testing.T) {
	for redundancy, more := range map[string]int{"mirror": 1, "erasure:2+1": 2} {
		t.Run(redundancy, func(t *testing.T) {
			s := &studio{t: t, dir: t.TempDir()}
			s.start()
			s.found(2)
			s.write(10)
			s.args = []string{"--redundancy", redundancy, "--store", "file:" + filepath.Join(defaultData, "blocks")}
			for range more {
				s.args = append(s.args, "--store", "file:"+filepath.Join(t.TempDir(), "more"))
			}
			s.start()
			s.check()
			if now, said := s.store(0, "scrub", "--repair"); len(now.Stores) != 1+more {
				t.Errorf("%d stores: %s", len(now.Stores), said)
			}
			s.stop()
			if err := os.RemoveAll(filepath.Join(s.dir, defaultData, "blocks")); err != nil {
				t.Fatal(err)
			}
			s.start()
			s.check()
			s.stop()
		})
	}
}

// stop ends the server as an administrator does.
func (s *studio) stop() {
	s.t.Helper()
	if _, err := s.server.end(syscall.SIGTERM); err != nil {
		s.t.Error(err)
	}
}
