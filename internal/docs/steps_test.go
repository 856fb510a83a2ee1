package docs_test

import (
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// step is an indented block of a page: commands, or a file's content.
type step struct {
	text string
	// file is the path that the paragraph before it gives the file; empty for
	// commands.
	file string
}

// steps returns the blocks of a section of docs/hosting.md. Empty lines within
// a block are part of it.
func steps(t *testing.T, section string) (all []step) {
	t.Helper()
	_, text, begins := strings.Cut(read(t, filepath.Join(checkout, "docs/hosting.md")), "\n## "+section+"\n")
	text, _, ends := strings.Cut(text, "\n## ")
	if !begins || !ends {
		t.Fatalf("docs/hosting.md has no section %q", section)
	}
	named := regexp.MustCompile("in `(/[^`]+)`[^`]*:\\s*$")
	for _, m := range regexp.MustCompile(`(^|(?:^|\n)[^ \n][^\n]*\n)\n((?: {4}[^\n]*\n|\n {4}[^\n]*\n)+)`).FindAllStringSubmatch(text, -1) {
		s := step{text: regexp.MustCompile(`(?m)^ {4}`).ReplaceAllString(m[2], "")}
		if file := named.FindStringSubmatch(m[1]); file != nil {
			s.file = file[1]
		}
		all = append(all, s)
	}
	return all
}

// freeAddress returns an address of loopback that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
