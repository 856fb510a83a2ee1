package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/format/record"
	"parsec/internal/server/servertest"
	"parsec/internal/services"
	"parsec/internal/verify/verifytest"
)

// startOn starts a server process on a database, at an address or, for port
// 0, a free one. All processes share the folder of blocks.
func startOn(t *testing.T, dir, name, listen, database string) *process {
	t.Helper()
	p, err := start(dir, nil, "--data", filepath.Join(dir, name), "--listen", listen, "--database", database, "--store", "file:"+filepath.Join(dir, "blocks"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() }) // it may have ended
	return p
}

// foundOn makes an organization at a server process, whose data folder is the
// default one, with workspaces of its administrator.
func foundOn(t *testing.T, dir string, p *process, workspaces int) (*studio, []*verifytest.Workspace) {
	t.Helper()
	s := &studio{t: t, dir: dir, server: p}
	s.found(0)
	all := []*verifytest.Workspace{s.w}
	for len(all) < workspaces {
		w := s.kit.CreateWorkspace(s.kit.Admin)
		if _, err := s.dial(s.kit.Admin).Workspace.Append(t.Context(), servertest.AppendRequest(t, s.kit, w, w.Records[0])); err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	return s, all
}

func TestARollingRestartLosesNothingAndNobodySeesMoreThanADelay(t *testing.T) {
	dir, database := t.TempDir(), services.Postgres(t)
	servers := []*process{startOn(t, dir, defaultData, "127.0.0.1:0", database), startOn(t, dir, "second", "127.0.0.1:0", database)}
	const writers, commits = 4, 60
	s, workspaces := foundOn(t, dir, servers[0], writers)
	requests := make([][]*parsecv1.CommitRequest, writers)
	for i, w := range workspaces {
		for range commits {
			w.Commit(s.kit.Admin, w.New())
			requests[i] = append(requests[i], servertest.CommitRequest(t, s.kit, w, w.Records[len(w.Records)-1]))
		}
	}
	var all sync.WaitGroup
	done := make(chan struct{}, writers*commits)
	for _, mine := range requests {
		clients := []*servertest.Client{
			servertest.Dial(servers[0].url, s.kit.Fingerprint(), s.kit.Admin), servertest.Dial(servers[1].url, s.kit.Fingerprint(), s.kit.Admin),
		}
		all.Go(func() {
			for i, q := range mine {
				if err := bring(t.Context(), clients, i, q); err != nil {
					t.Error(err)
					return
				}
				done <- struct{}{}
			}
		})
	}
	// While they write, each server in turn is ended and started again.
	for i, name := range []string{defaultData, "second"} {
		for range writers * commits / 4 {
			<-done
		}
		listen := must(url.Parse(servers[i].url)).Host
		if rest, err := servers[i].end(syscall.SIGTERM); err != nil || rest != "" {
			t.Errorf("the end: %q, %v", rest, err)
		}
		servers[i] = startOn(t, dir, name, listen, database)
	}
	all.Wait()
	for _, w := range workspaces {
		if got := pulledFrom(t, s, servers[1], w); len(got) != len(w.Records) || !bytes.Equal(got[len(got)-1], w.Records[len(got)-1]) {
			t.Errorf("there are %d records, want %d", len(got), len(w.Records))
		}
	}
}

// bring commits at one server or, as long as that does not answer, at the
// other. Any other answer than that is an error.
func bring(ctx context.Context, clients []*servertest.Client, turn int, q *parsecv1.CommitRequest) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := clients[turn%len(clients)].Workspace.Commit(ctx, q)
		if err == nil {
			return nil
		}
		// Without a refusal nobody answered.
		if refusal, kind := servertest.Refusal(err); refusal != nil && !fault.Is(kind, fault.Unreachable) || ctx.Err() != nil {
			return err
		}
		turn++
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func pulledFrom(t *testing.T, s *studio, p *process, w *verifytest.Workspace) (records [][]byte) {
	t.Helper()
	c := servertest.Dial(p.url, s.kit.Fingerprint(), s.kit.Admin)
	defer c.Close()
	stream, err := c.Workspace.Pull(t.Context(), &parsecv1.WorkspacePullRequest{Workspace: w.ID.Bytes()})
	if err != nil {
		t.Fatal(err)
	}
	for m, err := stream.Receive(); ; m, err = stream.Receive() {
		if errors.Is(err, io.EOF) {
			return records
		}
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, m.GetRecords()...)
	}
}

func TestAServerKilledBetweenCommitAndNotificationDelaysOthersByMoments(t *testing.T) {
	dir, database := t.TempDir(), services.Postgres(t)
	other := startOn(t, dir, defaultData, "127.0.0.1:0", database)
	s, _ := foundOn(t, dir, other, 1)
	reader := s.kit.AddUser(record.ProfileStandard)
	admin := s.dial(s.kit.Admin)
	if _, err := admin.Organization.Append(t.Context(), servertest.AddRequest(s.kit, &reader.Opening)); err != nil {
		t.Fatal(err)
	}
	s.w.Share(s.kit.Admin, reader, record.RoleReader)
	if _, err := admin.Workspace.Append(t.Context(), servertest.AppendRequest(t, s.kit, s.w, s.w.Records[1])); err != nil {
		t.Fatal(err)
	}
	stream, err := s.dial(reader).Organization.Subscribe(t.Context(), &parsecv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}

	// The victim is killed when it begins to say what it has committed, and
	// none of that arrives.
	var victim *process
	line := &line{t: t, to: must(url.Parse(database)).Host, word: []byte("pg_notify"), seen: make(chan struct{})}
	line.on = func() {
		if err := victim.Process.Kill(); err != nil {
			t.Error(err)
		}
	}
	victim = startOn(t, dir, "victim", "127.0.0.1:0", line.listen(database))
	s.w.Commit(s.kit.Admin, s.w.New())
	c := servertest.Dial(victim.url, s.kit.Fingerprint(), s.kit.Admin)
	defer c.Close()
	// Whether the answer comes before the kill is chance; the commit is there.
	_, _ = c.Workspace.Commit(t.Context(), servertest.CommitRequest(t, s.kit, s.w, s.w.Records[2]))
	<-line.seen
	for {
		m, err := stream.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(m.GetWorkspace(), s.w.ID[:]) && m.GetIndex() == 3 {
			return
		}
	}
}

// line passes connections on until a word goes over one of them.
type line struct {
	t    *testing.T
	to   string
	word []byte
	on   func()
	once sync.Once
	seen chan struct{}
}

// listen returns the database's URL by way of the line.
func (l *line) listen(database string) string {
	l.t.Helper()
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := in.Accept()
			if err != nil {
				return
			}
			all.Go(func() { l.pass(c) })
		}
	})
	l.t.Cleanup(func() { in.Close(); all.Wait() })
	u := must(url.Parse(database))
	u.Host = in.Addr().String()
	return u.String()
}

func (l *line) pass(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer to.Close()
	var back sync.WaitGroup
	defer back.Wait()
	defer to.Close()
	back.Go(func() { io.Copy(from, to); from.Close() })
	for buf := make([]byte, 1<<16); ; {
		n, err := from.Read(buf)
		if bytes.Contains(buf[:n], l.word) {
			l.once.Do(func() { l.on(); close(l.seen) })
			return
		}
		if _, failed := to.Write(buf[:n]); failed != nil || err != nil {
			return
		}
	}
}
