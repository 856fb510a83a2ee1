package docs_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/pack"
	"parsec/internal/server/rpc"
	"parsec/internal/server/servertest"
	"parsec/internal/services"
)

// proxy is a reverse proxy as docs/hosting.md sets it up, before a server.
type proxy struct {
	program string
	// arguments start it in a folder that has its configuration.
	arguments func(dir string) []string
	// within is what stands around what the page shows: where it keeps its files.
	within func(dir, shown string) string
}

func proxies() map[string]proxy {
	return map[string]proxy{
		"nginx": {
			program: "nginx",
			arguments: func(dir string) []string {
				return []string{"-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "etc/nginx.conf")}
			},
			within: func(dir, shown string) string {
				temporary := ""
				for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
					temporary += fmt.Sprintf("%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
				}
				return "daemon off;\npid nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n" + temporary + shown + "}\n"
			},
		},
		"Caddy": {
			program: "caddy",
			arguments: func(dir string) []string {
				return []string{"run", "--adapter", "caddyfile", "--config", filepath.Join(dir, "etc/Caddyfile")}
			},
			within: func(dir, shown string) string {
				return "{\nadmin off\nauto_https disable_redirects\nstorage file_system " + dir + "\n}\n" + shown
			},
		},
	}
}

// shown returns what the page shows for a file of a proxy.
func shown(t *testing.T, program string) step {
	t.Helper()
	for _, s := range steps(t, "Behind a reverse proxy") {
		if strings.Contains(s.file, "/etc/"+program+"/") {
			return s
		}
	}
	t.Fatalf("docs/hosting.md shows nothing for %s", program)
	return step{}
}

// authority makes a certificate of localhost, and returns who trusts it.
func authority(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	services.Programs(t, "openssl")
	c := exec.CommandContext(t.Context(), "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
		"-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", filepath.Join(dir, "privkey.pem"), "-out", filepath.Join(dir, "fullchain.pem"))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(read(t, filepath.Join(dir, "fullchain.pem")))) {
		t.Fatal("openssl made no certificate")
	}
	return pool
}

// start starts the proxy before a server, and returns its address once it answers.
func (p proxy) start(t *testing.T, server string, dir string) string {
	t.Helper()
	services.Programs(t, p.program)
	s, listen := shown(t, p.program), freeAddress(t)
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		t.Fatal(err)
	}
	for _, expected := range []string{"/etc/parsec/fullchain.pem", "/etc/parsec/privkey.pem", "127.0.0.1:6770", "parsec.example.com"} {
		if !strings.Contains(s.text, expected) {
			t.Errorf("what is shown for %s lacks %s", p.program, expected)
		}
	}
	text := strings.NewReplacer("/etc/parsec", filepath.Join(dir, "etc"), "127.0.0.1:6770", strings.TrimPrefix(server, "http://"),
		"listen 443", "listen "+listen, "parsec.example.com {", "https://localhost:"+port+" {", "parsec.example.com", "localhost").Replace(s.text)
	name := map[string]string{"nginx": "nginx.conf", "caddy": "Caddyfile"}[p.program]
	if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(p.within(dir, text)), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c := exec.Command(p.program, p.arguments(dir)...)
	c.Dir, c.Env, c.Stderr = dir, append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir), &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		if err := <-ended; err != nil {
			t.Errorf("%s: %v\n%s", p.program, err, &log)
		}
	})
	return "https://localhost:" + port
}

// answers waits until a server answers behind a proxy.
func answers(t *testing.T, url string, client *http.Client) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1500 {
		if answer, err := client.Get(url + "/healthz"); err == nil {
			text, err := io.ReadAll(answer.Body)
			if answer.Body.Close(); err == nil && answer.StatusCode == http.StatusOK && string(text) == "ok\n" {
				if answer.ProtoMajor != 2 {
					t.Errorf("the proxy speaks %s", answer.Proto)
				}
				return
			}
		}
		<-tick.C
	}
	t.Fatal("the proxy does not answer")
}

// clientAt returns a client of another address of loopback, so that it is not
// the proxy's.
func clientAt(t *testing.T, c *servertest.Client, address string, trusted *x509.CertPool) *servertest.Client {
	t.Helper()
	c.Dialer(&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}, trusted)
	t.Cleanup(c.Close)
	return c
}

func TestBehindTheProxiesThatThePageShows(t *testing.T) {
	for name, p := range proxies() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// nginx writes as another user where root starts it.
			dir, err := os.MkdirTemp("", "parsec-proxy-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			if err := errors.Join(os.Mkdir(filepath.Join(dir, "etc"), 0o755), os.Chmod(dir, 0o755)); err != nil {
				t.Fatal(err)
			}
			trusted := authority(t, filepath.Join(dir, "etc"))
			s := servertest.Start(t, servertest.Config{Network: rpc.Config{
				Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, AddressRate: .001, AddressBurst: 30,
			}})
			kit := servertest.Bootstrap(t, s)
			url := p.start(t, s.URL, dir)
			answers(t, url, &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: trusted}}})
			admin := clientAt(t, servertest.Dial(url, kit.Fingerprint(), kit.Admin), "127.0.0.2", trusted)

			// Events come while the stream that brings them goes on.
			w := kit.CreateWorkspace(kit.Admin)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			stream, err := admin.Organization.Subscribe(ctx, &parsecv1.SubscribeRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Receive(); err != nil { // where the logs stand
				t.Fatal(err)
			}
			if _, err := admin.Workspace.Append(t.Context(), servertest.AppendRequest(t, kit, w, w.Records[0])); err != nil {
				t.Fatal(err)
			}
			for heard := false; !heard; {
				m, err := stream.Receive()
				if err != nil {
					t.Fatal(err)
				}
				heard = bytes.Equal(m.GetWorkspace(), w.ID.Bytes())
			}

			// The largest upload goes through, and comes back.
			goesThrough(t, admin, w.ID)

			// Whoever comes too quickly is told so, whatever it says it is; others are not.
			quick := clientAt(t, servertest.DialWith(url, func(r *http.Request, _ []byte) {
				r.Header.Set("X-Forwarded-For", "192.0.2."+fmt.Sprint(time.Now().UnixNano()%250))
			}), "127.0.0.3", trusted)
			refused := false
			for range 40 {
				_, err := quick.Server.Info(t.Context(), &parsecv1.InfoRequest{})
				refused = refused || err != nil
			}
			if !refused {
				t.Error("a client escapes its limit by a header")
			}
			other := clientAt(t, servertest.Dial(url, id.Fingerprint{}, nil), "127.0.0.4", trusted)
			if _, err := other.Server.Info(t.Context(), &parsecv1.InfoRequest{}); err != nil {
				t.Errorf("another client has the limit of the first: %v", err)
			}
		})
	}
}

// goesThrough stores as many bytes as one upload may have, and reads them back.
func goesThrough(t *testing.T, c *servertest.Client, w id.Workspace) {
	t.Helper()
	var blocks [][]byte
	for i := range pack.MaxSize / (512 << 10) {
		blocks = append(blocks, bytes.Repeat([]byte{byte(i)}, 512<<10))
	}
	h, content, ids := servertest.Upload(w, blocks...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Upload(ctx, h, content); err != nil {
		t.Fatal(err)
	}
	got, err := c.Download(ctx, pack.Request{Workspace: w, Blocks: ids})
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range ids {
		if !bytes.Equal(got[b], blocks[i]) {
			t.Errorf("block %d came back with %d bytes", i, len(got[b]))
		}
	}
	if _, err := c.Download(ctx, pack.Request{Workspace: w, Blocks: []id.Block{id.New[id.Block]()}}); !fault.Is(err, fault.NotFound) {
		t.Errorf("what is not there: %v", err)
	}
}
