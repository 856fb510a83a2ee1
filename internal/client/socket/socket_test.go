//go:build unix

package socket_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"parsec/internal/api/agentv1"
	"parsec/internal/base/fault"
	"parsec/internal/client/socket"
)

// stand is a server under test, in this process.
type stand struct {
	t      *testing.T
	folder string
	server *socket.Server
	served errgroup.Group
	cancel context.CancelFunc
}

func serve(t *testing.T, folder string, h socket.Handlers) *stand {
	t.Helper()
	short, err := os.MkdirTemp("", "short-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(short); err != nil { // it is empty again
			t.Error(err)
		}
	})
	server, err := socket.Listen(folder, short)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &stand{t: t, folder: folder, server: server, cancel: cancel}
	s.served.Go(func() error { return server.Serve(ctx, h) })
	t.Cleanup(s.end)
	return s
}

func (s *stand) end() {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	s.server.Drain(over)
	s.cancel()
	if err := s.served.Wait(); err != nil {
		s.t.Error(err)
	}
}

// echo is a command that writes its input, its arguments and its folder.
func echo(_ context.Context, c *socket.Call) int {
	in, _ := io.ReadAll(c.Stdin)
	fmt.Fprintf(c.Stdout, "%s%s in %s with %s\n", in, strings.Join(c.GetArguments(), " "), c.GetDirectory(), c.GetEnvironment()["PARSEC_X"])
	fmt.Fprintln(c.Stderr, "a warning")
	return 3
}

// files are the streams of a command that is sent.
type files struct {
	socket.Streams
	said func() (out, problems string)
}

func streams(t *testing.T, input string) files {
	t.Helper()
	dir := t.TempDir()
	create := func(name, text string) *os.File {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	s := files{Streams: socket.Streams{Stdin: create("in", input), Stdout: create("out", ""), Stderr: create("err", "")}}
	s.said = func() (string, string) {
		out, err := os.ReadFile(filepath.Join(dir, "out"))
		problems, err2 := os.ReadFile(filepath.Join(dir, "err"))
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return string(out), string(problems)
	}
	return s
}

func nobodyAsked(t *testing.T) socket.Asker {
	return func(_ context.Context, prompt string, _ bool) ([]byte, error) {
		t.Errorf("somebody was asked: %s", prompt)
		return nil, io.EOF
	}
}

func TestACommandRunsElsewhereWithItsOwnStreams(t *testing.T) {
	short := t.TempDir()
	for name, folder := range map[string]string{
		"in a folder with a short path": short,
		"in a folder with a long path":  filepath.Join(t.TempDir(), strings.Repeat("long", 30)),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			serve(t, folder, socket.Handlers{Command: echo})
			f := streams(t, "input\n")
			command := &agentv1.Command{
				Arguments: []string{"ls", strings.Repeat("x", 1<<20)}, Directory: "/somewhere", Environment: map[string]string{"PARSEC_X": "y"},
			}
			status, err := socket.Run(t.Context(), folder, command, f.Streams, nobodyAsked(t))
			if err != nil || status != 3 {
				t.Fatalf("status %d, %v", status, err)
			}
			out, problems := f.said()
			if want := "input\nls " + command.GetArguments()[1] + " in /somewhere with y\n"; out != want || problems != "a warning\n" {
				t.Errorf("it wrote %.40q and %q", out, problems)
			}
		})
	}
}

func TestQuestionsAreAskedWhereThePersonIs(t *testing.T) {
	folder := t.TempDir()
	serve(t, folder, socket.Handlers{Command: func(ctx context.Context, c *socket.Call) int {
		name, err := c.Ask(ctx, "name: ", false)
		secret, err2 := c.Ask(ctx, "password: ", true)
		_, ended := c.Ask(ctx, "more: ", false)
		fmt.Fprintln(c.Stdout, string(name), string(secret), err, err2, errors.Is(ended, io.EOF))
		return 0
	}})
	f := streams(t, "")
	status, err := socket.Run(t.Context(), folder, &agentv1.Command{Interactive: true}, f.Streams,
		func(_ context.Context, prompt string, hidden bool) ([]byte, error) {
			switch {
			case prompt == "name: " && !hidden:
				return []byte("Alice"), nil
			case prompt == "password: " && hidden:
				return []byte("secret"), nil
			}
			return nil, io.EOF
		})
	if out, _ := f.said(); err != nil || status != 0 || out != "Alice secret <nil> <nil> true\n" {
		t.Errorf("status %d, %v: %q", status, err, out)
	}
}

func TestACommandIsCanceledWhenItsSenderStopsOrIsGone(t *testing.T) {
	folder := t.TempDir()
	begun, ended := make(chan struct{}), make(chan error)
	serve(t, folder, socket.Handlers{Command: func(ctx context.Context, _ *socket.Call) int {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return 1
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var sender errgroup.Group
	sender.Go(func() error {
		status, err := socket.Run(ctx, folder, &agentv1.Command{}, streams(t, "").Streams, nobodyAsked(t))
		if err != nil || status != 1 {
			return fmt.Errorf("the sender got %d, %w", status, err)
		}
		return nil
	})
	<-begun
	cancel()
	<-ended
	if err := sender.Wait(); err != nil {
		t.Error(err)
	}
	// Who is killed closes the connection without a word.
	c := connect(t, folder, hello(t, folder, 1))
	sendCommand(t, c, 3)
	<-begun
	c.Close()
	<-ended
}

func TestNobodyIsToldApartFromFailure(t *testing.T) {
	folder := t.TempDir()
	run := func() error {
		_, err := socket.Run(t.Context(), folder, &agentv1.Command{}, streams(t, "").Streams, nobodyAsked(t))
		return err
	}
	if err := run(); !errors.Is(err, socket.ErrNobody) {
		t.Errorf("without a socket: %v", err)
	}
	// What a killed process leaves: the name, and a socket that nobody serves.
	left := filepath.Join(folder, "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	text, err := json.Marshal(map[string]any{"address": left, "secret": make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "socket.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(); !errors.Is(err, socket.ErrNobody) {
		t.Errorf("with a stale socket: %v", err)
	}
	s := serve(t, folder, socket.Handlers{Command: echo})
	if err := run(); err != nil {
		t.Errorf("after a stale socket was replaced: %v", err)
	}
	if s.server.Drain(t.Context()) {
		t.Error("calls are left where none is in flight")
	}
	if err := run(); !errors.Is(err, socket.ErrNobody) {
		t.Errorf("after the end: %v", err)
	}
	for _, name := range []string{"socket", "socket.json"} {
		if _, err := os.Lstat(filepath.Join(folder, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}

func TestTheEndWaitsForCommandsInFlightAndTakesMoreMeanwhile(t *testing.T) {
	folder := t.TempDir()
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := serve(t, folder, socket.Handlers{Command: func(_ context.Context, c *socket.Call) int {
		if len(c.GetArguments()) > 0 {
			begun <- struct{}{}
			<-goOn
		}
		return 0
	}})
	run := func(args ...string) error {
		_, err := socket.Run(t.Context(), folder, &agentv1.Command{Arguments: args}, streams(t, "").Streams, nobodyAsked(t))
		return err
	}
	var group errgroup.Group
	group.Go(func() error { return run("long") })
	<-begun
	drained := make(chan bool)
	group.Go(func() error { drained <- s.server.Drain(t.Context()); return nil })
	if err := run(); err != nil {
		t.Errorf("a command that comes while another is in flight: %v", err)
	}
	select {
	case <-drained:
		t.Error("the end did not wait")
	default:
	}
	close(goOn)
	if <-drained {
		t.Error("calls are left")
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// hello returns a greeting with the secret that stands in the folder.
func hello(t *testing.T, folder string, purpose byte) []byte {
	t.Helper()
	var name struct {
		Secret []byte `json:"secret"`
	}
	text, err := os.ReadFile(filepath.Join(folder, "socket.json"))
	if err == nil {
		err = json.Unmarshal(text, &name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{purpose}, name.Secret...)
}

// connect sends a greeting.
func connect(t *testing.T, folder string, greeting []byte) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(folder, "socket"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Write(greeting); err != nil {
		t.Fatal(err)
	}
	return c
}

// sendCommand sends an empty command with a number of files.
func sendCommand(t *testing.T, c *net.UnixConn, count int) {
	t.Helper()
	var oob []byte
	if count > 0 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fds := make([]int, count)
		for i := range fds {
			fds[i] = int(f.Fd())
		}
		oob = unix.UnixRights(fds...)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.WriteMsgUnix(make([]byte, 4), oob, nil); err != nil {
		t.Fatal(err)
	}
}

// closed fails unless the other side closes the connection without a word.
func closed(t *testing.T, c *net.UnixConn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(c)
	if len(said) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it said %q, %v", said, err)
	}
}

func TestWhoDoesNotKnowTheSecretGetsNothing(t *testing.T) {
	folder := t.TempDir()
	s := serve(t, folder, socket.Handlers{
		Command: func(context.Context, *socket.Call) int { t.Error("a command ran"); return 0 },
		API:     http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request was answered") }),
	})
	good := hello(t, folder, 1)
	almost := bytes.Clone(good)
	almost[32] ^= 1
	for name, greeting := range map[string][]byte{
		"no secret at all":        append([]byte{1}, make([]byte, 32)...),
		"one bit is another":      almost,
		"a purpose of the future": append([]byte{9}, good[1:]...),
		"a page in a browser":     []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) { closed(t, connect(t, folder, greeting)) })
	}
	t.Run("whoever says half of it and waits holds up nobody, nor the end", func(t *testing.T) {
		connect(t, folder, good[:16])
		s.end()
	})
}

func TestACommandThatIsNoneEndsTheConnection(t *testing.T) {
	folder := t.TempDir()
	serve(t, folder, socket.Handlers{Command: func(context.Context, *socket.Call) int { t.Error("a command ran"); return 0 }})
	for name, send := range map[string]func(*testing.T, *net.UnixConn){
		"no file comes with it":       func(t *testing.T, c *net.UnixConn) { sendCommand(t, c, 0) },
		"one file comes with it":      func(t *testing.T, c *net.UnixConn) { sendCommand(t, c, 1) },
		"ten files come with it":      func(t *testing.T, c *net.UnixConn) { sendCommand(t, c, 10) },
		"it claims to be 4 GiB long":  func(t *testing.T, c *net.UnixConn) { sendLength(t, c, 1<<32-1) },
		"it is not what it should be": func(t *testing.T, c *net.UnixConn) { sendLength(t, c, 7); write(t, c, "\xff\xff\xff\xff\xff\xff\xff") },
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, folder, hello(t, folder, 1))
			send(t, c)
			closed(t, c)
		})
	}
}

// sendLength sends three files, and a length in front of nothing.
func sendLength(t *testing.T, c *net.UnixConn, n uint32) {
	t.Helper()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	if _, _, err := c.WriteMsgUnix(binary.BigEndian.AppendUint32(nil, n), unix.UnixRights(fd, fd, fd), nil); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, c *net.UnixConn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func TestTheHolderIsKilledInTheMiddle(t *testing.T) {
	folder := t.TempDir()
	var both errgroup.Group
	both.Go(takeAndDie(t, folder))
	_, err := socket.Run(t.Context(), folder, &agentv1.Command{}, streams(t, "").Streams, nobodyAsked(t))
	if !fault.Is(err, fault.Failed) || fault.HintOf(err) == "" || errors.Is(err, socket.ErrNobody) {
		t.Errorf("the sender is told %v", err)
	}
	if err := both.Wait(); err != nil {
		t.Error(err)
	}
}

// takeAndDie is a process that accepts one command, and is then gone.
func takeAndDie(t *testing.T, folder string) func() error {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(folder, "socket"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	text, err := json.Marshal(map[string]any{"address": filepath.Join(folder, "socket"), "secret": make([]byte, 32)})
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "socket.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() error {
		c, err := l.AcceptUnix()
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, 33)); err != nil {
			return err
		}
		if _, err := c.Write([]byte{1}); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 4)) // the command is there
		return err
	}
}

func TestTheAnswerToTheLastRequestArrives(t *testing.T) {
	for range 50 {
		folder := t.TempDir()
		last := make(chan struct{})
		s := serve(t, folder, socket.Handlers{API: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(last)
			fmt.Fprint(w, strings.Repeat("here", 1<<10))
		})})
		var ending errgroup.Group
		ending.Go(func() error { <-last; s.end(); return nil })
		client := socket.Client(folder)
		answer, err := client.Get("http://agent/")
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(answer.Body)
		if answer.Body.Close(); err != nil || len(said) != 4<<10 {
			t.Fatalf("%d bytes, %v", len(said), err)
		}
		client.CloseIdleConnections()
		if err := ending.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestTheAPIRefusesWhatAPageSends(t *testing.T) {
	folder := t.TempDir()
	serve(t, folder, socket.Handlers{API: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "here") })})
	client := socket.Client(folder)
	defer client.CloseIdleConnections()
	for header, want := range map[string]int{"": 200, "Origin": 403, "Referer": 403, "Sec-Fetch-Mode": 403} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://agent/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			r.Header.Set(header, "http://example.com")
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("with %q: status %d, want %d", header, answer.StatusCode, want)
		}
	}
}

func TestSocketAndSecretArePrivate(t *testing.T) {
	folder := t.TempDir()
	serve(t, folder, socket.Handlers{Command: echo})
	for _, name := range []string{"socket", "socket.json"} {
		info, err := os.Lstat(filepath.Join(folder, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
