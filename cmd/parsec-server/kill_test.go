package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
	"parsec/internal/server/servertest"
	"parsec/internal/services"
	"parsec/internal/verify/verifytest"
)

// written is a commit with its blocks, as its writer knows it.
type written struct {
	by      *verifytest.Device
	request *parsecv1.CommitRequest
	blocks  map[id.Block][]byte
	// index is where it stands; 0 while it was not acknowledged. Guarded by
	// the studio's mutex while others write.
	index uint64
}

// studio is an organization whose devices write to a server that is killed.
type studio struct {
	t   *testing.T
	dir string
	// args are the server's, beside where it listens.
	args []string
	// database is the URL of a PostgreSQL database; empty for an embedded one.
	database string
	// name is the organization's; empty for the usual one.
	name    string
	server  *process
	kit     *verifytest.Kit
	w       *verifytest.Workspace
	writers []*verifytest.Device

	mu sync.Mutex // guards all, and the kit
	// all is what was sent.
	all []*written
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	for name, database := range databases(t) {
		t.Run(name, func(t *testing.T) { survives(&studio{t: t, dir: t.TempDir(), database: database}) })
	}
}

// databases returns the URLs of an embedded database and one of PostgreSQL.
func databases(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{"with an embedded database": "", "with PostgreSQL": services.Postgres(t)}
}

func survives(s *studio) {
	t := s.t
	s.start()
	s.found(4)
	for round := range 5 {
		s.write(20 * (round + 1))
		s.start()
		s.check()
	}
	if rest, err := s.server.end(syscall.SIGTERM); err != nil || rest != "" {
		t.Errorf("the end: %q, %v", rest, err)
	}
}

func (s *studio) start() {
	s.t.Helper()
	var err error
	if s.server, err = start(s.dir, nil, append([]string{"--listen", "127.0.0.1:0", "--database", s.database}, s.args...)...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *studio) dial(d *verifytest.Device) *servertest.Client {
	c := servertest.Dial(s.server.url, s.kit.Fingerprint(), d)
	s.t.Cleanup(c.Close)
	return c
}

// token is the operator's.
func (s *studio) token() string {
	s.t.Helper()
	token, err := os.ReadFile(filepath.Join(s.dir, defaultData, tokenFile))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(token))
}

// found makes the organization, a workspace, and those who write to it.
func (s *studio) found(writers int) {
	t, ctx := s.t, s.t.Context()
	t.Helper()
	s.kit = verifytest.NewWith(t, verifytest.Config{Name: s.name})
	created, err := servertest.DialAdmin(s.server.url, s.token()).Admin.
		CreateOrganization(ctx, &parsecv1.CreateOrganizationRequest{Name: s.kit.Org.Name()})
	if err != nil {
		t.Fatal(err)
	}
	link, err := invitation.ParseLink(created.GetBootstrapUrl())
	if err != nil {
		t.Fatal(err)
	}
	admin := s.dial(s.kit.Admin)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(admin.Organization.Bootstrap(ctx, &parsecv1.BootstrapRequest{
		Token: link.Token.Bytes(), Record: s.kit.Records[0], Opening: canon.Marshal(s.kit.Admin.Opening),
	}))
	s.w = s.kit.CreateWorkspace(s.kit.Admin)
	must(admin.Workspace.Append(ctx, servertest.AppendRequest(t, s.kit, s.w, s.w.Records[0])))
	for range writers {
		d := s.kit.AddUser(record.ProfileStandard)
		must(admin.Organization.Append(ctx, servertest.AddRequest(s.kit, &d.Opening)))
		s.w.Share(s.kit.Admin, d, record.RoleContributor)
		must(admin.Workspace.Append(ctx, servertest.AppendRequest(t, s.kit, s.w, s.w.Records[len(s.w.Records)-1])))
		s.writers = append(s.writers, d)
	}
}

// write lets all write until so many commits are acknowledged in all, and
// kills the server while the others are under way.
func (s *studio) write(acknowledged int) {
	s.t.Helper()
	moment := time.Now().UnixNano() // of all: time may not go back in a log
	var wait sync.WaitGroup
	done := make(chan struct{}, 1000)
	for _, d := range s.writers {
		client := s.dial(d)
		wait.Go(func() {
			for n := uint64(0); s.one(client, d, moment, n) == nil; n++ {
				done <- struct{}{}
			}
		})
	}
	for range acknowledged / len(s.writers) {
		<-done
	}
	if _, err := s.server.end(syscall.SIGKILL); err == nil {
		s.t.Error("the server survived")
	}
	wait.Wait()
}

// one uploads some blocks and commits them, as the device's n-th commit since
// the log was last read.
func (s *studio) one(client *servertest.Client, d *verifytest.Device, moment int64, n uint64) error {
	s.mu.Lock()
	h, content, ids := servertest.Upload(s.w.ID, fmt.Appendf(nil, "%s wrote %d", d.ID, n), bytes.Repeat([]byte{byte(n)}, 100_000))
	raw := s.w.Sign(d, s.w.Changes(s.w.New()), func(b *record.Body) { b.Time, b.Seq = moment, b.Seq+n })
	made := &written{by: d, request: servertest.CommitRequest(s.t, s.kit, s.w, raw, ids...), blocks: map[id.Block][]byte{}}
	at := 0
	for _, b := range h.Blocks {
		made.blocks[b.ID] = content[at:][:b.Length]
		at += int(b.Length)
	}
	s.mu.Unlock()
	if err := client.Upload(s.t.Context(), h, content); err != nil {
		return err
	}
	s.mu.Lock()
	s.all = append(s.all, made)
	s.mu.Unlock()
	answer, err := client.Workspace.Commit(s.t.Context(), made.request)
	s.mu.Lock()
	made.index = answer.GetPosition().GetIndex()
	s.mu.Unlock()
	return err
}

// check verifies the server's whole log, and that it holds everything that was
// acknowledged; and brings what was not once more.
func (s *studio) check() {
	t := s.t
	t.Helper()
	admin := s.dial(s.kit.Admin)
	for _, made := range s.all { // the last commits of each writer, in the order of sending
		if made.index > 0 {
			continue
		}
		answer, err := s.dial(made.by).Workspace.Commit(t.Context(), made.request)
		if err != nil {
			t.Fatalf("a commit once more: %v", err)
		}
		made.index = answer.GetPosition().GetIndex()
	}
	stream, err := admin.Workspace.Pull(t.Context(), &parsecv1.WorkspacePullRequest{Workspace: s.w.ID.Bytes(), Since: s.w.State.Position().Index})
	if err != nil {
		t.Fatal(err)
	}
	for m, err := stream.Receive(); err == nil; m, err = stream.Receive() {
		for _, raw := range m.GetRecords() {
			s.w.Must(raw)
		}
	}
	var ids []id.Block
	want := map[id.Block][]byte{}
	for _, made := range s.all {
		if made.index > uint64(len(s.w.Records)) || !bytes.Equal(s.w.Records[made.index-1], made.request.GetRecord()) {
			t.Fatalf("the commit that was acknowledged at index %d is not there", made.index)
		}
		maps.Copy(want, made.blocks)
	}
	for b := range want {
		ids = append(ids, b)
	}
	got, err := admin.Download(t.Context(), pack.Request{Workspace: s.w.ID, Blocks: ids})
	if err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("got %d blocks, %v; want %d, as they were written", len(got), err, len(want))
	}
}
