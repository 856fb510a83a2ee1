package webdav_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"parsec/internal/client/clienttest"
	"parsec/internal/client/filesystem"
	"parsec/internal/format/record"
	"parsec/internal/server/servertest"
)

// write writes a file through another face.
func (d *desk) write(p, content string) filesystem.Attr {
	d.t.Helper()
	ctx := d.t.Context()
	folder, name, err := d.view.Place(ctx, p)
	d.ok(err)
	h, _, err := d.view.Create(ctx, folder, name, filesystem.Write|filesystem.Truncate, false)
	d.ok(err)
	_, err = h.WriteAt(ctx, []byte(content), 0)
	d.ok(err)
	d.ok(h.Close())
	return d.find(p)
}

func (d *desk) find(p string) filesystem.Attr {
	d.t.Helper()
	a, err := d.view.Find(d.t.Context(), p, false)
	d.ok(err)
	return a
}

// symlink makes a symlink through another face.
func (d *desk) symlink(p, target string) {
	d.t.Helper()
	folder, name, err := d.view.Place(d.t.Context(), p)
	d.ok(err)
	_, err = d.view.Symlink(d.t.Context(), folder, name, target)
	d.ok(err)
}

func TestAFileThatIsPutGoesOnWithItsHistory(t *testing.T) {
	d := alone(t)
	first := d.want(201, "PUT", "/plans/file", "one").header.Get("ETag")
	d.sync()
	was := d.find("/plans/file")
	if got := d.want(200, "HEAD", "/plans/file", "").header; got.Get("ETag") != first || got.Get("Content-Length") != "3" {
		t.Errorf("the commit of own work changed the file: %v, was %s", got, first)
	}
	yes := true
	_, err := d.view.Set(t.Context(), was.Node, filesystem.Changes{Executable: &yes})
	d.ok(err)
	second := d.want(204, "PUT", "/plans/file", "two", "If-Match: "+first).header.Get("ETag")
	d.sync()
	now := d.find("/plans/file")
	if now.Node != was.Node || now.Version <= was.Version || !now.Executable || !now.Created.Equal(was.Created) {
		t.Errorf("the file went on as %+v, was %+v", now, was)
	}
	d.want(412, "PUT", "/plans/file", "three", "If-Match: "+first)
	d.write("/plans/file", "six")
	if third := d.want(200, "HEAD", "/plans/file", "").header.Get("ETag"); third == second {
		t.Error("what another face wrote has the same ETag")
	}
	d.want(412, "DELETE", "/plans/file", "", "If-Match: "+second)
	if got := d.want(200, "GET", "/plans/file", ""); got.body != "six" {
		t.Errorf("read %q", got.body)
	}
}

func TestConditionsKeepOthersWork(t *testing.T) {
	d := alone(t)
	tag := d.want(201, "PUT", "/plans/file", "content", "If-None-Match: *").header.Get("ETag")
	d.want(412, "PUT", "/plans/file", "other", "If-None-Match: *")
	d.want(412, "PUT", "/plans/new", "other", "If-Match: *")
	d.want(412, "PUT", "/plans/new", "other", `If-Match: "none"`)
	d.want(412, "PUT", "/plans/file", "other", "If-None-Match: "+tag)
	d.want(412, "PUT", "/plans/file", "other", `If: (["none"])`)
	d.want(412, "PUT", "/plans/file", "other", "If: (Not ["+tag+"])")
	d.want(412, "PUT", "/plans/file", "other", "If: (["+tag+"] <urn:uuid:none>)")
	d.want(412, "PUT", "/plans/new", "other", "If: </nowhere/at/all> (["+tag+"])")
	d.want(412, "PUT", "/plans/new", "other", "If: <http://elsewhere/plans/file> (["+tag+"])")
	d.want(412, "MOVE", "/plans/file", "", "Destination: /plans/x", `If-Match: "none"`)
	d.want(412, "COPY", "/plans/file", "", "Destination: /plans/x", `If-Match: "none"`)
	d.want(412, "PROPPATCH", "/plans/file", patch("<x xmlns='y'>1</x>"), `If-Match: "none"`)
	d.want(412, "GET", "/plans/file", "", `If-Match: "none"`)
	d.want(412, "PROPFIND", "/plans/file", "", "Depth: 0", `If: (["none"])`)
	d.want(304, "GET", "/plans/file", "", `If-None-Match: "none", `+tag)
	d.want(201, "PUT", "/plans/new", "new", "If: </plans/file> (["+tag+"]) (<urn:uuid:none>)")
	d.want(204, "PUT", "/plans/file", "mine", `If-Match: "none", `+tag, "If: (["+tag+"] Not <DAV:no-lock>)")
	if got := d.find("/plans/file"); d.read(got.Node) != "mine" {
		t.Errorf("the file has %q", d.read(got.Node))
	}
}

func TestAnUploadThatBreaksOffChangesNothing(t *testing.T) {
	d := alone(t)
	d.want(201, "PUT", "/plans/file", "content")
	for _, head := range []string{
		"Content-Length: 100\r\n\r\nbegun",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n50\r\nagain",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\nnonsense\r\n",
	} {
		for _, p := range []string{"/plans/file", "/plans/new"} {
			c := d.raw()
			q, err := http.NewRequestWithContext(t.Context(), "PUT", d.url+p, nil)
			d.ok(err)
			q.SetBasicAuth("parsec", d.password)
			_, err = fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n%s", p, q.Host, q.Header.Get("Authorization"), head)
			d.ok(err)
			d.ok(c.(interface{ CloseWrite() error }).CloseWrite())
			got, err := io.ReadAll(c)
			d.ok(err)
			if !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
				t.Errorf("%q is answered with %q", head, got)
			}
			d.ok(c.Close())
		}
	}
	same(t, "the workspace", map[string]string{"file": "content"}, d.content("/plans"))
	s, err := d.all.Find("plans")
	d.ok(err)
	if all, err := s.Overlay().Children(t.Context(), s.Overlay().Root); len(all) != 1 || err != nil {
		t.Errorf("something was left behind: %v, %v", all, err)
	}
}

func TestPartsOfAFileAreSent(t *testing.T) {
	d := alone(t)
	tag := d.want(201, "PUT", "/plans/file.txt", "0123456789").header.Get("ETag")
	for header, want := range map[string]string{
		"": "0123456789", "Range: bytes=2-4": "234", "Range: bytes=-2": "89", "Range: bytes=8-": "89", "Range: bytes=8-100": "89",
		"Range: lines=1-2": "0123456789",
	} {
		a := d.do("GET", "/plans/file.txt", "", header)
		if a.body != want || a.header.Get("ETag") != tag || a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %d %q %v, want %q", header, a.status, a.body, a.header, want)
		}
	}
	if a := d.want(206, "GET", "/plans/file.txt", "", "Range: bytes=2-4", "If-Range: "+tag); a.body != "234" {
		t.Errorf("the same file still: %q", a.body)
	}
	if a := d.want(200, "GET", "/plans/file.txt", "", "Range: bytes=2-4", `If-Range: "other"`); a.body != "0123456789" {
		t.Errorf("another file by now: %q", a.body)
	}
	d.want(206, "GET", "/plans/file.txt", "", "Range: bytes=0-1,5-6").has(t, "01", "56", "Content-Range: bytes 5-6/10")
	d.want(416, "GET", "/plans/file.txt", "", "Range: bytes=20-")
	d.want(201, "PUT", "/plans/empty", "")
	d.want(200, "GET", "/plans/empty", "")
}

func TestFilesHaveTheTimesThatClientsGiveThem(t *testing.T) {
	d := alone(t)
	a := d.want(201, "PUT", "/plans/file", "one", "X-OC-Mtime: 1000000000")
	if a.header.Get("X-OC-Mtime") != "accepted" || d.find("/plans/file").Modified.Unix() != 1000000000 {
		t.Errorf("time %v, %v", d.find("/plans/file").Modified, a.header)
	}
	b := d.want(204, "PUT", "/plans/file", "two", "X-OC-Mtime: 1000000000")
	if a.header.Get("ETag") == b.header.Get("ETag") {
		t.Error("two contents of one size and time have one ETag")
	}
	if got := d.want(200, "HEAD", "/plans/file", "").header.Get("Last-Modified"); got != "Sun, 09 Sep 2001 01:46:40 GMT" {
		t.Errorf("time %s", got)
	}
	d.want(201, "PUT", "/plans/half", "", "X-OC-Mtime: 1000000000.5")
	if got := d.find("/plans/half").Modified.UnixMilli(); got != 1000000000500 {
		t.Errorf("time %d", got)
	}
	for _, bad := range []string{"x", "1e30", "NaN", "-1e300", "inf"} {
		d.want(400, "PUT", "/plans/file", "x", "X-OC-Mtime: "+bad)
	}
	d.want(201, "COPY", "/plans/file", "", "Destination: /plans/copy")
	if got := d.find("/plans/copy").Modified; got.Unix() != 1000000000 {
		t.Errorf("a copy's time is %v", got)
	}
	d.want(204, "COPY", "/plans/half", "", "Destination: /plans/copy", "X-OC-Mtime: 1100000000")
	if got := d.find("/plans/copy").Modified; got.Unix() != 1100000000 {
		t.Errorf("a copy's time is %v", got)
	}
}

func TestWhatCannotBeIsRefused(t *testing.T) {
	d := alone(t)
	d.want(201, "MKCOL", "/plans/folder/", "")
	d.want(201, "PUT", "/plans/file", "content")
	for _, c := range []struct {
		what   string
		status int
		method string
		path   string
		header []string
	}{
		{"no such method", 405, "PATCH", "/plans/file", nil},
		{"POST", 405, "POST", "/plans/file", nil},
		{"a file that is not there", 404, "GET", "/plans/none", nil},
		{"a file in none", 404, "GET", "/plans/none/file", nil},
		{"a file in a file", 404, "GET", "/plans/file/file", nil},
		{"a folder as a file", 405, "GET", "/plans/folder", nil},
		{"the root as a file", 405, "GET", "/", nil},
		{"put where no folder is", 409, "PUT", "/plans/none/file", nil},
		{"put into a file", 409, "PUT", "/plans/file/file", nil},
		{"put over a folder", 405, "PUT", "/plans/folder", nil},
		{"put over a workspace", 405, "PUT", "/plans", nil},
		{"put beside workspaces", 403, "PUT", "/file", nil},
		{"put a part", 400, "PUT", "/plans/file", []string{"Content-Range: bytes 0-1/2"}},
		{"a long name", 400, "PUT", "/plans/" + strings.Repeat("n", 256), nil},
		{"a name that is no text", 400, "PUT", "/plans/%ff", nil},
		{"NUL", 400, "PUT", "/plans/a%00b", nil},
		{"a name of drafts", 403, "PUT", "/plans/.parsec-draft-x", nil},
		{"make a folder where there is one", 405, "MKCOL", "/plans/folder", nil},
		{"make a folder in none", 409, "MKCOL", "/plans/none/folder", nil},
		{"make a workspace", 403, "MKCOL", "/mine", nil},
		{"remove a workspace", 403, "DELETE", "/plans", nil},
		{"remove everything", 403, "DELETE", "/", nil},
		{"remove what is not there", 404, "DELETE", "/plans/none", nil},
		{"remove half a folder", 400, "DELETE", "/plans/folder", []string{"Depth: 0"}},
		{"copy what is not there", 404, "COPY", "/plans/none", []string{"Destination: /plans/x"}},
		{"copy to nowhere", 400, "COPY", "/plans/file", nil},
		{"copy to no URL", 400, "COPY", "/plans/file", []string{"Destination: ://"}},
		{"copy to another server", 502, "COPY", "/plans/file", []string{"Destination: http://example.com/plans/x"}},
		{"copy onto itself", 403, "COPY", "/plans/file", []string{"Destination: /plans/./file"}},
		{"copy a folder into itself", 403, "COPY", "/plans/folder", []string{"Destination: /plans/folder/x"}},
		{"copy over what it is in", 403, "COPY", "/plans/folder", []string{"Destination: /plans"}},
		{"copy over the root", 403, "COPY", "/plans/folder", []string{"Destination: /"}},
		{"copy where no folder is", 409, "COPY", "/plans/file", []string{"Destination: /plans/none/x"}},
		{"copy over what must stay", 412, "COPY", "/plans/file", []string{"Destination: /plans/folder", "Overwrite: F"}},
		{"copy with no known depth", 400, "COPY", "/plans/folder", []string{"Destination: /plans/x", "Depth: 1"}},
		{"copy with no known Overwrite", 400, "COPY", "/plans/folder", []string{"Destination: /plans/x", "Overwrite: maybe"}},
		{"move a workspace", 403, "MOVE", "/plans", []string{"Destination: /other"}},
		{"move a folder into itself", 403, "MOVE", "/plans/folder", []string{"Destination: /plans/folder/x"}},
		{"move over what must stay", 412, "MOVE", "/plans/file", []string{"Destination: /plans/folder", "Overwrite: F"}},
		{"move half a folder", 400, "MOVE", "/plans/folder", []string{"Destination: /plans/x", "Depth: 0"}},
		{"list without an end", 403, "PROPFIND", "/plans", nil},
		{"list half", 400, "PROPFIND", "/plans", []string{"Depth: 2"}},
		{"no If header", 400, "PUT", "/plans/file", []string{"If: nonsense"}},
		{"lock half", 400, "LOCK", "/plans/file", []string{"Depth: 1"}},
		{"unlock without a token", 400, "UNLOCK", "/plans/file", nil},
	} {
		body := ""
		switch c.method {
		case "PUT":
			body = "x"
		case "LOCK":
			body = exclusive
		}
		if a := d.do(c.method, c.path, body, c.header...); a.status != c.status {
			t.Errorf("%s: %d %q, want %d", c.what, a.status, a.body, c.status)
		}
	}
	d.want(403, "PROPFIND", "/plans", "", "Depth: infinity").has(t, "<D:propfind-finite-depth/>")
	same(t, "the workspace", map[string]string{"file": "content"}, d.content("/plans"))
}

func TestFoldersAreCopiedAndMovedWhole(t *testing.T) {
	d := alone(t)
	d.want(201, "MKCOL", "/plans/a", "")
	d.want(201, "MKCOL", "/plans/a/b", "")
	d.want(201, "PUT", "/plans/a/b/file", "content", "X-OC-Mtime: 1000000000")
	d.want(201, "PUT", "/plans/a/other", "other")
	d.symlink("/plans/a/link", "b/file")
	d.want(207, "PROPPATCH", "/plans/a/b/file", patch("<colour xmlns='x'>red</colour>"))
	d.want(201, "COPY", "/plans/a", "", "Destination: "+d.url+"/accounts/a%20copy/", "Overwrite: F")
	same(t, "a copy in another workspace", map[string]string{"b/file": "content", "other": "other"}, d.content("/accounts/a copy"))
	if got := d.find("/accounts/a copy/link"); got.Target != "b/file" {
		t.Errorf("the symlink became %+v", got)
	}
	d.want(207, "PROPFIND", "/accounts/a%20copy/b/file", asked("<colour xmlns='x'/>"), "Depth: 0").has(t, `<colour xmlns="x">red</colour>`)
	d.want(201, "COPY", "/plans/a", "", "Destination: /plans/shallow", "Depth: 0")
	same(t, "a shallow copy", map[string]string{}, d.content("/plans/shallow"))
	d.want(201, "MOVE", "/plans/a", "", "Destination: /accounts/moved")
	same(t, "moved to another workspace", map[string]string{"b/file": "content", "other": "other"}, d.content("/accounts/moved"))
	d.want(404, "PROPFIND", "/plans/a", "", "Depth: 0")
	d.want(204, "MOVE", "/accounts/moved", "", "Destination: /accounts/a%20copy")
	same(t, "over another folder", map[string]string{"a copy/b/file": "content", "a copy/other": "other"}, d.content("/accounts"))
	d.want(201, "PUT", "/accounts/file", "small")
	d.want(204, "MOVE", "/accounts/file", "", "Destination: /accounts/a%20copy")
	same(t, "a file over a folder", map[string]string{"a copy": "small"}, d.content("/accounts"))
	d.want(204, "COPY", "/plans/shallow", "", "Destination: /accounts/a%20copy")
	same(t, "a folder over a file", map[string]string{}, d.content("/accounts/a copy"))
	d.want(204, "DELETE", "/accounts/a%20copy", "")
	d.want(404, "DELETE", "/accounts/a%20copy", "")
}

func TestAFileThatIsMovedOverAnotherIsItsNextVersion(t *testing.T) {
	d := alone(t)
	d.want(201, "PUT", "/plans/report", "first")
	d.want(201, "PUT", "/plans/copy", "copied")
	d.sync()
	was := d.find("/plans/report")
	d.want(201, "PUT", "/plans/report.tmp", "second")
	d.want(204, "MOVE", "/plans/report.tmp", "", "Destination: /plans/report")
	if now := d.find("/plans/report"); now.Node != was.Node || d.read(now.Node) != "second" {
		t.Errorf("it went on as %+v, was %+v", now, was)
	}
	d.want(204, "COPY", "/plans/copy", "", "Destination: /plans/report")
	d.sync()
	if now := d.find("/plans/report"); now.Node != was.Node || d.read(now.Node) != "copied" {
		t.Errorf("it went on as %+v, was %+v", now, was)
	}
}

func TestSymlinksAreWhatTheyLeadTo(t *testing.T) {
	d := alone(t)
	d.want(201, "MKCOL", "/plans/folder", "")
	d.want(201, "PUT", "/plans/folder/file", "content")
	d.symlink("/plans/to-file", "folder/file")
	d.symlink("/plans/to-folder", "folder")
	d.symlink("/plans/dangling", "none")
	d.symlink("/plans/out", "../../etc/passwd")
	d.symlink("/plans/absolute", "/etc/passwd")
	d.symlink("/plans/a", "b")
	d.symlink("/plans/b", "a")
	d.symlink("/plans/folder/up", "../folder")

	all := d.want(207, "PROPFIND", "/plans", "", "Depth: 1")
	all.has(t, "/plans/to-file<", "/plans/to-folder/<", "/plans/folder/<")
	all.hasNot(t, "dangling", "/out", "absolute", "/plans/a<", "/plans/b<")
	d.want(207, "PROPFIND", "/plans/to-folder", "", "Depth: 1").has(t, "/plans/to-folder/file<")
	d.want(207, "PROPFIND", "/plans/folder", "", "Depth: 1").hasNot(t, "/up")
	for _, p := range []string{"dangling", "out", "absolute", "a"} {
		d.want(403, "GET", "/plans/"+p, "")
		d.want(403, "PUT", "/plans/"+p, "x")
		d.want(403, "PROPFIND", "/plans/"+p, "", "Depth: 0")
	}
	if got := d.want(200, "GET", "/plans/to-folder/file", ""); got.body != "content" {
		t.Errorf("read %q", got.body)
	}
	was := d.find("/plans/folder/file")
	d.want(204, "PUT", "/plans/to-file", "through the link")
	if now := d.find("/plans/folder/file"); now.Node != was.Node || d.read(now.Node) != "through the link" {
		t.Error("the symlink did not lead to the file")
	}
	d.want(403, "COPY", "/plans/folder/file", "", "Destination: /plans/to-file")
	token := d.lock("/plans/to-file", "0")
	d.want(423, "PUT", "/plans/folder/file", "x")
	d.want(204, "PUT", "/plans/to-folder/file", "y", "If: (<"+token+">)")
	d.want(204, "DELETE", "/plans/to-folder", "")
	d.want(204, "DELETE", "/plans/to-file", "")
	if got := d.find("/plans/folder/file"); d.read(got.Node) != "y" {
		t.Error("what the symlinks led to is gone")
	}
	d.symlink("/plans/again", "folder")
	d.want(201, "MOVE", "/plans/again", "", "Destination: /plans/moved")
	if got := d.find("/plans/moved"); got.Target != "folder" {
		t.Errorf("the symlink moved as %+v", got)
	}
}

func TestWhatIsReadOnlyTakesNothing(t *testing.T) {
	alice := clienttest.Bootstrap(t, servertest.Start(t, servertest.Config{}).CreateOrganization("Acme"), "alice@example.com")
	tree := alice.CreateWorkspace("plans")
	a := sit(t, alice, filesystem.Options{})
	a.want(201, "PUT", "/plans/file", "content")
	a.sync()
	bob := alice.Enroll("bob@example.com", record.ProfileStandard)
	alice.Share(tree, bob, record.RoleReader)
	b := sit(t, bob, filesystem.Options{})
	b.sync()
	if got := b.want(200, "GET", "/plans/file", ""); got.body != "content" {
		t.Errorf("read %q", got.body)
	}
	for _, method := range []string{"PUT", "MKCOL", "LOCK"} {
		body := map[string]string{"PUT": "x", "LOCK": exclusive}[method]
		b.want(403, method, "/plans/new", body)
	}
	b.want(403, "PUT", "/plans/file", "x")
	b.want(403, "DELETE", "/plans/file", "")
	b.want(403, "MOVE", "/plans/file", "", "Destination: /plans/other")
	b.want(403, "COPY", "/plans/file", "", "Destination: /plans/other")
	b.want(403, "LOCK", "/plans/file", exclusive)
	b.want(403, "PROPPATCH", "/plans/file", patch("<x xmlns='y'>1</x>"))

	a.url = a.serve(filesystem.Options{ReadOnly: true})
	options := a.want(200, "OPTIONS", "/", "").header
	if options.Get("DAV") != "1" || strings.Contains(options.Get("Allow"), "PUT") {
		t.Errorf("options: %v", options)
	}
	for _, method := range []string{"PUT", "MKCOL", "LOCK", "DELETE", "PROPPATCH", "MOVE"} {
		a.want(405, method, "/plans/file", "")
	}
	a.want(207, "PROPFIND", "/plans/file", asked("<D:supportedlock/>"), "Depth: 0").hasNot(t, "lockentry")
}

func TestAServerThatIsAwayIsSaid(t *testing.T) {
	server := servertest.Start(t, servertest.Config{})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	tree := alice.CreateWorkspace("plans")
	a := sit(t, alice, filesystem.Options{})
	a.want(201, "PUT", "/plans/file", strings.Repeat("content ", 1<<12))
	a.sync()
	bob := alice.Enroll("bob@example.com", record.ProfileStandard)
	alice.Share(tree, bob, record.RoleContributor)
	b := sit(t, bob, filesystem.Options{})
	b.sync()
	server.Stop()
	if got := b.want(503, "GET", "/plans/file", ""); got.header.Get("Retry-After") == "" || got.header.Get("ETag") != "" {
		t.Errorf("the answer is %v", got.header)
	}
	b.want(503, "COPY", "/plans/file", "", "Destination: /plans/copy")
	b.want(201, "PUT", "/plans/own", "written meanwhile")
	b.want(207, "PROPFIND", "/plans", "", "Depth: 1").hasNot(t, "copy", "draft")
}

func TestManyClientsAtOnce(t *testing.T) {
	d := alone(t)
	d.want(201, "MKCOL", "/plans/shared", "")
	group, ctx := errgroup.WithContext(t.Context())
	once := func(ctx context.Context, method, p, body string, header ...string) error {
		q, err := http.NewRequestWithContext(ctx, method, d.url+p, strings.NewReader(body))
		if err != nil {
			return err
		}
		q.SetBasicAuth("parsec", d.password)
		for i := 0; i < len(header); i += 2 {
			q.Header.Set(header[i], header[i+1])
		}
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			return err
		}
		defer a.Body.Close()
		if _, err := io.Copy(io.Discard, a.Body); err != nil || a.StatusCode >= 500 {
			return fmt.Errorf("%s %s: %s, %w", method, p, a.Status, err)
		}
		return nil
	}
	for w := range 8 {
		group.Go(func() error {
			for i := range 15 {
				d.now.move(time.Second)
				mine := fmt.Sprintf("/plans/shared/%d", (w+i)%5)
				for _, err := range []error{
					once(ctx, "PUT", mine, strings.Repeat(fmt.Sprint(w), 1000+i)),
					once(ctx, "PROPFIND", "/plans/shared", "", "Depth", "1"),
					once(ctx, "GET", mine, ""),
					once(ctx, "COPY", mine, "", "Destination", fmt.Sprintf("/plans/copy %d", w)),
					once(ctx, "MOVE", mine, "", "Destination", mine+" moved"),
					once(ctx, "LOCK", mine, exclusive, "Timeout", "Second-1"),
					once(ctx, "DELETE", mine+" moved", ""),
				} {
					if err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	d.ok(group.Wait())
	for p, content := range d.content("/plans") {
		if content != "" && content != strings.Repeat(content[:1], len(content)) || strings.Contains(p, "draft") {
			t.Errorf("%s has a mixture of two uploads", p)
		}
	}
}
