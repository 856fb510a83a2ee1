package blobtest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"parsec/internal/base/id"
	"parsec/internal/server/blob"
)

// place is the environment variable that makes a test binary the victim of [kill].
const place = "PARSEC_BLOBTEST_PLACE"

// Main is a TestMain. It runs the tests, and it lets the test binary be
// started again as a process that stores objects until it is killed.
func Main(m *testing.M, open Open) {
	at := os.Getenv(place)
	if at == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, victim(at, open))
	os.Exit(1)
}

// victims is the scope in which the victim stores objects.
var victims = blob.Scope{Organization: id.Fingerprint{1}, Workspace: id.Workspace{2}}

// contentOf is what the victim stores under a pack's id, in parts.
func contentOf(p id.Pack) [][]byte {
	return [][]byte{bytes.Repeat(p[:], 1+int(p[1])), bytes.Repeat(p[:], 100*int(p[2]))}
}

// victim stores objects, four at a time, until one fails, and says of each
// afterwards which it was.
func victim(at string, open Open) error {
	s, err := open(context.Background(), at)
	if err != nil {
		return err
	}
	failed := make(chan error, 4)
	var all sync.WaitGroup
	defer all.Wait()
	for range 4 {
		all.Go(func() {
			for {
				pack := id.New[id.Pack]()
				if err := s.Put(context.Background(), blob.Key{Scope: victims, Pack: pack}, contentOf(pack)); err != nil {
					failed <- err
					return
				}
				fmt.Println(pack)
			}
		})
	}
	return <-failed
}

// kill kills a process in the middle of its writes, several times. Everything
// that it said was stored must be there, and everything that is there whole.
func kill(t *testing.T, a Adapter) {
	at := a.New(t)
	for _, after := range []int{1, 10, 60} {
		told := killAfter(t, at, after)
		s := a.open(t, at)
		for _, pack := range told {
			check(t, s, blob.Key{Scope: victims, Pack: pack}, bytes.Join(contentOf(pack), nil))
		}
		for _, o := range list(t, s, victims, id.Pack{}) {
			check(t, s, o.Key, bytes.Join(contentOf(o.Key.Pack), nil))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter runs the victim until it told of so many objects, kills it, and
// returns all of which it told.
func killAfter(t *testing.T, at string, objects int) (told []id.Pack) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), place+"="+at)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		pack, err := id.Parse[id.Pack](lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		if told = append(told, pack); len(told) == objects {
			c.Process.Kill()
		}
	}
	if err := c.Wait(); err == nil || len(told) < objects {
		t.Fatalf("the victim ended by itself: %v", err)
	}
	return told
}
