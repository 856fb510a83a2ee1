package hostile_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// functions returns the tests in the files of a folder, with the names of
// their variants.
func functions(t *testing.T, dir string) map[string][]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	all := map[string][]string{}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				all[f.Name.Name] = variants(f)
			}
		}
	}
	return all
}

// variants returns the names of the variants that a test lists.
func variants(f *ast.FuncDecl) []string {
	var names []string
	ast.Inspect(f, func(n ast.Node) bool {
		list, ok := n.(*ast.CompositeLit)
		if !ok || !isVariants(list.Type) {
			return true
		}
		for _, e := range list.Elts {
			if v, ok := e.(*ast.CompositeLit); ok && len(v.Elts) > 0 {
				if name, ok := v.Elts[0].(*ast.BasicLit); ok {
					text, _ := strconv.Unquote(name.Value)
					names = append(names, text)
				}
			}
		}
		return true
	})
	return names
}

// isVariants reports whether a type is []variant[...].
func isVariants(e ast.Expr) bool {
	array, ok := e.(*ast.ArrayType)
	if !ok {
		return false
	}
	generic, ok := array.Elt.(*ast.IndexExpr)
	if !ok {
		return false
	}
	name, ok := generic.X.(*ast.Ident)
	return ok && name.Name == "variant"
}

const checkout = "../.."

// The list of attacks that people read and the tests that carry them out are
// one list.
func TestTheListOfAttacksNamesEveryTest(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(checkout, "docs/attacks.md"))
	if err != nil {
		t.Fatal(err)
	}
	here := functions(t, ".")
	listed := map[string]string{}
	section := ""
	entry := regexp.MustCompile("(?s)^`(?:([a-z/]+)\\.)?(Test\\w+)`(.*)")
	for part := range strings.SplitSeq(string(page), "\n## ") {
		section, _, _ = strings.Cut(part, " ")
		for item := range strings.SplitSeq(part, "\n- ") {
			m := entry.FindStringSubmatch(item)
			if m == nil {
				continue
			}
			dir, name, says := m[1], m[2], m[3]
			tests := here
			if dir != "" {
				tests = functions(t, filepath.Join(checkout, dir))
			} else {
				listed[name] = says
			}
			if _, ok := tests[name]; !ok {
				t.Errorf("docs/attacks.md names %s, which does not exist", name)
			}
			if n, ok := strings.CutPrefix(name, "TestAttack"); ok && dir == "" {
				if number, _ := strconv.Atoi(n[:2]); strconv.Itoa(number)+"." != section {
					t.Errorf("%s stands under attack %s", name, section)
				}
			}
		}
	}
	for name, lies := range here {
		if !strings.HasPrefix(name, "TestAttack") && !strings.HasPrefix(name, "TestLostReply") {
			continue
		}
		says, ok := listed[name]
		if !ok {
			t.Errorf("docs/attacks.md does not name %s", name)
		}
		for _, lie := range lies {
			if !strings.Contains(strings.Join(strings.Fields(says), " "), lie) {
				t.Errorf("docs/attacks.md does not say of %s: %s", name, lie)
			}
		}
	}
}
