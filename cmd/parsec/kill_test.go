package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"parsec/internal/client/audit"
	"parsec/internal/hostile"
	"parsec/internal/server/servertest"
)

// killed is one person whose commands are killed.
type killed struct {
	t     *testing.T
	proxy *hostile.Proxy
	dir   string
}

func newKilled(t *testing.T) *killed {
	return newKilledAt(t, servertest.Start(t, servertest.Config{}), t.TempDir())
}

// newKilledAt makes one at a server, with a folder for their files.
func newKilledAt(t *testing.T, server *servertest.Server, dir string) *killed {
	k := &killed{t: t, proxy: hostile.New(t, server.URL), dir: dir}
	if err := os.MkdirAll(filepath.Join(k.dir, "keyring"), 0o700); err != nil {
		t.Fatal(err)
	}
	link := strings.Replace(server.CreateOrganization("Acme"), server.URL, k.proxy.URL, 1)
	k.do("org", "bootstrap", link, "--name", "Alice", "--email", "alice@example.com", "--device-label", "laptop")
	k.do("workspace", "create", "plans")
	return k
}

// command returns a process of the real program.
func (k *killed) command(args ...string) *exec.Cmd {
	program, err := os.Executable()
	if err != nil {
		k.t.Fatal(err)
	}
	return &exec.Cmd{
		Path: program, Args: append([]string{"parsec"}, args...),
		Env: append(os.Environ(), "PARSEC_HOME="+filepath.Join(k.dir, "home"), "PARSEC_KEYRING=true",
			"TEST_KEYRING="+filepath.Join(k.dir, "keyring"), noRaceSleep),
	}
}

// do runs a command that has to succeed and returns what it printed.
func (k *killed) do(args ...string) string {
	k.t.Helper()
	cmd := k.command(args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		k.t.Fatalf("parsec %s: %v: %s", strings.Join(args, " "), err, &said)
	}
	return string(out)
}

// atRequest runs a command and kills it at its n-th request, which the server
// handles first or never gets. It reports whether there was such a request.
func (k *killed) atRequest(n int64, handled bool, args ...string) bool {
	cmd := k.command(args...)
	var count atomic.Int64
	started := make(chan struct{})
	k.proxy.Gate(func(*http.Request) int {
		if count.Add(1) != n {
			return 0
		}
		<-started
		cmd.Process.Kill()
		if handled {
			return -1
		}
		return http.StatusBadGateway
	})
	defer k.proxy.Honest()
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	close(started)
	err := cmd.Wait()
	if count.Load() < n && err != nil {
		k.t.Errorf("parsec %s: %v", strings.Join(args, " "), err)
	}
	return count.Load() >= n
}

func TestACopyThatIsKilledAtAnyRequestLosesAndDoublesNothing(t *testing.T) {
	for name, handled := range map[string]bool{"before the server has it": false, "after the server has it": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKilled(t)
			src := filepath.Join(k.dir, "src")
			const folders, each = 3, 500
			for i := range folders * each {
				dir := filepath.Join(src, fmt.Sprint("folder ", i%folders))
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("file ", i)), fmt.Appendf(nil, "content %d", i), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			kills := int64(0)
			for n := int64(1); k.atRequest(n, handled, "cp", "-r", "--update", src, "plans:/"); n++ {
				kills++
			}
			if kills < 5 {
				t.Errorf("the copy was killed %d times; want all the steps of an upload and of two commits", kills)
			}
			k.do("cp", "-r", "--update", src, "plans:/")
			var report audit.Report
			if err := json.Unmarshal([]byte(k.do("verify", "plans:", "--json")), &report); err != nil {
				t.Fatal(err)
			}
			if len(report.Failures) != 0 || report.Manifests != 1+1+folders+folders*each {
				t.Errorf("%d manifests and failures %v; want one for each file and folder", report.Manifests, report.Failures)
			}
			dst := filepath.Join(k.dir, "dst")
			k.do("cp", "-r", "plans:/src", dst)
			if out, err := exec.Command("diff", "-r", src, dst).CombinedOutput(); err != nil {
				t.Errorf("the copy differs: %v: %.1000s", err, out)
			}
		})
	}
}
