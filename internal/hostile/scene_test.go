package hostile_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/files"
	"parsec/internal/client/history"
	"parsec/internal/format/manifest"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
	"parsec/internal/hostile"
	"parsec/internal/server/rpc"
	"parsec/internal/server/servertest"
)

// scene is two people who share a workspace. Alice speaks to the honest
// server; Bob speaks to it through the proxy, which is honest until told
// otherwise.
type scene struct {
	*testing.T
	server     *servertest.Server
	proxy      *hostile.Proxy
	alice, bob *clienttest.Person
	// plans is the workspace as Alice has it, and Bob a contributor.
	plans *files.Tree
}

// newScene returns a scene in which Bob has seen all that there is.
func newScene(t *testing.T) *scene {
	t.Helper()
	t.Parallel()
	return stage(t)
}

// newOffice returns a scene in which Alice is alone, and speaks through the
// proxy.
func newOffice(t *testing.T) *scene {
	t.Helper()
	t.Parallel()
	s := &scene{T: t, server: servertest.Start(t, servertest.Config{Network: hurried()})}
	s.proxy = hostile.New(t, s.server.URL)
	s.alice = clienttest.Bootstrap(t, s.server.CreateOrganization("Acme"), "alice@example.com")
	s.alice.ToServer(s.proxy.URL)
	return s
}

// stage is newScene for a test that has the machine to itself.
func stage(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, server: servertest.Start(t, servertest.Config{Network: hurried()})}
	s.proxy = hostile.New(t, s.server.URL)
	s.alice = clienttest.Bootstrap(t, s.server.CreateOrganization("Acme"), "alice@example.com")
	s.bob = s.alice.Enroll("bob@example.com", record.ProfileStandard)
	s.bob.ToServer(s.proxy.URL)
	s.plans = s.alice.CreateWorkspace("plans")
	s.put("/notes.txt", "first draft")
	s.mkdir("/folder")
	s.put("/folder/deep.txt", "far below")
	s.alice.Share(s.plans, s.bob, record.RoleContributor)
	if _, err := s.look(s.bob); err != nil {
		t.Fatal(err)
	}
	return s
}

// hurried is a server that does not make a test wait.
func hurried() rpc.Config {
	const rate, burst = 1e5, 1e5
	return rpc.Config{
		AddressRate: rate, AddressBurst: burst, DeviceRate: rate, DeviceBurst: burst,
		OpenRate: rate, OpenBurst: burst, TokenRate: rate, TokenBurst: burst,
	}
}

// ok ends the test unless err is nil.
func (s *scene) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// put has Alice write a file.
func (s *scene) put(path, content string) {
	s.Helper()
	s.ok(put(s.Context(), s.plans, path, content))
}

func (s *scene) mkdir(path string) {
	s.Helper()
	into, name, err := s.plans.Destination(s.Context(), path, "")
	s.ok(err)
	s.ok(s.plans.Import(s.Context(), s.TempDir(), into, name, files.CopyOptions{}))
}

// workspace is the id of the workspace.
func (s *scene) workspace() id.Workspace { return s.plans.Workspace().ID() }

func put(ctx context.Context, tree *files.Tree, path, content string) error {
	into, name, err := tree.Destination(ctx, path, "")
	if err != nil {
		return err
	}
	return tree.ImportStream(ctx, strings.NewReader(content), into, name, files.CopyOptions{})
}

// sight is what a person is shown of the workspace: contents by path, a folder
// with a slash behind it, a link with its target.
type sight map[string]string

// look is what a command does that reads all there is.
func (s *scene) look(p *clienttest.Person) (sight, error) {
	tree, err := s.open(p)
	if err != nil {
		return nil, err
	}
	return s.sightOf(tree)
}

// lookBack is what a command does that reads all there was behind a record.
func (s *scene) lookBack(p *clienttest.Person, index uint64) (sight, error) {
	tree, err := s.open(p)
	if err != nil {
		return nil, err
	}
	past, err := files.At(s.Context(), tree.Mirror, history.Moment{Index: index})
	if err != nil {
		return nil, err
	}
	return s.sightOf(past)
}

func (s *scene) sightOf(tree *files.Tree) (sight, error) {
	ctx := s.Context()
	root, err := tree.Stat(ctx, "/")
	if err != nil {
		return nil, err
	}
	seen := sight{}
	err = files.Walk(ctx, tree, root, func(e files.Entry) error {
		var content bytes.Buffer
		switch {
		case e.Body == nil: // the root folder before the first commit
		case e.Target() != "":
			seen[e.Path] = "-> " + e.Target()
		case e.Kind.String() == "folder":
			seen[e.Path+"/"] = ""
		default:
			err = tree.Content(ctx, e, &content)
			seen[e.Path] = content.String()
		}
		return err
	})
	return seen, err
}

func (s *scene) open(p *clienttest.Person) (*files.Tree, error) {
	if err := p.Held.Sync(s.Context()); err != nil {
		return nil, err
	}
	tree, err := files.Open(s.Context(), p.Session, "plans")
	if p == s.alice && err == nil {
		s.plans = tree // one tree of a workspace at a time
	}
	return tree, err
}

// write is what a command does that writes a file.
func (s *scene) write(path, content string) func(*clienttest.Person) error {
	return func(p *clienttest.Person) error {
		tree, err := s.open(p)
		if err != nil {
			return err
		}
		return put(s.Context(), tree, path, content)
	}
}

// read is what a command does that reads everything, and expects it to be so.
func (s *scene) read(want sight) func(*clienttest.Person) error {
	return func(p *clienttest.Person) error {
		got, err := s.look(p)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, got); diff != "" {
			s.Errorf("%s is shown something else (-want +got):\n%s", p.Device().Email, diff)
		}
		return nil
	}
}

// first is what is in the workspace at the beginning.
func first() sight {
	return sight{"//": "", "/notes.txt": "first draft", "/folder/": "", "/folder/deep.txt": "far below"}
}

// and returns a sight with more in it.
func (v sight) and(path, content string) sight {
	all := sight{path: content}
	for p, c := range v {
		if _, ok := all[p]; !ok {
			all[p] = c
		}
	}
	return all
}

// facts is what must not move while a client is lied to.
type facts struct {
	// Records and the rest are what the server holds.
	Records, Manifests, Blocks uint64
	// Organization and Workspace are the client's remembered heads.
	Organization, Workspace record.Position
}

func (s *scene) facts(p *clienttest.Person) facts {
	s.Helper()
	admin := servertest.DialAdmin(s.server.URL, servertest.AdminToken)
	defer admin.Close()
	stats, err := admin.Admin.OrganizationStats(s.Context(), &parsecv1.OrganizationStatsRequest{Name: "Acme"})
	s.ok(err)
	f := facts{Records: stats.GetRecords(), Manifests: stats.GetManifests(), Blocks: stats.GetBlocks()}
	o, _, err := p.Local().State.Organization(s.Context())
	s.ok(err)
	w, _, err := p.Local().State.Workspace(s.Context(), s.workspace())
	s.ok(err)
	f.Organization, f.Workspace = o.Position, w.Position
	return f
}

// broken has somebody do something while the server lies, and expects that
// it fails as a broken promise, that nothing was written and nothing false
// remembered, and that the same succeeds once the server is honest.
func (s *scene) broken(who *clienttest.Person, promise string, do func(*clienttest.Person) error) {
	s.Helper()
	before := s.facts(who)
	s.breaks(promise, do(who))
	if diff := cmp.Diff(before, s.facts(who)); diff != "" {
		s.Errorf("something was written or remembered (-before +after):\n%s", diff)
	}
	s.heals(who, do)
}

// brokenContent is like broken for lies about what a true record names: the
// record is remembered.
func (s *scene) brokenContent(who *clienttest.Person, promise string, do func(*clienttest.Person) error) {
	s.Helper()
	before := s.facts(who)
	s.breaks(promise, do(who))
	after := s.facts(who)
	after.Organization, after.Workspace = before.Organization, before.Workspace
	if diff := cmp.Diff(before, after); diff != "" {
		s.Errorf("something was written (-before +after):\n%s", diff)
	}
	s.heals(who, do)
}

// variant is one way to carry out an attack. Its name stands in docs/attacks.md.
type variant[F any] struct {
	name string
	lie  F
}

// expectation is what a lie has to come to.
type expectation struct {
	promise string
	// remembers says that true records came with the lie: they are kept.
	remembers bool
}

// tries has somebody do something under each of several lies, and then once
// more with an honest server; see [scene.broken].
func (s *scene) tries(who *clienttest.Person, want expectation, do func(*clienttest.Person) error, lies []variant[func()]) {
	s.Helper()
	for _, v := range lies {
		s.Run(v.name, func(t *testing.T) {
			in := *s
			in.T = t
			before := s.facts(who)
			v.lie()
			in.breaks(want.promise, do(who))
			after := s.facts(who)
			if want.remembers {
				after.Organization, after.Workspace = before.Organization, before.Workspace
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("something was written or remembered (-before +after):\n%s", diff)
			}
			s.proxy.Honest()
		})
	}
	s.heals(who, do)
}

// heals expects that an honest server works again.
func (s *scene) heals(who *clienttest.Person, do func(*clienttest.Person) error) {
	s.Helper()
	s.proxy.Honest()
	who.Reopen()
	if err := do(who); err != nil {
		s.Errorf("with an honest server again: %v", err)
	}
}

// breaks expects an error that names the broken promise.
func (s *scene) breaks(promise string, err error) {
	s.Helper()
	if fault.Exit(err) != fault.ExitIntegrity || fault.PromiseOf(err) != promise {
		s.Errorf("got %v\n(exit status %d, promise %q), want exit status 6 and promise %q",
			err, fault.Exit(err), fault.PromiseOf(err), promise)
	}
}

// local returns what a folder of this machine holds, by path.
func (s *scene) local(dir string) map[string]string {
	s.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(filepath.Join(dir, path))
			all[path] = "-> " + target
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(content)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Fatal(err)
	}
	return all
}

// lie is [Proxy.Lie] about a stream of one kind of message.
func lie[M any](p *hostile.Proxy, procedure string, about func(M)) {
	p.Lie(procedure, func(x *hostile.Exchange) {
		for _, m := range x.Responses {
			about(any(m).(M))
		}
	})
}

// eachChain lies about every chain that the client gets, whichever way.
func eachChain(p *hostile.Proxy, about func(*parsecv1.Chain)) {
	for _, procedure := range []string{"WorkspaceService/Manifests", "WorkspaceService/EntryManifests"} {
		lie(p, procedure, func(m *parsecv1.ManifestsResponse) {
			for _, c := range m.GetChains() {
				about(c)
			}
		})
	}
}

// eachRecord lies about every record of a workspace's log that the client gets.
func eachRecord(p *hostile.Proxy, about func(records [][]byte) [][]byte) {
	lie(p, "WorkspaceService/Pull", func(m *parsecv1.WorkspacePullResponse) { m.Records = about(m.GetRecords()) })
}

func flipped(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// newcomer joins the organization and the workspace as a contributor, and has
// seen nothing of it yet. The newcomer speaks through the proxy.
func (s *scene) newcomer(email string) *clienttest.Person {
	s.Helper()
	p := s.alice.Enroll(email, record.ProfileStandard)
	p.ToServer(s.proxy.URL)
	s.alice.Share(s.plans, p, record.RoleContributor)
	return p
}

// refOf returns the first block of a file.
func (s *scene) refOf(tree *files.Tree, path string) manifest.Ref {
	s.Helper()
	e, err := tree.Stat(s.Context(), path)
	s.ok(err)
	body := e.Body.(manifest.FileBody)
	refs, err := manifest.DecodeRefs(body.Blocks.Items, body.Size)
	s.ok(err)
	return refs[0]
}

// upload stores bytes as a block.
func (s *scene) upload(w id.Workspace, b id.Block, content string) error {
	block := pack.Block{ID: b, Length: uint32(len(content)), Digest: sha256.Sum256([]byte(content))}
	return s.alice.Server().Upload(s.Context(), w, []pack.Block{block}, [][]byte{[]byte(content)})
}

// end ends the scene before the test does.
func (s *scene) end() {
	s.alice.Close()
	s.bob.Close()
	s.proxy.Close()
	s.server.Stop()
}
