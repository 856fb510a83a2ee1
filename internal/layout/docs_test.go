package layout_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// checkout is the module's folder, from here.
const checkout = "../.."

// documents returns the paths and texts of all pages, by path from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := fs.WalkDir(os.DirFS(checkout), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path != "." && strings.HasPrefix(d.Name(), ".") {
			return orSkip(err, d)
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(checkout, path))
		all[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// orSkip passes on an error, and skips a hidden file or folder where there is none.
func orSkip(err error, d fs.DirEntry) error {
	if err == nil && d.IsDir() {
		return fs.SkipDir
	}
	return err
}

func TestLinksInTheDocsLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	for page, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(checkout, filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

func TestEveryLabelIsDescribedInFormats(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(checkout, "internal/format/label/label.go"))
	if err != nil {
		t.Fatal(err)
	}
	page := documents(t)["docs/formats.md"]
	for _, label := range regexp.MustCompile(`"parsec/v1/[^"]+"`).FindAllString(string(source), -1) {
		if !strings.Contains(page, label) {
			t.Errorf("docs/formats.md does not say what %s is for", label)
		}
	}
}

func TestEveryNoteOfTheChangelogIsOneLineAndAParagraph(t *testing.T) {
	for page, text := range documents(t) {
		if filepath.Dir(page) != "changelog/unreleased" || filepath.Base(page) == "README.md" {
			continue
		}
		parts := strings.Split(strings.TrimSpace(text), "\n\n")
		if len(parts) != 2 || strings.Contains(parts[0], "\n") {
			t.Errorf("%s is not one line, an empty one, and a paragraph", page)
		}
	}
}
