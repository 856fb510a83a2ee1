package webdav_test

import (
	"strings"
	"testing"

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
