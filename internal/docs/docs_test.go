package docs_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkout is the module's folder, from here.
const checkout = "../.."

// built has both programs, which all tests share: linking them takes seconds.
var built struct {
	sync.Once
	dir string
	err error
}

func TestMain(m *testing.M) {
	status := m.Run()
	_ = os.RemoveAll(built.dir)
	os.Exit(status)
}

// programs builds both programs and returns their folder.
func programs(t *testing.T) string {
	t.Helper()
	built.Do(func() { built.dir, built.err = build() })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

func build() (bin string, err error) {
	if bin, err = os.MkdirTemp("", "parsec-docs-"); err != nil {
		return "", err
	}
	c := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "./cmd/...")
	c.Dir = checkout
	if out, err := c.CombinedOutput(); err != nil {
		return bin, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return bin, nil
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheReferenceIsWhatTheProgramsSay(t *testing.T) {
	bin, dir := programs(t), t.TempDir()
	for _, program := range []string{"parsec", "parsec-server"} {
		if out, err := exec.CommandContext(t.Context(), filepath.Join(bin, program), "man", "--markdown", dir).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", program, err, out)
		}
		page := program + ".md"
		if diff := cmp.Diff(read(t, filepath.Join(checkout, "docs/cli", page)), read(t, filepath.Join(dir, page))); diff != "" {
			t.Errorf("docs/cli/%s is not what the program says; `make docs` writes it (-page +program):\n%s", page, diff)
		}
	}
}

func TestTheDocsNameOnlyCommandsThatExist(t *testing.T) {
	known := map[string]bool{"parsec help": true, "parsec-server help": true}
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "changelog/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(checkout, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	heading := regexp.MustCompile(`(?m)^## (parsec(?:-server)?(?: [a-z-]+)+)$`)
	for _, program := range []string{"parsec", "parsec-server"} {
		for _, m := range heading.FindAllStringSubmatch(read(t, filepath.Join(checkout, "docs/cli", program+".md")), -1) {
			known[m[1]] = true
		}
	}
	// At the beginning of inline code, or of a line of a block. A flag is no command.
	command := regexp.MustCompile("(?m)(?:`|^(?: {4})?(?:ExecStart=)?(?:/\\S*/)?)(parsec(?:-server)? )(?:--home \\S+ )?([a-z-]+)( [a-z][a-z-]*)?")
	for _, page := range pages {
		for _, m := range command.FindAllStringSubmatch(code(read(t, page)), -1) {
			first, second := m[1]+m[2], m[1]+m[2]+m[3]
			if !known[first] || group(known, first) && !known[second] {
				t.Errorf("%s: there is no command %q", page, strings.TrimSpace(strings.Join(m[1:], "")))
			}
		}
	}
}

// group reports whether a command has others below it.
func group(known map[string]bool, command string) bool {
	for k := range known {
		if strings.HasPrefix(k, command+" ") {
			return true
		}
	}
	return false
}

// code returns a page without its paragraphs, but for the code in them.
func code(page string) string {
	var b bytes.Buffer
	fenced := false
	inline := regexp.MustCompile("`[^`\n]+`")
	for line := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case fenced, strings.HasPrefix(line, "    "):
			b.WriteString(line)
		default:
			b.WriteString(" " + strings.Join(inline.FindAllString(line, -1), " ") + "\n")
		}
	}
	return b.String()
}
