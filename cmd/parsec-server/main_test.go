package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
	"parsec/internal/server/servertest"
	"parsec/internal/services"
	"parsec/internal/verify/verifytest"
)

// asProgram makes the test binary the program itself.
const asProgram = "PARSEC_TEST_AS_SERVER"

// noRaceSleep spares the second that a program with the race detector waits at
// its end, which each command of the scripts would take.
const noRaceSleep = "GORACE=atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"parsec-server": main})
}

// process is a server as a process of its own.
type process struct {
	*exec.Cmd
	url string
	// out is what it prints behind its first line.
	out io.Reader
	log *log
}

// log is what a process says on standard error, to be read meanwhile.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// Write is for the process.
func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns all that was said.
func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start starts a server and waits until it is ready.
func start(dir string, environment []string, args ...string) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{Cmd: exec.Command(program, append([]string{"run"}, args...)...), log: new(log)}
	p.Dir, p.Env = dir, append(environment, asProgram+"=1", noRaceSleep)
	p.Stderr = p.log
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	in := bufio.NewReader(out)
	line, err := in.ReadString('\n')
	url, ready := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ready {
		return nil, errors.Join(errors.New("the server did not start: "+line+p.log.String()), err, p.Process.Kill(), p.Wait())
	}
	p.url, p.out = url, in
	return p, nil
}

// end sends a signal, reads what is left of the output, and waits.
func (p *process) end(signal syscall.Signal) (rest string, err error) {
	if err := p.Process.Signal(signal); err != nil {
		return "", err
	}
	more, err := io.ReadAll(p.out)
	return string(more), errors.Join(err, p.Wait())
}

type serverKey struct{}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": scriptServe, "end": scriptEnd, "status": scriptStatus, "people": scriptPeople, "get": scriptGet, "mode": scriptMode, "certificate": scriptCertificate, "hangup": scriptHangup, "metrics": scriptMetrics, "unkept": scriptUnkept,
			// database makes a PostgreSQL database, and sets $DATABASE to its URL.
			"database": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Setenv("DATABASE", services.Postgres(t)) },
		},
		Setup: func(e *testscript.Env) error {
			e.Values[serverKey{}] = new(process)
			e.Vars = append(e.Vars, noRaceSleep)
			return nil
		},
	})
}

// scriptServe starts a server, which the script's end kills, and sets $URL:
//
//	serve FLAGS...
func scriptServe(ts *testscript.TestScript, _ bool, args []string) {
	p, err := start(ts.Getenv("WORK"), []string{"HOME=" + ts.Getenv("HOME")}, args...)
	ts.Check(err)
	*ts.Value(serverKey{}).(*process) = *p
	ts.Setenv("URL", p.url)
	ts.Defer(func() { _ = p.Process.Kill() }) // it may have ended
}

// scriptEnd ends the server and wants it to end well and without a word:
//
//	end TERM|INT
func scriptEnd(ts *testscript.TestScript, _ bool, args []string) {
	signal := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT}[args[0]]
	rest, err := ts.Value(serverKey{}).(*process).end(signal)
	ts.Check(err)
	if rest != "" {
		ts.Fatalf("it printed more: %s", rest)
	}
}

// scriptStatus runs a command that must end with a status:
//
//	status N COMMAND...
func scriptStatus(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		got = failed.ExitCode()
	}
	if want, _ := strconv.Atoi(args[0]); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// scriptPeople bootstraps the organization of the link in a file, with a
// second user:
//
//	people FILE
func scriptPeople(ts *testscript.TestScript, _ bool, args []string) {
	var created struct {
		BootstrapURL string `json:"bootstrap_url"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &created))
	link, err := invitation.ParseLink(created.BootstrapURL)
	ts.Check(err)
	if link.Server != ts.Getenv("URL") {
		ts.Fatalf("the link leads to %s, not to %s", link.Server, ts.Getenv("URL"))
	}
	k := verifytest.NewWith(fatal{ts}, verifytest.Config{Name: link.Name})
	ctx := context.Background()
	nobody := servertest.Dial(link.Server, id.Fingerprint{}, nil)
	defer nobody.Close()
	_, err = nobody.Organization.Bootstrap(ctx, &parsecv1.BootstrapRequest{
		Token: link.Token.Bytes(), Record: k.Records[0], Opening: canon.Marshal(k.Admin.Opening),
	})
	ts.Check(err)
	bob := k.AddUser(2)
	admin := servertest.Dial(link.Server, k.Fingerprint(), k.Admin)
	defer admin.Close()
	_, err = admin.Organization.Append(ctx, servertest.AddRequest(k, &bob.Opening))
	ts.Check(err)
	k.RevokeUser(k.Admin, bob)
	_, err = admin.Organization.Append(ctx, servertest.AddRequest(k, nil))
	ts.Check(err)
	ts.Setenv("FINGERPRINT", k.Fingerprint().String())
}

type fatal struct{ *testscript.TestScript }

// Helper is for verifytest.
func (fatal) Helper() {}

// scriptGet fetches a page of the server, and wants a text in it:
//
//	get PATH TEXT
func scriptGet(ts *testscript.TestScript, _ bool, args []string) {
	answer, err := http.Get(ts.Getenv("URL") + args[0])
	ts.Check(err)
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	ts.Check(err)
	if !strings.Contains(string(page), args[1]) {
		ts.Fatalf("%s: %s", answer.Status, page)
	}
}

// scriptMode wants a file to have a mode:
//
//	mode FILE 0600
func scriptMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(filepath.Join(ts.Getenv("WORK"), args[0]))
	ts.Check(err)
	if got := "0" + strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[1] {
		ts.Fatalf("mode %s, want %s", got, args[1])
	}
}

// scriptUnkept wants what a file says to stand in no other file of a folder:
//
//	unkept FILE DIR
func scriptUnkept(ts *testscript.TestScript, _ bool, args []string) {
	own := ts.MkAbs(args[0])
	secret, err := os.ReadFile(own)
	ts.Check(err)
	ts.Check(filepath.WalkDir(ts.MkAbs(args[1]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == own || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, bytes.TrimSpace(secret)) {
			ts.Fatalf("%s has it too", path)
		}
		return err
	}))
}

// scriptCertificate writes a certificate of this machine, signed by itself:
//
//	certificate CERTIFICATE KEY
func scriptCertificate(ts *testscript.TestScript, _ bool, args []string) {
	public, private, err := ed25519.GenerateKey(nil)
	ts.Check(err)
	now := time.Now()
	made, err := x509.CreateCertificate(nil, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}, new(x509.Certificate), public, private)
	ts.Check(err)
	key, err := x509.MarshalPKCS8PrivateKey(private)
	ts.Check(err)
	for i, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: made}, {Type: "PRIVATE KEY", Bytes: key}} {
		ts.Check(os.WriteFile(ts.MkAbs(args[i]), pem.EncodeToMemory(block), 0o600))
	}
}

// scriptHangup hangs up on the server, and runs a command until it succeeds:
//
//	hangup COMMAND...
func scriptHangup(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Value(serverKey{}).(*process).Process.Signal(syscall.SIGHUP))
	var err error
	for range 100 { // each is a process of its own, which takes a while
		if err = ts.Exec(args[0], args[1:]...); err == nil {
			return
		}
	}
	ts.Check(err)
}

// scriptMetrics asks the server for its metrics, and wants a pattern in them, or not:
//
//	[!] metrics PATTERN
func scriptMetrics(ts *testscript.TestScript, not bool, args []string) {
	address := regexp.MustCompile(`msg=metrics address=(\S+)`)
	said := ts.Value(serverKey{}).(*process).log
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for poll := time.NewTicker(5 * time.Millisecond); ; <-poll.C {
		if address.MatchString(said.String()) {
			break
		}
		ts.Check(ctx.Err())
	}
	answer, err := http.Get(address.FindStringSubmatch(said.String())[1])
	ts.Check(err)
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	ts.Check(err)
	if regexp.MustCompile(args[0]).Match(page) == not {
		ts.Fatalf("%s: %s", answer.Status, page)
	}
}
