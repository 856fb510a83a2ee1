package server_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
	"parsec/internal/server/jobs"
	"parsec/internal/server/rpc"
	"parsec/internal/server/servertest"
	"parsec/internal/services"
	"parsec/internal/verify/verifytest"
)

// never is longer than any test: what is due then does not happen.
const never = time.Hour

// firm is an organization on several servers over one PostgreSQL and one
// folder of blocks.
type firm struct {
	t       *testing.T
	servers []*servertest.Server
	kit     *verifytest.Kit
	w       *verifytest.Workspace
	turn    int
}

// newFirm starts a server for each configuration.
func newFirm(t *testing.T, each ...servertest.Config) *firm {
	t.Helper()
	f := &firm{t: t}
	database, dir := services.Postgres(t), t.TempDir()
	for _, c := range each {
		c.Database, c.Dir, c.Network = database, dir, rpc.Config{Beat: never}
		f.servers = append(f.servers, servertest.Start(t, c))
	}
	f.kit = servertest.Bootstrap(t, f.servers[0])
	f.w = f.kit.CreateWorkspace(f.kit.Admin)
	f.append(0, f.kit.Admin)
	return f
}

// at returns a client of one of the servers.
func (f *firm) at(server int, d *verifytest.Device) *servertest.Client {
	c := servertest.Dial(f.servers[server].URL, f.kit.Fingerprint(), d)
	f.t.Cleanup(c.Close)
	return c
}

// next returns a client of another server at each call.
func (f *firm) next(d *verifytest.Device) *servertest.Client {
	f.turn++
	return f.at(f.turn%len(f.servers), d)
}

// append brings the workspace's newest record to one of the servers.
func (f *firm) append(server int, by *verifytest.Device) {
	f.t.Helper()
	raw := f.w.Records[len(f.w.Records)-1]
	if _, err := f.at(server, by).Workspace.Append(f.t.Context(), servertest.AppendRequest(f.t, f.kit, f.w, raw)); err != nil {
		f.t.Fatal(err)
	}
}

// commit commits a new entry at one of the servers.
func (f *firm) commit(server int, by *verifytest.Device) {
	f.t.Helper()
	f.w.Commit(by, f.w.New())
	if _, err := f.at(server, by).Workspace.Commit(f.t.Context(), servertest.CommitRequest(f.t, f.kit, f.w, f.w.Records[len(f.w.Records)-1])); err != nil {
		f.t.Fatal(err)
	}
}

// join adds a user and makes them a member, at one of the servers.
func (f *firm) join(server int, role record.Role) *verifytest.Device {
	f.t.Helper()
	d := f.kit.AddUser(record.ProfileStandard)
	if _, err := f.at(server, f.kit.Admin).Organization.Append(f.t.Context(), servertest.AddRequest(f.kit, &d.Opening)); err != nil {
		f.t.Fatal(err)
	}
	f.w.Share(f.kit.Admin, d, role)
	f.append(server, f.kit.Admin)
	return d
}

// stream is an event stream.
type stream struct {
	parsecv1connect.OrganizationServiceSubscribeClientStream
}

func (f *firm) subscribe(server int, d *verifytest.Device) stream {
	f.t.Helper()
	s, err := f.at(server, d).Organization.Subscribe(f.t.Context(), &parsecv1.SubscribeRequest{})
	if err != nil {
		f.t.Fatal(err)
	}
	return stream{s}
}

// until reads until a log is said to have got to an index; the organization's
// own for no workspace.
func (f *firm) until(s stream, w []byte, index uint64) {
	f.t.Helper()
	for {
		m, err := s.Receive()
		if err != nil {
			f.t.Fatal(err)
		}
		if bytes.Equal(m.GetWorkspace(), w) && m.GetIndex() >= index {
			return
		}
	}
}

func TestADeviceMayTalkToAnotherServerAtEachRequest(t *testing.T) {
	f := newFirm(t, servertest.Config{}, servertest.Config{}, servertest.Config{})
	bob := f.join(1, record.RoleContributor)
	ctx := t.Context()
	for range 10 {
		h, content, ids := servertest.Upload(f.w.ID, []byte("some content"), bytes.Repeat([]byte("more"), 1000))
		if err := f.next(bob).Upload(ctx, h, content); err != nil {
			t.Fatal(err)
		}
		f.w.Commit(bob, f.w.New())
		request := servertest.CommitRequest(t, f.kit, f.w, f.w.Records[len(f.w.Records)-1], ids...)
		var at uint64
		for range 2 { // the second time as if the answer had been lost
			answer, err := f.next(bob).Workspace.Commit(ctx, request)
			if err != nil {
				t.Fatal(err)
			}
			if at = answer.GetPosition().GetIndex(); at != f.w.State.Position().Index {
				t.Fatalf("the commit stands at %d, want %d", at, f.w.State.Position().Index)
			}
		}
		got, err := f.next(f.kit.Admin).Download(ctx, pack.Request{Workspace: f.w.ID, Blocks: ids})
		if err != nil || !bytes.Equal(got[ids[0]], []byte("some content")) {
			t.Fatalf("got %q, %v", got[ids[0]], err)
		}
	}
}

func TestWhatOneServerRefusesSinceAMomentAgoAllRefuse(t *testing.T) {
	f := newFirm(t, servertest.Config{}, servertest.Config{})
	bob, eve := f.join(0, record.RoleContributor), f.join(1, record.RoleContributor)
	ctx := t.Context()
	try := func(server int, d *verifytest.Device) error {
		raw := f.w.Sign(d, f.w.Changes(f.w.New()))
		_, err := f.at(server, d).Workspace.Commit(ctx, servertest.CommitRequest(t, f.kit, f.w, raw))
		_, typed := servertest.Refusal(err)
		return typed
	}
	for server := range f.servers { // both know both now
		f.commit(server, bob)
		f.commit(server, eve)
	}
	f.w.Remove(f.kit.Admin, bob)
	f.append(0, f.kit.Admin)
	servertest.Kind(t, "a commit of a removed member, at the other server", try(1, bob), fault.Denied)
	f.kit.RevokeUser(f.kit.Admin, eve)
	if _, err := f.at(1, f.kit.Admin).Organization.Append(ctx, servertest.AddRequest(f.kit, nil)); err != nil {
		t.Fatal(err)
	}
	servertest.Kind(t, "a commit of a revoked user, at the other server", try(0, eve), fault.Unauthenticated)
	// And who is let in by one is let in by the other.
	f.w.Share(f.kit.Admin, bob, record.RoleContributor)
	f.append(1, f.kit.Admin)
	if err := try(0, bob); fault.Is(err, fault.Denied) {
		t.Errorf("a commit of a member again: %v", err)
	}
}

func TestSubscribersOfOneServerHearWhatHappensAtAnother(t *testing.T) {
	for _, test := range []struct {
		name            string
		writer, listens servertest.Config
	}{
		{"over the bus", servertest.Config{Follow: never}, servertest.Config{Follow: never}},
		{"by reading, where the writer ends before it tells", servertest.Config{Deaf: true, Follow: never}, servertest.Config{Follow: 20 * time.Millisecond}},
		{"by reading, where the listener is cut off", servertest.Config{Follow: never}, servertest.Config{Deaf: true, Follow: 20 * time.Millisecond}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFirm(t, test.writer, test.listens)
			bob := f.join(0, record.RoleReader)
			s := f.subscribe(1, bob)
			f.until(s, f.w.ID[:], f.w.State.Position().Index)
			f.commit(0, f.kit.Admin)
			f.until(s, f.w.ID[:], f.w.State.Position().Index)

			carol := f.kit.AddUser(record.ProfileStandard)
			if _, err := f.at(0, f.kit.Admin).Organization.Append(t.Context(), servertest.AddRequest(f.kit, &carol.Opening)); err != nil {
				t.Fatal(err)
			}
			f.until(s, nil, f.kit.Org.Position().Index)

			f.w = f.kit.CreateWorkspace(f.kit.Admin) // of which bob knows nothing yet
			f.append(0, f.kit.Admin)
			f.w.Share(f.kit.Admin, bob, record.RoleReader)
			f.append(0, f.kit.Admin)
			f.until(s, f.w.ID[:], f.w.State.Position().Index)

			f.kit.RevokeUser(f.kit.Admin, bob)
			if _, err := f.at(0, f.kit.Admin).Organization.Append(t.Context(), servertest.AddRequest(f.kit, nil)); err != nil {
				t.Fatal(err)
			}
			for {
				if _, err := s.Receive(); err != nil {
					_, typed := servertest.Refusal(err)
					servertest.Kind(t, "the stream of a revoked user", typed, fault.Unauthenticated)
					break
				}
			}
		})
	}
}

func TestWhomTheOperatorSuspendsAtOneServerIsCutOffAtTheOther(t *testing.T) {
	for _, test := range []struct {
		name             string
		operator, stream servertest.Config
	}{
		{"over the bus", servertest.Config{Follow: never}, servertest.Config{Follow: never}},
		{"by reading, where notifications are lost", servertest.Config{Deaf: true, Follow: never}, servertest.Config{Deaf: true, Follow: 20 * time.Millisecond}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFirm(t, test.operator, test.stream)
			bob := f.join(0, record.RoleReader)
			operator := servertest.DialAdmin(f.servers[0].URL, servertest.AdminToken).Admin
			position := f.w.State.Position().Index
			his, own := f.subscribe(1, bob), f.subscribe(1, f.kit.Admin)
			f.until(his, f.w.ID[:], position)
			f.until(own, f.w.ID[:], position)
			ends := func(what string, s stream) {
				t.Helper()
				for {
					if _, err := s.Receive(); err != nil {
						_, typed := servertest.Refusal(err)
						servertest.Kind(t, what, typed, fault.Frozen)
						return
					}
				}
			}
			name, yes := f.kit.Org.Name(), true
			if _, err := operator.SetUser(t.Context(), &parsecv1.SetUserRequest{Organization: name, Email: bob.Opening.Email, Frozen: true}); err != nil {
				t.Fatal(err)
			}
			ends("the stream of a frozen user", his)
			f.commit(0, f.kit.Admin)
			f.until(own, f.w.ID[:], f.w.State.Position().Index) // who is not frozen goes on
			if _, err := operator.SetOrganization(t.Context(), &parsecv1.SetOrganizationRequest{Name: name, Expired: &yes}); err != nil {
				t.Fatal(err)
			}
			ends("a stream of an organization that expired", own)
		})
	}
}

func TestAServerThatStopsLosesNothingAndTheOtherGoesOn(t *testing.T) {
	f := newFirm(t, servertest.Config{}, servertest.Config{})
	bob := f.join(0, record.RoleContributor)
	s := f.subscribe(1, bob)
	f.commit(0, bob)
	f.servers[0].Stop()
	f.until(s, f.w.ID[:], f.w.State.Position().Index)
	f.commit(1, bob)
	f.until(s, f.w.ID[:], f.w.State.Position().Index)
}

// done is told which jobs were done, by one or the other server, of those that
// are not due at each look.
type done chan string

// Job implements [jobs.Observer].
func (d done) Job(name, outcome string, _ time.Duration) {
	if name != jobs.Deletion && name != "repairs" {
		d <- name + " " + outcome
	}
}

func TestOfSeveralServersOneDoesEachJob(t *testing.T) {
	d := make(done, 16)
	each := servertest.Config{Jobs: jobs.Config{Look: 10 * time.Millisecond, Observer: d}}
	f := newFirm(t, each, each)
	got := []string{<-d, <-d}
	slices.Sort(got)
	if want := []string{"blocks ok", "invitations ok"}; !slices.Equal(got, want) {
		t.Errorf("done: %q, want %q", got, want)
	}
	for _, s := range f.servers {
		s.Stop()
	}
	if len(d) > 0 {
		t.Errorf("done again: %q", <-d)
	}
}
