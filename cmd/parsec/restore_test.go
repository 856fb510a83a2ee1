package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"parsec/internal/services"
)

// TestARestoreDrill plays what docs/operations.md says about putting back a
// backup of PostgreSQL, with its programs and those of PostgreSQL.
func TestARestoreDrill(t *testing.T) {
	services.Programs(t, "rsync")
	runScript(t, "testdata/postgresql/restore.txtar", services.Postgres(t))
}

// The drill types what an operator reads, in the same order.
func TestTheRestoreDrillIsTheDocumentedOne(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, drill, begins := strings.Cut(read("../../docs/operations.md"), "\n### A drill\n")
	drill, _, ends := strings.Cut(drill, "\n## ")
	if !begins || !ends {
		t.Fatal("docs/operations.md has no drill")
	}
	script := read("testdata/postgresql/restore.txtar")
	here := strings.NewReplacer("postgres://parsec@db.example.com/parsec", "$DATABASE", "/var/lib/parsec/blocks", "$BLOCKS", "/backup", "today")
	commands := regexp.MustCompile(`(?m)^ {4}(\S.*\n)`).FindAllStringSubmatch(drill, -1)
	if len(commands) != 4 {
		t.Errorf("the drill has %d commands, want those of a backup and of putting it back", len(commands))
	}
	for _, c := range commands {
		_, rest, found := strings.Cut(script, "exec "+here.Replace(c[1]))
		if !found {
			t.Fatalf("the drill does not do, or not in this order: %s", c[1])
		}
		script = rest
	}
}

// emptyDatabase makes $DATABASE an empty database, which the server uses when
// it starts again.
func (s *script) emptyDatabase(ts *testscript.TestScript, _ bool, _ []string) {
	s.database = services.Postgres(s.t)
	ts.Setenv("DATABASE", s.database)
}
