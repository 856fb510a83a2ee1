package socket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"parsec/internal/api/agentv1"
	"parsec/internal/base/fault"
)

func newPrefix(data []byte) io.Reader { return bytes.NewReader(data) }

// dial opens a connection to the process that serves a folder's socket.
func dial(ctx context.Context, folder string, purpose byte) (*net.UnixConn, error) {
	n, err := readName(folder)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", n.Address)
	if err != nil {
		return nil, nobody(ctx, err)
	}
	c := conn.(*net.UnixConn)
	if err := greet(ctx, c, n.hello(purpose)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// greet sends the greeting, to none but the own user's process, and waits until
// it is accepted.
func greet(ctx context.Context, c *net.UnixConn, hello []byte) error {
	if err := checkPeer(c); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	var answer [1]byte
	_, err := c.Write(hello)
	if err == nil {
		_, err = io.ReadFull(c, answer[:])
	}
	switch {
	case err != nil:
		return nobody(ctx, err)
	case answer[0] != accepted:
		return fault.Errorf(fault.Invalid, "join the process that holds the device: it gives an answer that this version does not know")
	}
	return nil
}

// nobody tells a process that is not there, or about to end, from other failures.
func nobody(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, os.ErrNotExist, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, gone) {
			return ErrNobody
		}
	}
	return fmt.Errorf("join the process that holds the device: %w", err)
}

// Streams are what a command reads and writes.
type Streams struct{ Stdin, Stdout, Stderr *os.File }

// Asker asks the person in front of this process for a line; it fails with
// [io.EOF] where nobody is left to be asked.
type Asker func(ctx context.Context, prompt string, hidden bool) ([]byte, error)

// Run has a command run by the process that serves a folder's socket, with the
// streams of this one, and returns its exit status. [ErrNobody] means that
// nothing was begun. The end of the context is passed on, and the command then
// ends by itself.
func Run(ctx context.Context, folder string, command *agentv1.Command, s Streams, ask Asker) (int, error) {
	message, err := encode(command)
	if err != nil {
		return 0, err
	}
	c, err := dial(ctx, folder, forCommand)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := sendFiles(c, message, [streams]*os.File{s.Stdin, s.Stdout, s.Stderr}); err != nil {
		return 0, lost(err)
	}
	a := &attendant{conn: c, ask: ask}
	defer context.AfterFunc(ctx, func() { _ = a.say(&agentv1.ToHolder{What: &agentv1.ToHolder_Cancel{Cancel: true}}) })()
	return a.attend(ctx)
}

// lost is the error of a command whose end nobody told.
func lost(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		err = errors.New("it ended without an answer")
	}
	return fault.WithHint(fault.Errorf(fault.Failed, "the process that held the device and ran this command: %w", err),
		"what was done is kept, and nothing else was lost: look, and run the command again")
}

// attendant attends to a command that another process runs.
type attendant struct {
	conn *net.UnixConn
	ask  Asker
	mu   sync.Mutex // guards writes to conn
}

func (a *attendant) say(m *agentv1.ToHolder) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return send(a.conn, m)
}

// attend answers questions until the command is done.
func (a *attendant) attend(ctx context.Context) (int, error) {
	for {
		var m agentv1.FromHolder
		if err := receive(a.conn, &m); err != nil {
			return 0, lost(err)
		}
		q := m.GetQuestion()
		if q == nil {
			return int(m.GetDone()), nil
		}
		line, err := a.ask(ctx, q.GetPrompt(), q.GetHidden())
		if ctx.Err() != nil {
			continue // it was told, and says how it ended
		}
		answer := &agentv1.Answer{Line: line, Ended: err != nil}
		if err := a.say(&agentv1.ToHolder{What: &agentv1.ToHolder_Answer{Answer: answer}}); err != nil {
			return 0, lost(err)
		}
	}
}

// Client returns an HTTP client for the agent's API of the process that serves
// a folder's socket. Whatever address it is given means that process.
func Client(folder string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, folder, forAPI) },
		IdleConnTimeout: time.Minute,
	}}
}
