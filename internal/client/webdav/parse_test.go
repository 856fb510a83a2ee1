package webdav_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/client/webdav"
)

func TestIfHeadersAreReadAsRFC4918Has(t *testing.T) {
	for header, want := range map[string][][]webdav.Condition{
		"(<a>)":            {{{Token: "a"}}},
		`(<a> ["b"])`:      {{{Token: "a"}, {ETag: `"b"`}}},
		`(<a>)(Not <b>)`:   {{{Token: "a"}}, {{Not: true, Token: "b"}}},
		`(not [W/"b"]<c>)`: {{{Not: true, ETag: `W/"b"`}, {Token: "c"}}},
		`</x> (<a>) ( ["b"] ) <http://h/y>(Not["c"])`: {
			{{Resource: "/x", Token: "a"}},
			{{Resource: "/x", ETag: `"b"`}},
			{{Resource: "http://h/y", Not: true, ETag: `"c"`}},
		},
	} {
		if got, err := webdav.ParseIf(header); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%s: %v, %v", header, err, cmp.Diff(want, got))
		}
	}
	for _, bad := range []string{
		"", " ", "()", "( )", "(<a>", "<a>", "<a> <b> (<c>)", "(a)", "(<a> b)", "(<>)", "([])", "(Not)", "(Not Not <a>)", "(<a>) x", `(["a")`, "<a (<b>)", "(NotNot<a>)",
	} {
		if got, err := webdav.ParseIf(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

func FuzzParseIf(f *testing.F) {
	for _, s := range []string{"(<a>)", `</x> (<a> ["b"]) (Not <DAV:no-lock>)`, "<", "(Not [", "()", "(<a>)<b>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		all, err := webdav.ParseIf(header)
		if err == nil && len(all) == 0 {
			t.Error("no list, and no error")
		}
		for _, list := range all {
			for _, c := range list {
				if err == nil && (c.Token == "") == (c.ETag == "") {
					t.Errorf("%+v is neither about a token nor about an ETag", c)
				}
			}
		}
	})
}

func FuzzParseXML(f *testing.F) {
	for _, s := range []string{
		exclusive, asked("<x xmlns='y'/>"), patch(`<a xmlns="b" xml:lang="de" c:d="e" xmlns:c="f">g<h/>i&lt;<![CDATA[<]]></a>`), `<a:b/>`, `<a xmlns=""><b xmlns="c"><d xmlns=""/></b></a>`,
		`<!DOCTYPE x>`, "<a>", "</a>", "<a/><b/>", strings.Repeat("<a>", 33), `<a xmlns:b=""/>`, "<a>\r\n\t</a>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, text, err := webdav.ParseXML(b)
		if err != nil {
			return
		}
		again, _, err := webdav.ParseXML([]byte(`<D:x xmlns:D="DAV:">` + text + `</D:x>`))
		if err != nil && strings.Contains(err.Error(), "deep") {
			return // the one around is one too many
		}
		if err != nil {
			t.Fatalf("%q became %q: %v", b, text, err)
		}
		if diff := cmp.Diff([]any{e}, again.Parts); diff != "" {
			t.Errorf("%q became %q: %s", b, text, diff)
		}
	})
}

func TestBodiesSayWhatIsAskedFor(t *testing.T) {
	none := webdav.Asked{Props: -1, Patches: -1}
	for body, want := range map[string]webdav.Asked{
		exclusive:                                              {Props: -1, Patches: -1, Lock: true, Owner: `<D:owner>me &amp; <b xmlns="x">you</b></D:owner>`},
		asked("<a xmlns='b'/><c/>"):                            {Props: 2, Patches: -1},
		patch("<a xmlns='b'>c</a>"):                            {Props: -1, Patches: 1},
		`<propfind xmlns="DAV:"/>`:                             none,
		`<propfind><prop/></propfind>`:                         none,
		`<propertyupdate xmlns="DAV:"><set/></propertyupdate>`: none,
		`<propertyupdate xmlns="DAV:"><set><prop/></set></propertyupdate>`:                            none,
		`<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope></lockinfo>`:                       none,
		`<lockinfo xmlns="DAV:"><lockscope/><locktype><write/></locktype></lockinfo>`:                 none,
		`<lockinfo xmlns="DAV:"><lockscope><shared/></lockscope><locktype><x/></locktype></lockinfo>`: none,
	} {
		if got, err := webdav.ParseBody([]byte(body)); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", body, got, err, want)
		}
	}
}

func FuzzParseBody(f *testing.F) {
	for _, s := range []string{exclusive, asked("<x xmlns='y'/>"), patch("<x xmlns='y'>z</x>"), `<propfind xmlns="DAV:"><propname/></propfind>`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := webdav.ParseBody(b)
		if err != nil {
			return
		}
		if is := (a.Props >= 0) || a.Lock; a.Patches == 0 || is && a.Patches > 0 || a.Props >= 0 && a.Lock {
			t.Errorf("%q asks for %+v", b, a)
		}
		if len(a.Owner) > webdav.MaxOwner {
			t.Errorf("%q has a lock be somebody's with a name of %d bytes", b, len(a.Owner))
		}
	})
}

func TestHeadersAreNumbersWithinBounds(t *testing.T) {
	for _, c := range []struct {
		timeout, depth, modified string
		lasts                    time.Duration
		ok                       bool
	}{
		{"", "", "", 10 * time.Minute, true},
		{"Infinite, Second-4100000000", "0", "1.5", time.Hour, true},
		{"Extend, second-7", "1", "-1", 7 * time.Second, true},
		{"Second-0", "infinity", "1e3", 10 * time.Minute, true},
		{"Second-99999999999999999999", "Infinity", "", 10 * time.Minute, true},
		{"", "2", "", 10 * time.Minute, false},
		{"", "0,1", "", 10 * time.Minute, false},
		{"", "", "1e300", 10 * time.Minute, false},
		{"", "", "NaN", 10 * time.Minute, false},
		{"", "", "yesterday", 10 * time.Minute, false},
	} {
		lasts, _, _, err := webdav.ParseHeaders(http.Header{"Timeout": {c.timeout}, "Depth": {c.depth}, "X-Oc-Mtime": {c.modified}})
		if (err == nil) != c.ok || lasts != c.lasts {
			t.Errorf("%+v: it lasts %v, %v", c, lasts, err)
		}
	}
}

func FuzzParseHeaders(f *testing.F) {
	f.Add("Infinite, Second-4100000000", "infinity", "1234567890.5")
	f.Add("Second-600", "0", "")
	f.Add("second-", "1 ", "-9e9")
	f.Fuzz(func(t *testing.T, timeout, depth, modified string) {
		lasts, deep, at, err := webdav.ParseHeaders(http.Header{"Timeout": {timeout}, "Depth": {depth}, "X-Oc-Mtime": {modified}})
		if lasts <= 0 || lasts > webdav.MaxTimeout {
			t.Errorf("Timeout %q: a lock that lasts %v", timeout, lasts)
		}
		if err != nil {
			return
		}
		if deep < 0 || deep > 2 || depth == "" && deep != 2 {
			t.Errorf("Depth %q: %d", depth, deep)
		}
		if at != nil && !at.Equal(time.Unix(0, at.UnixNano())) {
			t.Errorf("X-OC-Mtime %q: %v cannot be kept", modified, at)
		}
	})
}
