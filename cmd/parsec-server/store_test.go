package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// several returns an organization over some folders.
func several(t *testing.T, redundancy string, n int) (s *studio, folders []string) {
	s = &studio{t: t, dir: t.TempDir(), args: []string{"--redundancy", redundancy}}
	for i := range n {
		folders = append(folders, filepath.Join(t.TempDir(), string(rune('a'+i))))
		s.args = append(s.args, "--store", "file:"+folders[i])
	}
	s.start()
	s.found(2)
	s.calmly(30) // so that each store of a stripe has some
	return s, folders
}

// calmly commits so many times, and kills nobody: an upload that breaks off
// leaves parts of a pack that is none.
func (s *studio) calmly(commits int) {
	s.t.Helper()
	d, moment := s.writers[0], time.Now().UnixNano()
	client := s.dial(d)
	for n := range commits {
		if err := s.one(client, d, moment, uint64(n)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// store runs a command on the stores, which has to end with a status, and
// returns what it printed.
func (s *studio) store(status int, args ...string) (now storesNow, said string) {
	s.t.Helper()
	args = append([]string{"store"}, args...)
	args = append(args, "--json", "--server", s.server.url, "--data", filepath.Join(s.dir, defaultData))
	var stdout, stderr bytes.Buffer
	if got := run(args, &stdout, &stderr); got != status {
		s.t.Fatalf("%q: status %d, want %d: %s%s\nlog:\n%s", args, got, status, &stdout, &stderr, s.server.log)
	}
	if stdout.Len() > 0 {
		if err := json.Unmarshal(stdout.Bytes(), &now); err != nil {
			s.t.Fatal(err)
		}
	}
	return now, stderr.String()
}

// parts returns the files of packs in a folder.
func parts(t *testing.T, folder string) (all []string) {
	t.Helper()
	if err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		nobody := strings.Contains(path, "0000000000000000")
		if err == nil && d.Type().IsRegular() && !nobody {
			all = append(all, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func (n storesNow) named(folder string) objectStore {
	i := slices.IndexFunc(n.Stores, func(o objectStore) bool { return o.Name == "file:"+folder })
	if i < 0 {
		return objectStore{}
	}
	return n.Stores[i]
}

func TestAScrubNamesTheStoresThatLostOrSpoiltSomethingAndMendsIt(t *testing.T) {
	for _, redundancy := range []string{"mirror", "erasure:2+1"} {
		t.Run(redundancy, func(t *testing.T) {
			s, folders := several(t, redundancy, 3)
			if now, _ := s.store(0, "scrub"); now.named(folders[0]).Parts != int64(len(parts(t, folders[0]))) || now.named(folders[0]).Bytes == 0 {
				t.Errorf("nothing happened, and the scrub says %+v", now)
			}
			first, second := parts(t, folders[0]), parts(t, folders[1])
			content, err := os.ReadFile(first[0])
			if err != nil {
				t.Fatal(err)
			}
			spoilt := slices.Clone(content)
			spoilt[len(spoilt)/2] ^= 1
			for _, err := range []error{os.Chmod(first[0], 0o600), os.WriteFile(first[0], spoilt, 0o600), os.Remove(second[len(second)-1])} {
				if err != nil {
					t.Fatal(err)
				}
			}
			now, said := s.store(1, "scrub")
			if now.named(folders[0]).Rotten != 1 || now.named(folders[1]).Lost != 1 || now.named(folders[2]).Rotten+now.named(folders[2]).Lost != 0 || !strings.Contains(said, "--repair") {
				t.Errorf("%+v, %s", now, said)
			}
			now, _ = s.store(0, "scrub", "--repair", "--rate", "100MiB/s")
			if now.named(folders[0]).Repaired != 1 || now.named(folders[1]).Repaired != 1 {
				t.Errorf("%+v", now)
			}
			if got, err := os.ReadFile(first[0]); err != nil || !bytes.Equal(got, content) {
				t.Errorf("what was spoilt is not what it was: %v", err)
			}
			if now, _ = s.store(0, "list"); len(now.Jobs) != 1 || now.Jobs[0].Kind != "scrub" || now.Jobs[0].FinishedAt == nil {
				t.Errorf("%+v", now)
			}
			s.check()
			s.stop()
		})
	}
}

func TestAStoreIsReplacedAndAnotherOneAddedAndDrained(t *testing.T) {
	for _, redundancy := range []string{"mirror", "erasure:2+1", "stripe"} {
		t.Run(redundancy, func(t *testing.T) {
			t.Parallel() // it waits for other processes, which there are none of
			s, folders := several(t, redundancy, 3)
			// One that is gone is replaced, where the others have what it had. Chance may
			// have put nothing on a store of a stripe.
			had := len(parts(t, folders[1])) > 0
			if redundancy != "stripe" {
				if err := os.RemoveAll(folders[1]); err != nil {
					t.Fatal(err)
				}
			}
			replacement := filepath.Join(t.TempDir(), "new")
			now, _ := s.store(0, "replace", "file:"+folders[1], "file:"+replacement)
			if now.named(folders[1]).State != "retired" || now.named(replacement).State != "active" || (len(parts(t, replacement)) > 0) != had {
				t.Errorf("%+v", now)
			}
			s.check()
			// It is there after a restart without a word of it in the configuration.
			if err := os.RemoveAll(folders[1]); err != nil {
				t.Fatal(err)
			}
			s.stop()
			s.start()
			s.check()
			// Another one, and one that goes.
			another := filepath.Join(t.TempDir(), "another")
			s.store(0, "add", "file:"+another)
			s.store(0, "scrub", "--repair")
			if n := len(parts(t, another)); (n > 0) != (redundancy == "mirror") {
				t.Errorf("%d parts were copied to a new store", n)
			}
			now, _ = s.store(0, "drain", "file:"+folders[0])
			if now.named(folders[0]).State != "retired" || len(parts(t, folders[0])) > 0 {
				t.Errorf("%+v, and %d parts are left", now, len(parts(t, folders[0])))
			}
			s.check()
			if redundancy == "erasure:2+1" { // there are three left, and all are needed
				if _, said := s.store(7, "drain", "file:"+folders[2]); !strings.Contains(said, "2 stores would be left, and packs need 3") {
					t.Error(said)
				}
			}
			s.stop()
		})
	}
}

func TestAStoreThatIsNotTheOneThatItWasIsNamedAndNotWrittenTo(t *testing.T) {
	s, folders := several(t, "mirror", 3)
	s.store(0, "list")
	s.stop()
	if err := os.Rename(folders[1], folders[1]+".aside"); err != nil { // as a disk that is not mounted
		t.Fatal(err)
	}
	s.args = append(s.args, "--write-quorum", "2")
	s.start()
	now, _ := s.store(0, "list")
	if got := now.named(folders[1]); got.State != "wrong" || !strings.Contains(got.Problem, folders[1]) {
		t.Errorf("%+v", got)
	}
	s.check()
	s.calmly(5)
	if n := len(parts(t, folders[1])); n > 0 {
		t.Errorf("%d parts were written to another store than it was", n)
	}
	s.store(0, "add", "file:"+folders[1]) // on purpose, then
	s.store(0, "scrub", "--repair")
	if len(parts(t, folders[1])) != len(parts(t, folders[0])) {
		t.Error("what was emptied is not filled again")
	}
	s.check()
	s.stop()
}
