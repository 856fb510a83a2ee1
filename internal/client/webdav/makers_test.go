package webdav_test

import (
	"strings"
	"testing"
)

// The clients of macOS and Windows cannot run here; what they send can.

func TestTheFinderSavesAFile(t *testing.T) {
	d := alone(t)
	d.want(200, "OPTIONS", "/plans/", "")
	d.want(207, "PROPFIND", "/plans/", `<?xml version="1.0" encoding="utf-8"?>
<D:propfind xmlns:D="DAV:"><D:prop><D:quota-available-bytes/><D:quota-used-bytes/><D:quota/><D:quotaused/></D:prop></D:propfind>`, "Depth: 0").
		has(t, "<D:quota-available-bytes>", "<D:quota/>")
	d.want(404, "PROPFIND", "/plans/letter.txt", asked("<D:getlastmodified/><D:getcontentlength/><D:resourcetype/>"), "Depth: 0")
	d.want(201, "PUT", "/plans/letter.txt", "")
	lock := d.want(200, "LOCK", "/plans/letter.txt", `<?xml version="1.0" encoding="utf-8"?>
<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner><D:href>http://www.apple.com/webdav_fs/</D:href></D:owner></D:lockinfo>`,
		"Depth: 0", "Timeout: Second-600")
	lock.has(t, "<D:owner><D:href>http://www.apple.com/webdav_fs/</D:href></D:owner>", "<D:timeout>Second-600</D:timeout>")
	token := lock.header.Get("Lock-Token")
	if !strings.HasPrefix(token, "<urn:uuid:") {
		t.Errorf("the token is %q", token)
	}
	d.want(204, "PUT", "/plans/letter.txt", "Dear Bob", "If: ("+token+")", "X-Expected-Entity-Length: 8")
	d.want(200, "LOCK", "/plans/letter.txt", "", "If: ("+token+")", "Timeout: Second-600")
	d.want(204, "UNLOCK", "/plans/letter.txt", "", "Lock-Token: "+token)
	d.want(201, "PUT", "/plans/._letter.txt", "\x00\x05\x16\x07")
	same(t, "the workspace", map[string]string{"letter.txt": "Dear Bob", "._letter.txt": "\x00\x05\x16\x07"}, d.content("/plans"))
}

func TestTheExplorerSavesAFile(t *testing.T) {
	d := alone(t)
	options := d.want(200, "OPTIONS", "/", "", "Translate: f").header
	if options.Get("MS-Author-Via") != "DAV" || options.Get("DAV") != "1, 2" {
		t.Errorf("the options are %v", options)
	}
	d.want(207, "PROPFIND", "/", "", "Depth: 0", "Translate: f")
	lock := d.want(201, "LOCK", "/plans/New%20Text%20Document.txt", `<?xml version="1.0" encoding="utf-8" ?>
<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner><D:href>DESK\alice</D:href></D:owner></D:lockinfo>`,
		"Timeout: Second-3600")
	mine := "If: (" + lock.header.Get("Lock-Token") + ")"
	d.want(204, "PUT", "/plans/New%20Text%20Document.txt", "text", mine, "Translate: f")
	d.want(207, "PROPPATCH", "/plans/New%20Text%20Document.txt", `<?xml version="1.0" encoding="utf-8" ?>
<D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop><Z:Win32CreationTime>Sun, 09 Sep 2001 01:46:40 GMT</Z:Win32CreationTime><Z:Win32LastAccessTime>Sun, 09 Sep 2001 01:46:40 GMT</Z:Win32LastAccessTime><Z:Win32LastModifiedTime>Sun, 09 Sep 2001 01:46:40 GMT</Z:Win32LastModifiedTime><Z:Win32FileAttributes>00000000</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>`, mine).
		hasNot(t, "HTTP/1.1 4")
	d.want(204, "UNLOCK", "/plans/New%20Text%20Document.txt", "", "Lock-Token: "+lock.header.Get("Lock-Token"))
	d.want(201, "MOVE", "/plans/New%20Text%20Document.txt", "", "Destination: "+d.url+"/plans/notes.txt", "Overwrite: F")
	if got := d.find("/plans/notes.txt"); got.Modified.Unix() != 1000000000 || d.read(got.Node) != "text" {
		t.Errorf("the file is %+v", got)
	}
	d.want(207, "PROPFIND", "/plans/notes.txt", asked(`<Z:Win32FileAttributes xmlns:Z="urn:schemas-microsoft-com:"/>`), "Depth: 0").has(t, ">00000000<")
}
