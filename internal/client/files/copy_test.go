package files_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/client/audit"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/files"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
	"parsec/internal/server/servertest"
)

// lay writes local files by path; those that end in a slash are folders.
func lay(t testing.TB, dir string, all map[string]string) {
	t.Helper()
	for path, content := range all {
		at := filepath.Join(dir, path)
		folder := filepath.Dir(at)
		if strings.HasSuffix(path, "/") {
			folder = at
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if folder == at {
			continue
		}
		if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func stat(t testing.TB, tree *files.Tree, path string) files.Entry {
	t.Helper()
	e, err := tree.Stat(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAFileAndAFolderDoNotReplaceEachOther(t *testing.T) {
	alice, tree := alone(t)
	ctx := t.Context()
	put(t, tree, "/file", "precious")
	mkdir(t, tree, "/folder/in it")
	src := t.TempDir()
	lay(t, src, map[string]string{"file/in it": "1", "folder": "2", "new": "3"})
	before := []string{"/file", "/folder", "/folder/in it"}
	check := func(what string, err error, expected ...string) {
		t.Helper()
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("%s: got %v, want a conflict", what, err)
		}
		want(t, tree, expected...)
		if got := cat(t, tree, "/file"); got != "precious" {
			t.Errorf("%s: the file holds %q", what, got)
		}
	}
	err := tree.ImportAll(ctx, []files.Source{{Path: src}}, stat(t, tree, "/"), files.CopyOptions{})
	check("an import", err, append(before, "/new")...)
	err = tree.ImportStream(ctx, strings.NewReader("4"), stat(t, tree, "/"), "folder", files.CopyOptions{})
	check("a stream", err, append(before, "/new")...)
	err = tree.Copy(ctx, stat(t, tree, "/folder"), stat(t, tree, "/"), "file", files.CopyOptions{})
	check("a copy of a folder", err, append(before, "/new")...)
	err = tree.Copy(ctx, stat(t, tree, "/new"), stat(t, tree, "/"), "folder", files.CopyOptions{})
	check("a copy of a file", err, append(before, "/new")...)

	other := alice.CreateWorkspace("other")
	if err := other.Import(ctx, src, stat(t, other, "/"), "src", files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	err = tree.CopyAcross(ctx, other, stat(t, other, "/src"), stat(t, tree, "/"), "", files.CopyOptions{Update: true})
	check("a copy from another workspace", err, append(before, "/new")...)
}

// commits returns how many commits the log has.
func commits(t testing.TB, tree *files.Tree) int {
	t.Helper()
	n := 0
	err := audit.Log(t.Context(), tree, "/", func(e audit.Event) error {
		if e.Kind == record.KindCommit {
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLargeFilesAreCommittedAsTheyCome(t *testing.T) {
	_, tree := alone(t)
	src := t.TempDir()
	for i := range 10 {
		lay(t, src, map[string]string{fmt.Sprint(i): strings.Repeat("x", manifest.BlockSize+1)})
	}
	tree.CommitBlocks = 4
	if err := tree.Import(t.Context(), src, stat(t, tree, "/"), "src", files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := commits(t, tree); got != 5 {
		t.Errorf("10 files of 2 blocks and their folder took %d commits; want 5, of 4 blocks", got)
	}
}

// sparse writes a file with a number of blocks of data, each behind a hole.
func sparse(t testing.TB, name string, blocks int) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range blocks {
		if _, err := f.WriteAt([]byte{byte(i), 1}, int64(i)*2*manifest.BlockSize); err != nil {
			t.Fatal(err)
		}
	}
}

func TestManyLongManifestsGoInSeveralCommits(t *testing.T) {
	_, tree := alone(t)
	ctx := t.Context()
	src := t.TempDir()
	sparse(t, filepath.Join(src, "long"), 250)
	if err := tree.Import(ctx, filepath.Join(src, "long"), stat(t, tree, "/"), "long", files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	size := len(stat(t, tree, "/long").Body.(manifest.FileBody).Blocks.Items)
	from := "/long"
	for level := range 2 { // to a hundred and fifty of them
		into := fmt.Sprint("/level ", level)
		mkdir(t, tree, into)
		for i := range 15 - 5*level {
			if err := tree.Copy(ctx, stat(t, tree, from), stat(t, tree, into), fmt.Sprint(i), files.CopyOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		from = into
	}
	before := commits(t, tree)
	if err := tree.Copy(ctx, stat(t, tree, from), stat(t, tree, "/"), "copy", files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, want := commits(t, tree)-before, 1+150*size/(4<<20); got != want {
		t.Errorf("150 manifests of %d bytes took %d commits, want %d", size, got, want)
	}
}

func TestACommitThatIsTooLargeGoesInParts(t *testing.T) {
	server := servertest.Start(t, servertest.Config{})
	behind, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{ExpectContinueTimeout: time.Minute}
	front := httptest.NewServer(&httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(behind)
		if strings.HasSuffix(r.In.URL.Path, "/Commit") && r.In.ContentLength > 5000 {
			r.Out.ContentLength += 17 << 20 // the server refuses that, and reads nothing of it
			r.Out.Header.Set("Expect", "100-continue")
		}
	}})
	t.Cleanup(transport.CloseIdleConnections)
	t.Cleanup(front.Close)
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	alice.CreateWorkspace("plans")
	alice.ToServer(front.URL)
	alice.Sync()
	tree := alice.Tree("plans")
	src := t.TempDir()
	var expected []string
	for i := range 40 {
		lay(t, src, map[string]string{fmt.Sprintf("folder %d/file", i%3): "first", fmt.Sprintf("folder %d/%d", i%3, i): "x"})
		expected = append(expected, fmt.Sprintf("/src/folder %d/%d", i%3, i))
	}
	for i := range 3 {
		expected = append(expected, fmt.Sprint("/src/folder ", i), fmt.Sprintf("/src/folder %d/file", i))
	}
	expected = append(expected, "/src")
	slices.Sort(expected)
	if err := tree.Import(t.Context(), src, stat(t, tree, "/"), "src", files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	want(t, tree, expected...)
	if n := commits(t, tree); n < 3 {
		t.Errorf("only %d commits: this tests nothing", n)
	}
}

func TestAnExportLeavesOutWhatCannotBeWritten(t *testing.T) {
	_, tree := alone(t)
	ctx := t.Context()
	src := t.TempDir()
	lay(t, src, map[string]string{"a/file": "1", "folder/deep": "2", "z/file": "3", "empty/": ""})
	if err := os.Symlink("file", filepath.Join(src, "z", "link")); err != nil {
		t.Fatal(err)
	}
	if err := tree.Import(ctx, src, stat(t, tree, "/"), "src", files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	dst := t.TempDir()
	lay(t, dst, map[string]string{"src/a/file/mine": "", "src/folder": "mine", "src/z/link/mine": ""})
	err := tree.Export(ctx, stat(t, tree, "/src"), filepath.Join(dst, "src"), files.CopyOptions{})
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "3 entries") {
		t.Errorf("got %v, want a conflict over 3 entries", err)
	}
	want := []string{".", "a", "a/file", "a/file/mine", "empty", "folder", "z", "z/file", "z/link", "z/link/mine"}
	if got := slices.Sorted(maps.Keys(snapshot(t, filepath.Join(dst, "src")))); !slices.Equal(got, want) {
		t.Errorf("the copy has %q, want %q", got, want)
	}
}
