package layout_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "parsec"

// A floor is a set of packages. Imports within a floor are allowed, upwards
// they are not. An entry ending in "/..." stands for everything below it, one
// ending in "/*" for the packages directly below; the first entry that fits
// decides.
type floor struct {
	name string
	// side is "" for what both sides share, and otherwise the side's name;
	// neither side imports the other.
	side     string
	packages []string
	// adapters says that the packages of the floor never import each other.
	adapters bool
}

// floors are in order, the lowest first.
func floors() []floor {
	return []floor{
		{name: "0 base", packages: []string{"internal/base/*"}},
		{name: "1 formats, rules and generated API", packages: []string{"internal/format/*", "internal/verify", "internal/api/..."}},

		{name: "2 command lines", packages: []string{"internal/cmdline"}},

		{name: "2 contracts", side: "server", packages: []string{
			"internal/server/meta", "internal/server/schema", "internal/server/blob", "internal/server/events", "internal/server/limit", "internal/server/call",
			"internal/server/httpstore",
		}},
		{name: "3 stores", side: "server", adapters: true, packages: []string{"internal/server/meta/*", "internal/server/blob/*", "internal/server/events/*", "internal/server/mail"}},
		{name: "4 services", side: "server", packages: []string{
			"internal/server/access", "internal/server/organization", "internal/server/workspace", "internal/server/blocks", "internal/server/invitation",
			"internal/server/follow",
		}},
		{name: "5 faces", side: "server", packages: []string{"internal/server/rpc", "internal/server/admin", "internal/server/jobs", "internal/server/certificate", "internal/server/metrics"}},
		{name: "6 the whole", side: "server", packages: []string{"internal/server"}},

		{name: "2 sealing and trees", side: "client", packages: []string{
			"internal/client/seal", "internal/client/device", "internal/client/enroll",
			"internal/client/list", "internal/client/tree", "internal/client/merge", "internal/client/disk",
		}},
		{name: "3 remote and store", side: "client", adapters: true, packages: []string{
			"internal/client/remote", "internal/client/store", "internal/client/home", "internal/client/journal", "internal/client/blockcache",
			"internal/client/socket",
		}},
		{name: "4 session", side: "client", packages: []string{"internal/client/transfer", "internal/client/session", "internal/client/ignore"}},
		{name: "5 workspace", side: "client", packages: []string{"internal/client/workspace"}},
		{name: "6 mirror and overlay", side: "client", packages: []string{"internal/client/mirror", "internal/client/edit", "internal/client/basecache", "internal/client/layer", "internal/client/work", "internal/client/overlay", "internal/client/content", "internal/client/history"}},
		{name: "7 files and sync", side: "client", packages: []string{"internal/client/files", "internal/client/audit", "internal/client/filesystem", "internal/client/syncer", "internal/client/demo"}},
		{name: "8 agent and faces", side: "client", adapters: true, packages: []string{"internal/client/agent", "internal/client/mount", "internal/client/webdav"}},
		{name: "9 command line", side: "client", packages: []string{"internal/client/cli", "internal/client/cli/*"}},

		{name: "programs", packages: []string{"cmd/*", "internal/bench", "internal/bench/machine"}},
	}
}

// forTests are packages that only tests import, or nobody. They may import anything.
func forTests() []string {
	return []string{
		"internal/layout", "internal/docs", "internal/hostile", "internal/format/golden", "internal/verify/verifytest",
		"internal/server/meta/metatest", "internal/server/blob/blobtest", "internal/server/blob/faulty", "internal/server/servertest", "internal/client/clienttest", "internal/client/convergence",
		"internal/client/drivetest", "internal/services", "internal/bench/server",
	}
}

// onlyStandardLibrary are the packages without a third-party import.
func onlyStandardLibrary() []string {
	return []string{"internal/base/*", "internal/server/meta", "internal/server/blob"}
}

// banned are what a program must not link, by the beginning of the import path.
func banned() map[string][]string {
	return map[string][]string{
		"cmd/parsec-server": {module + "/internal/client/", "github.com/hanwen/go-fuse", "github.com/zalando/go-keyring"},
		"cmd/parsec":        {module + "/internal/server/", "github.com/jackc/pgx", "github.com/minio/minio-go", "github.com/ncw/swift"},
	}
}

// A pkg is what `go list` says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	Doc        string
	Standard   bool
	Imports    []string
	Deps       []string
	GoFiles    []string
	// Tests are in the package or outside it.
	TestGoFiles, XTestGoFiles []string
}

// path returns the import path below the module.
func (p pkg) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	args = append([]string{"list", "-json=ImportPath,Dir,Doc,Standard,Imports,Deps,GoFiles,TestGoFiles,XTestGoFiles"}, args...)
	var stderr bytes.Buffer
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, &stderr)
	}
	var packages []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func fits(pattern, p string) bool {
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return strings.HasPrefix(p, below+"/")
	}
	ok, _ := path.Match(pattern, p)
	return ok
}

func oneFits(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return fits(pattern, p) })
}

// place returns the index of a package's floor.
func place(p string) (int, bool) {
	i := slices.IndexFunc(floors(), func(f floor) bool { return oneFits(f.packages, p) })
	return i, i >= 0
}

func TestEveryPackageStandsOnAFloor(t *testing.T) {
	for _, p := range list(t, module+"/...") {
		if _, ok := place(p.path()); !ok && !oneFits(forTests(), p.path()) {
			t.Errorf("%s stands on no floor; give it one in layout_test.go", p.path())
		}
	}
}

func TestImportsGoDownOnly(t *testing.T) {
	all := floors()
	for _, p := range list(t, module+"/...") {
		from, ok := place(p.path())
		if !ok || oneFits(forTests(), p.path()) {
			continue
		}
		for _, imported := range p.Imports {
			q, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				continue
			}
			to, ok := place(q)
			switch {
			case oneFits(forTests(), q):
				t.Errorf("%s imports %s, which is for tests", p.path(), q)
			case !ok:
				t.Errorf("%s imports %s, which stands on no floor", p.path(), q)
			case all[from].side != "" && all[to].side != "" && all[from].side != all[to].side:
				t.Errorf("%s imports %s from the other side", p.path(), q)
			case to > from:
				t.Errorf("%s (floor %s) imports %s from above (floor %s)", p.path(), all[from].name, q, all[to].name)
			case to == from && all[from].adapters:
				t.Errorf("%s imports %s, another adapter", p.path(), q)
			}
		}
	}
}

func TestTheFoundationUsesOnlyTheStandardLibrary(t *testing.T) {
	standard := make(map[string]bool)
	for _, p := range list(t, "std") {
		standard[p.ImportPath] = true
	}
	for _, p := range list(t, module+"/...") {
		if !oneFits(onlyStandardLibrary(), p.path()) {
			continue
		}
		for _, imported := range p.Imports {
			if !standard[imported] && !strings.HasPrefix(imported, module+"/") {
				t.Errorf("%s imports %s", p.path(), imported)
			}
		}
	}
}

func TestProgramsDoNotLinkWhatTheyMustNotKnow(t *testing.T) {
	for program, prefixes := range banned() {
		linked := list(t, module+"/"+program)[0].Deps
		for _, d := range linked {
			if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(d+"/", prefix) }) {
				t.Errorf("%s links %s", program, d)
			}
		}
	}
}

func TestTheServerHasNoCodeThatOpensSeals(t *testing.T) {
	for _, p := range list(t, "-deps", module+"/cmd/parsec-server") {
		if !strings.HasPrefix(p.ImportPath, module+"/") {
			continue
		}
		for _, sealing := range []string{"crypto/hpke", "crypto/aes", "crypto/cipher", "golang.org/x/crypto/argon2", "golang.org/x/crypto/chacha20poly1305"} {
			if slices.Contains(p.Imports, sealing) {
				t.Errorf("parsec-server links %s, which imports %s", p.path(), sealing)
			}
		}
	}
}
