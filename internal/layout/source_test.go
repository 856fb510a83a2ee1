package layout_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Bounds of what a reader can hold in the head.
const (
	maxPackageLines  = 3000
	maxFunctionLines = 60
)

// longFunctions are the functions beyond the bound, each with its reason.
func longFunctions() map[string]string {
	return map[string]string{}
}

// mutable are package-level variables that are assigned, each with its reason.
func mutable() map[string]string {
	return map[string]string{
		"internal/services.running": "tests of one process share the servers that it started",
	}
}

// environment are the packages that may read it.
func environment() []string { return []string{"cmd/*", "internal/client/cli"} }

// A source is one parsed file.
type source struct {
	pkg   pkg
	name  string
	lines int
	test  bool
	file  *ast.File
	set   *token.FileSet
}

// line returns where a node begins, for messages.
func (s source) at(n ast.Node) string { return s.set.Position(n.Pos()).String() }

// sources returns every file that people wrote.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, p := range list(t, module+"/...") {
		production := len(p.GoFiles)
		names := append(append(p.GoFiles[:production:production], p.TestGoFiles...), p.XTestGoFiles...)
		for i, name := range names {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, p.path()+"/"+name, text, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			if !ast.IsGenerated(file) {
				all = append(all, source{p, name, bytes.Count(text, []byte("\n")), i >= production, file, set})
			}
		}
	}
	return all
}

func TestSource(t *testing.T) {
	all := sources(t)
	for _, c := range []struct {
		name  string
		check func(*testing.T, []source)
	}{
		{"no package is too large", noPackageIsTooLarge},
		{"no function is too long", noFunctionIsTooLong},
		{"every package says what it is", everyPackageSaysWhatItIs},
		{"nothing happens before main", nothingHappensBeforeMain},
		{"no package keeps state in variables", noPackageKeepsStateInVariables},
		{"every goroutine is waited for", everyGoroutineIsWaitedFor},
		{"only programs read the environment", onlyProgramsReadTheEnvironment},
		{"tests neither sleep nor skip", testsNeitherSleepNorSkip},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(t, all) })
	}
}

func noPackageIsTooLarge(t *testing.T, all []source) {
	lines := make(map[string]int)
	for _, s := range all {
		if !s.test {
			lines[s.pkg.path()] += s.lines
		}
	}
	for p, n := range lines {
		if n > maxPackageLines {
			t.Errorf("%s has %d lines, at most %d are allowed", p, n, maxPackageLines)
		}
	}
}

func noFunctionIsTooLong(t *testing.T, all []source) {
	allowed := longFunctions()
	for _, s := range all {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || s.test {
				continue
			}
			name := s.pkg.path() + "." + f.Name.Name
			n := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1
			if n > maxFunctionLines && allowed[name] == "" {
				t.Errorf("%s: %s has %d lines, at most %d are allowed", s.at(f), name, n, maxFunctionLines)
			}
		}
	}
}

func everyPackageSaysWhatItIs(t *testing.T, all []source) {
	sentence := regexp.MustCompile(`[.:](\s|$)`)
	docs, where := make(map[string]int), make(map[string]string)
	for _, s := range all {
		if !s.test {
			docs[s.pkg.path()] += len(sentence.FindAllString(s.file.Doc.Text(), -1))
			where[s.pkg.path()] = s.name
		}
	}
	for p := range where {
		if docs[p] < 2 {
			t.Errorf("the comment of package %s has %d sentences, want at least two", p, docs[p])
		}
	}
}

func nothingHappensBeforeMain(t *testing.T, all []source) {
	for _, s := range all {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: a function init", s.at(f))
			}
		}
	}
}

// vars returns the package-level variables of a file with their names.
func vars(f *ast.File) map[string]*ast.ValueSpec {
	found := make(map[string]*ast.ValueSpec)
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			for _, name := range v.Names {
				if name.Name != "_" {
					found[name.Name] = v
				}
			}
		}
	}
	return found
}

func noPackageKeepsStateInVariables(t *testing.T, all []source) {
	allowed := mutable()
	globals := make(map[string]map[string]bool)
	for _, s := range all {
		if s.test {
			continue
		}
		p := s.pkg.path()
		if globals[p] == nil {
			globals[p] = make(map[string]bool)
		}
		for name, spec := range vars(s.file) {
			globals[p][name] = true
			of, ok := spec.Type.(*ast.SelectorExpr)
			if ok && (root(of.X) == "sync" || root(of.X) == "atomic") && allowed[p+"."+name] == "" {
				t.Errorf("%s: %s holds state", s.at(spec), name)
			}
		}
	}
	for _, s := range all {
		if s.test {
			continue
		}
		for name, n := range assigned(s.file, globals[s.pkg.path()]) {
			if allowed[s.pkg.path()+"."+name] == "" {
				t.Errorf("%s: %s is assigned", s.at(n), name)
			}
		}
	}
}

// assigned returns which of the names a file's functions assign, where no
// variable of the function has the same name.
func assigned(f *ast.File, names map[string]bool) map[string]ast.Node {
	found := make(map[string]ast.Node)
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		local := locals(fn)
		note := func(e ast.Expr) {
			if name := root(e); names[name] && !local[name] {
				found[name] = e
			}
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, e := range n.Lhs {
					note(e)
				}
			case *ast.IncDecStmt:
				note(n.X)
			}
			return true
		})
	}
	return found
}

// locals returns the names that a function declares, wherever in it.
func locals(fn *ast.FuncDecl) map[string]bool {
	names := make(map[string]bool)
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				names[name.Name] = true
			}
		case *ast.ValueSpec:
			for _, name := range n.Names {
				names[name.Name] = true
			}
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				if name, ok := e.(*ast.Ident); ok && n.Tok == token.DEFINE {
					names[name.Name] = true
				}
			}
		case *ast.RangeStmt:
			for _, e := range []ast.Expr{n.Key, n.Value} {
				if name, ok := e.(*ast.Ident); ok && n.Tok == token.DEFINE {
					names[name.Name] = true
				}
			}
		}
		return true
	})
	return names
}

// root returns the name at the left end of an expression: m of m[k].f.
func root(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x.Name
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return ""
		}
	}
}

func everyGoroutineIsWaitedFor(t *testing.T, all []source) {
	for _, s := range all {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok && !s.test {
				t.Errorf("%s: a bare go statement; use WaitGroup.Go, an errgroup or Run(ctx)", s.at(g))
			}
			return true
		})
	}
}

func onlyProgramsReadTheEnvironment(t *testing.T, all []source) {
	for _, s := range all {
		if s.test || oneFits(environment(), s.pkg.path()) || oneFits(forTests(), s.pkg.path()) {
			continue
		}
		for _, name := range []string{"Getenv", "LookupEnv", "Environ"} {
			for _, n := range selections(s.file, "os", name) {
				t.Errorf("%s: the environment is read here", s.at(n))
			}
		}
	}
}

func testsNeitherSleepNorSkip(t *testing.T, all []source) {
	for _, s := range all {
		if !s.test {
			continue
		}
		imports := make(map[string]bool)
		for _, i := range s.file.Imports {
			imports[i.Path.Value] = true
		}
		if !imports[`"testing/synctest"`] { // where sleeping takes no time
			for _, n := range selections(s.file, "time", "Sleep") {
				t.Errorf("%s: a test that sleeps", s.at(n))
			}
		}
		if imports[`"pgregory.net/rapid"`] { // where a draw may be discarded
			continue
		}
		for _, name := range []string{"Skip", "Skipf", "SkipNow"} {
			for _, n := range selections(s.file, "t", name) {
				t.Errorf("%s: a test that skips", s.at(n))
			}
		}
	}
}

// selections returns where a file writes x.name.
func selections(f *ast.File, x, name string) []ast.Node {
	var found []ast.Node
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == name && root(s.X) == x {
			found = append(found, n)
		}
		return true
	})
	return found
}
