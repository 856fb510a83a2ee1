package webdav

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
	"time"

	"parsec/internal/client/filesystem"
	"parsec/internal/format/manifest"
)

// The namespaces of properties that others than RFC 4918 have made up.
const (
	apache    = "http://apache.org/dav/props/"
	microsoft = "urn:schemas-microsoft-com:"
)

// resource is a file or folder as PROPFIND shows it.
type resource struct {
	// path is the one that the client knows it by, real that of its locks.
	path, real string
	attr       filesystem.Attr
}

func (r resource) isFolder() bool { return r.attr.Kind == manifest.Folder }

// property is one that the file system gives a value.
type property struct {
	name xml.Name
	// asked says that it is shown only to who asks for it by name.
	asked bool
	// value returns its value as XML, and false where a resource has none.
	value func(q *request, r resource) (string, bool)
	// set changes it; nil where nobody can. An empty text is its removal.
	set func(text string) (filesystem.Changes, error)
}

func ofDAV(local string) xml.Name { return xml.Name{Space: dav, Local: local} }

// live are the properties with values of the file system.
func live() []property {
	return []property{
		{name: ofDAV("resourcetype"), value: resourceType},
		{name: ofDAV("displayname"), value: displayName},
		{name: ofDAV("creationdate"), value: creationDate},
		{name: ofDAV("getlastmodified"), value: lastModified, set: setModified},
		{name: ofDAV("getcontentlength"), value: ofFile(func(r resource) string { return strconv.FormatUint(r.attr.Size, 10) })},
		{name: ofDAV("getcontenttype"), value: ofFile(func(r resource) string { return contentType(r.path) })},
		{name: ofDAV("getetag"), value: ofFile(func(r resource) string { return etag(r.attr) })},
		{name: ofDAV("supportedlock"), value: supportedLock},
		{name: ofDAV("lockdiscovery"), value: lockDiscovery},
		{name: ofDAV("quota-available-bytes"), asked: true, value: quota(func(s filesystem.Space) uint64 { return s.Free })},
		{name: ofDAV("quota-used-bytes"), asked: true, value: quota(func(s filesystem.Space) uint64 { return s.Total - s.Free })},
		{name: xml.Name{Space: apache, Local: "executable"}, value: executable, set: setExecutable},
		{name: xml.Name{Space: microsoft, Local: "Win32LastModifiedTime"}, asked: true, value: lastModified, set: setModified},
	}
}

func resourceType(_ *request, r resource) (string, bool) {
	if r.isFolder() {
		return "<D:collection/>", true
	}
	return "", true
}

func displayName(_ *request, r resource) (string, bool) {
	name := r.path[strings.LastIndexByte(r.path, '/')+1:]
	return escape(name), name != ""
}

func creationDate(_ *request, r resource) (string, bool) {
	return r.attr.Created.UTC().Format(time.RFC3339), !r.attr.Created.IsZero()
}

func lastModified(_ *request, r resource) (string, bool) {
	return r.attr.Modified.UTC().Format(http.TimeFormat), !r.attr.Modified.IsZero()
}

func setModified(text string) (c filesystem.Changes, err error) {
	at, err := http.ParseTime(text)
	if err != nil {
		return c, refusef(http.StatusConflict, "%.40q is no time as HTTP has them", text)
	}
	return filesystem.Changes{Modified: &at}, nil
}

// ofFile returns the value of a property that folders do not have.
func ofFile(text func(resource) string) func(*request, resource) (string, bool) {
	return func(_ *request, r resource) (string, bool) {
		if r.isFolder() {
			return "", false
		}
		return escape(text(r)), true
	}
}

func supportedLock(q *request, _ resource) (string, bool) {
	if q.cfg.ReadOnly {
		return "", true
	}
	entry := func(scope string) string {
		return "<D:lockentry><D:lockscope><D:" + scope + "/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
	}
	return entry("exclusive") + entry("shared"), true
}

func lockDiscovery(q *request, r resource) (string, bool) {
	var b strings.Builder
	for _, l := range q.locks.of(r.real) {
		b.WriteString(q.activeLock(l))
	}
	return b.String(), true
}

// quota returns the value of a property of RFC 4331, which folders have.
func quota(which func(filesystem.Space) uint64) func(*request, resource) (string, bool) {
	return func(q *request, r resource) (string, bool) {
		if !r.isFolder() {
			return "", false
		}
		s, err := q.view.Space(q.ctx)
		if err != nil || s.Total == 0 {
			return "", false
		}
		return strconv.FormatUint(which(s), 10), true
	}
}

func executable(_ *request, r resource) (string, bool) {
	if r.attr.Executable {
		return "T", true
	}
	return "F", !r.isFolder()
}

func setExecutable(text string) (c filesystem.Changes, err error) {
	is := text == "T"
	if !is && text != "F" && text != "" {
		return c, refusef(http.StatusConflict, "%.40q is neither T nor F", text)
	}
	return filesystem.Changes{Executable: &is}, nil
}
