package webdav_test

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
	"time"

	"parsec/internal/client/webdav"
)

// The bodies of requests.
const (
	exclusive = `<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner>me &amp; <b xmlns="x">you</b></D:owner></D:lockinfo>`
	shared    = `<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>`
)

func asked(props string) string {
	return `<D:propfind xmlns:D="DAV:"><D:prop>` + props + `</D:prop></D:propfind>`
}

func patch(props string) string {
	return `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>` + props + `</D:prop></D:set></D:propertyupdate>`
}

// lock takes a lock and returns its token.
func (d *desk) lock(path, depth string, headers ...string) string {
	d.t.Helper()
	a := d.do("LOCK", path, exclusive, append(headers, "Depth: "+depth)...)
	if a.status != 200 && a.status != 201 {
		d.t.Fatalf("LOCK %s: %d %s", path, a.status, a.body)
	}
	return strings.Trim(a.header.Get("Lock-Token"), "<>")
}

func TestLocksKeepOtherClientsOut(t *testing.T) {
	d := alone(t)
	d.want(201, "MKCOL", "/plans/folder", "")
	d.want(201, "MKCOL", "/plans/folder/below", "")
	d.want(201, "PUT", "/plans/folder/file", "content")
	token := d.lock("/plans/folder", "infinity")
	mine := "If: </plans/folder> (<" + token + ">)"
	for _, c := range []struct{ method, path, body, header string }{
		{"PUT", "/plans/folder/file", "x", ""},
		{"PUT", "/plans/folder/new", "x", ""},
		{"PUT", "/plans/folder/below/new", "x", ""},
		{"MKCOL", "/plans/folder/new", "", ""},
		{"DELETE", "/plans/folder", "", ""},
		{"DELETE", "/plans/folder/file", "", ""},
		{"PROPPATCH", "/plans/folder/file", patch("<x xmlns='y'/>"), ""},
		{"MOVE", "/plans/folder/file", "", "Destination: /plans/file"},
		{"MOVE", "/plans/folder", "", "Destination: /plans/other"},
		{"COPY", "/plans/folder/file", "", "Destination: /plans/folder/copy"},
		{"LOCK", "/plans/folder/file", shared, ""},
		{"LOCK", "/plans", exclusive, "Depth: infinity"},
		{"LOCK", "/plans/folder/below/new", exclusive, ""},
	} {
		var headers []string
		if c.header != "" {
			headers = append(headers, c.header)
		}
		d.want(423, c.method, c.path, c.body, headers...).has(t, "<D:href>/plans/folder</D:href>")
	}
	d.want(201, "COPY", "/plans/folder/file", "", "Destination: /plans/copied")
	d.want(200, "GET", "/plans/folder/file", "")
	d.want(204, "PUT", "/plans/folder/file", "mine", mine)
	d.want(201, "PUT", "/plans/folder/new", "mine", mine)
	d.want(207, "PROPFIND", "/plans/folder/file", asked("<D:lockdiscovery/>"), "Depth: 0").
		has(t, token, "<D:depth>infinity</D:depth>", `<D:owner>me &amp; <b xmlns="x">you</b></D:owner>`, "<D:lockroot><D:href>/plans/folder</D:href></D:lockroot>")
	d.want(409, "UNLOCK", "/plans/folder", "", "Lock-Token: <urn:uuid:none>").has(t, "lock-token-matches-request-uri")
	d.want(409, "UNLOCK", "/plans/copied", "", "Lock-Token: <"+token+">")
	d.want(204, "UNLOCK", "/plans/folder/file", "", "Lock-Token: <"+token+">")
	d.want(204, "PUT", "/plans/folder/file", "free")
	d.lock("/plans", "0") // members are locked, and not what is in them
	d.want(423, "PUT", "/plans/new", "x")
	d.want(423, "DELETE", "/plans/copied", "")
	d.want(204, "PUT", "/plans/copied", "x")
	d.want(201, "PUT", "/plans/folder/another", "x")
}

func TestALockInAFolderKeepsItThere(t *testing.T) {
	d := alone(t)
	d.want(201, "MKCOL", "/plans/folder", "")
	d.want(201, "PUT", "/plans/folder/file", "content")
	token := d.lock("/plans/folder/file", "0")
	d.want(423, "DELETE", "/plans/folder", "").has(t, "lock-token-submitted", "/plans/folder/file")
	d.want(423, "MOVE", "/plans/folder", "", "Destination: /plans/other")
	d.want(201, "PUT", "/plans/folder/beside", "x")
	mine := "If: </plans/folder/file> (<" + token + ">)"
	d.want(201, "MOVE", "/plans/folder", "", "Destination: /plans/other", mine)
	d.want(204, "PUT", "/plans/other/file", "the lock did not move")
	d.want(201, "MKCOL", "/plans/folder", "")
	d.want(201, "PUT", "/plans/folder/file", "nor did it stay")
}

func TestLocksEndWhenTheirTimeIsOver(t *testing.T) {
	d := alone(t)
	d.want(201, "PUT", "/plans/file", "content")
	for header, seconds := range map[string]int{
		"": 600, "Timeout: Second-60": 60, "Timeout: Infinite": 3600, "Timeout: Infinite, Second-5": 3600, "Timeout: Second-4100000000": 3600,
		"Timeout: nonsense": 600, "Timeout: nonsense, Second-7": 7, "Timeout: Second-0": 600,
	} {
		a := d.do("LOCK", "/plans/file", exclusive, header)
		if a.has(t, fmt.Sprintf("<D:timeout>Second-%d</D:timeout>", seconds)); a.status != 200 {
			t.Fatalf("%q: %d %s", header, a.status, a.body)
		}
		d.want(423, "PUT", "/plans/file", "x")
		d.now.move(time.Duration(seconds) * time.Second)
	}
	token := d.lock("/plans/file", "0", "Timeout: Second-60")
	mine := "If: (<" + token + ">)"
	for range 3 {
		d.now.move(40 * time.Second)
		d.want(200, "LOCK", "/plans/file", "", mine, "Timeout: Second-60").has(t, token)
	}
	d.want(412, "LOCK", "/plans/file", "", "If: (<urn:uuid:none>)")
	d.want(412, "LOCK", "/plans/file", "")
	d.now.move(time.Minute)
	d.want(412, "LOCK", "/plans/file", "", mine)
	d.want(412, "PUT", "/plans/file", "x", mine)
	d.want(204, "PUT", "/plans/file", "x")
}

func TestSharedLocksAreShared(t *testing.T) {
	d := alone(t)
	d.want(201, "PUT", "/plans/file", "content")
	one := d.want(200, "LOCK", "/plans/file", shared).header.Get("Lock-Token")
	two := d.want(200, "LOCK", "/plans/file", shared).header.Get("Lock-Token")
	d.want(423, "LOCK", "/plans/file", exclusive).has(t, "no-conflicting-lock")
	d.want(423, "PUT", "/plans/file", "x")
	d.want(204, "PUT", "/plans/file", "x", "If: ("+two+")")
	d.want(204, "UNLOCK", "/plans/file", "", "Lock-Token: "+one)
	d.want(423, "PUT", "/plans/file", "x")
	d.want(204, "UNLOCK", "/plans/file", "", "Lock-Token: "+two)
	d.want(204, "PUT", "/plans/file", "x")
}

func TestALockOfNothingMakesAFile(t *testing.T) {
	d := alone(t)
	a := d.want(201, "LOCK", "/plans/new", exclusive)
	same(t, "after the lock", map[string]string{"new": ""}, d.content("/plans"))
	d.want(204, "PUT", "/plans/new", "content", "If: ("+a.header.Get("Lock-Token")+")")
	d.want(409, "LOCK", "/plans/none/new", exclusive)
	d.want(403, "LOCK", "/new", exclusive)
	for body, status := range map[string]int{
		"<x/>": 400, "nonsense": 400,
		strings.ReplaceAll(exclusive, "write", "read"):                        422,
		strings.ReplaceAll(exclusive, "exclusive", "other"):                   422,
		strings.ReplaceAll(exclusive, "you", strings.Repeat("you", 10_000)):   413,
		strings.ReplaceAll(exclusive, "you", strings.Repeat("you ", 100_000)): 413,
	} {
		d.want(status, "LOCK", "/plans/other", body)
	}
}

func TestThereIsAnEndToLocks(t *testing.T) {
	if err := webdav.AddLocks(1024); err != nil {
		t.Errorf("so many locks: %v", err)
	}
	if err := webdav.AddLocks(1025); webdav.StatusOf(err) != 507 {
		t.Errorf("one more: %v", err)
	}
}

func TestPropertiesSayWhatThereIs(t *testing.T) {
	d := alone(t)
	d.want(201, "PUT", "/plans/a%20%26%20b.txt", "content", "X-OC-Mtime: 1000000000")
	tag := d.want(200, "HEAD", "/plans/a%20%26%20b.txt", "").header.Get("ETag")
	d.want(207, "PROPFIND", "/plans/", "", "Depth: 1").has(t,
		"<D:href>/plans/</D:href>", "<D:collection/>",
		"<D:href>/plans/a%20&amp;%20b.txt</D:href>", "<D:displayname>a &amp; b.txt</D:displayname>", "<D:getcontentlength>7</D:getcontentlength>",
		"<D:getlastmodified>Sun, 09 Sep 2001 01:46:40 GMT</D:getlastmodified>", "<D:getcontenttype>text/plain; charset=utf-8</D:getcontenttype>",
		"<D:getetag>"+strings.ReplaceAll(tag, `"`, "&#34;")+"</D:getetag>", `<executable xmlns="http://apache.org/dav/props/">F</executable>`,
	)
	d.want(207, "PROPFIND", "/", "", "Depth: 1").has(t, "<D:href>/</D:href>", "<D:href>/plans/</D:href>", "<D:href>/accounts/</D:href>")
	d.want(207, "PROPFIND", "/plans", asked("<D:quota-available-bytes/><D:quota-used-bytes/><D:getetag/><x xmlns='y'/>"), "Depth: 0").has(t,
		fmt.Sprintf("<D:quota-available-bytes>%d</D:quota-available-bytes><D:quota-used-bytes>%d</D:quota-used-bytes>", 1<<39, 1<<39),
		`<D:getetag/><x xmlns="y"/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status>`,
	)
	d.want(207, "PROPFIND", "/plans", `<D:propfind xmlns:D="DAV:"><D:allprop/><D:include><D:quota-used-bytes/></D:include></D:propfind>`, "Depth: 0").
		has(t, "<D:quota-used-bytes>", "<D:resourcetype>")
	names := d.want(207, "PROPFIND", "/plans/a%20%26%20b.txt", `<D:propfind xmlns:D="DAV:"><D:propname/></D:propfind>`)
	names.has(t, "<D:getetag/>", "<D:getlastmodified/>")
	names.hasNot(t, "2001")
	var parsed struct {
		Responses []struct {
			Href string `xml:"href"`
		} `xml:"response"`
	}
	many := d.want(207, "PROPFIND", "/plans", "", "Depth: 1")
	if err := xml.Unmarshal([]byte(many.body), &parsed); err != nil || len(parsed.Responses) != 2 {
		t.Errorf("%v: %+v", err, parsed)
	}
	d.want(404, "PROPFIND", "/plans/none", "", "Depth: 0")
	for _, body := range []string{"<x/>", `<D:propfind xmlns:D="DAV:"/>`, "<D:propfind", asked("") + asked("")} {
		d.want(400, "PROPFIND", "/plans", body, "Depth: 0")
	}
}

func TestPropertiesAreSetAllOrNone(t *testing.T) {
	d := alone(t)
	d.want(201, "PUT", "/plans/file", "content")
	d.want(207, "PROPPATCH", "/plans/file", patch(`<D:getlastmodified>Sun, 09 Sep 2001 01:46:40 GMT</D:getlastmodified><executable xmlns="http://apache.org/dav/props/">T</executable>`)).
		hasNot(t, "HTTP/1.1 4")
	if got := d.find("/plans/file"); got.Modified.Unix() != 1000000000 || !got.Executable {
		t.Errorf("the file is %+v", got)
	}
	d.want(207, "PROPPATCH", "/plans/file", patch(`<Z:Win32LastModifiedTime xmlns:Z="urn:schemas-microsoft-com:">Sat, 09 Sep 2000 01:46:40 GMT</Z:Win32LastModifiedTime><Z:Win32FileAttributes xmlns:Z="urn:schemas-microsoft-com:">00000020</Z:Win32FileAttributes>`)).
		hasNot(t, "HTTP/1.1 4")
	if got := d.find("/plans/file"); got.Modified.Year() != 2000 {
		t.Errorf("the file is %+v", got)
	}
	d.want(207, "PROPPATCH", "/plans/file", patch(`<colour xmlns="x">red</colour><D:getetag>1</D:getetag>`)).
		has(t, "HTTP/1.1 424", "HTTP/1.1 403", "<D:cannot-modify-protected-property/>")
	d.want(207, "PROPPATCH", "/plans/file", patch(`<colour xmlns="x">red</colour><D:getlastmodified>yesterday</D:getlastmodified>`)).has(t, "HTTP/1.1 409", "HTTP/1.1 424")
	d.want(207, "PROPFIND", "/plans/file", asked(`<colour xmlns="x"/>`), "Depth: 0").has(t, "404 Not Found")
	d.want(207, "PROPPATCH", "/plans/file", patch(`<colour xmlns="x" xml:lang="de" a="&quot;">r<b>o</b>t</colour>`)).hasNot(t, "HTTP/1.1 4")
	d.want(207, "PROPFIND", "/plans/file", "", "Depth: 0").has(t, `<colour xmlns="x" xml:lang="de" a="&#34;">r<b>o</b>t</colour>`)
	d.want(207, "PROPPATCH", "/plans/file", `<D:propertyupdate xmlns:D="DAV:"><D:remove><D:prop><colour xmlns="x"/><none xmlns="x"/></D:prop></D:remove></D:propertyupdate>`).hasNot(t, "HTTP/1.1 4")
	d.want(207, "PROPFIND", "/plans/file", "", "Depth: 0").hasNot(t, "colour")
	for _, body := range []string{"", "<x/>", `<D:propertyupdate xmlns:D="DAV:"/>`, `<D:propertyupdate xmlns:D="DAV:"><D:set/></D:propertyupdate>`} {
		d.want(400, "PROPPATCH", "/plans/file", body)
	}
	d.want(404, "PROPPATCH", "/plans/none", patch("<x xmlns='y'/>"))
	large := strings.Repeat("x", 200<<10)
	d.want(207, "PROPPATCH", "/plans/file", patch("<one xmlns='y'>"+large+"</one>"))
	d.want(507, "PROPPATCH", "/plans/file", patch("<two xmlns='y'>"+large+"</two>"))
}

func TestXMLHasLimits(t *testing.T) {
	d := alone(t)
	for what, c := range map[string]struct {
		body   string
		status int
	}{
		"too long":                  {asked("<x>" + strings.Repeat("x", 256<<10) + "</x>"), 413},
		"too deep":                  {asked(strings.Repeat("<x>", 40) + strings.Repeat("</x>", 40)), 400},
		"entities of its own":       {`<!DOCTYPE x [<!ENTITY e "e">]>` + asked("<x>&e;</x>"), 400},
		"an entity that is unknown": {asked("<x>&e;</x>"), 400},
		"an empty prefix":           {asked(`<b:x xmlns:b=""/>`), 400},
		"what is not closed":        {"<D:propfind xmlns:D='DAV:'>", 400},
		"another encoding":          {`<?xml version="1.0" encoding="EBCDIC"?>` + asked("<x/>"), 400},
		"text without an element":   {"text", 400},
	} {
		if a := d.do("PROPFIND", "/plans", c.body, "Depth: 0"); a.status != c.status {
			t.Errorf("%s: %d %q, want %d", what, a.status, a.body, c.status)
		}
	}
	d.want(431, "GET", "/plans", "", "If: "+strings.Repeat("x", 100<<10))
}

func TestOnlyWhoIsMeantIsLetIn(t *testing.T) {
	d := alone(t)
	d.want(201, "PUT", "/plans/page.html", "<script>")
	right := d.password
	for _, wrong := range []string{"", "x", right + "x", right[:len(right)-1]} {
		d.password = wrong
		if a := d.want(401, "OPTIONS", "/", ""); !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("the answer is %v", a.header)
		}
	}
	d.password = right
	if len(right) < 26 { // of 32 letters
		t.Errorf("the password %q has less than 128 bits", right)
	}
	for _, host := range []string{"localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:80", "::1", "127.9.9.9"} {
		d.want(200, "OPTIONS", "/", "", "Host: "+host)
	}
	for _, host := range []string{"example.com", "localhost.example.com", "192.168.0.1:80", "127.0.0.1.example.com", "0.0.0.0"} {
		d.want(421, "OPTIONS", "/", "", "Host: "+host)
	}
	d.want(403, "GET", "/plans/page.html", "", "Origin: http://example.com")
	d.want(403, "GET", "/plans/page.html", "", "Origin: null")
	d.want(403, "GET", "/plans/page.html", "", "Sec-Fetch-Site: cross-site")
	d.want(403, "GET", "/plans/page.html", "", "Sec-Fetch-Site: same-site")
	a := d.want(200, "GET", "/plans/page.html", "", "Sec-Fetch-Site: none", "Origin: "+d.url)
	if h := a.header; h.Get("Content-Disposition") != "attachment" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a page is sent as %v", h)
	}
}

func TestOtherMachinesAreKeptOut(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0", "nonsense"} {
		if l, err := webdav.Listen(t.Context(), address, false); err == nil {
			t.Errorf("listens at %s", l.Addr())
		}
	}
	for _, address := range []string{"127.0.0.1:0", "localhost:0"} {
		l, err := webdav.Listen(t.Context(), address, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	l, err := webdav.Listen(t.Context(), "0.0.0.0:0", true)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
