package socket

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"parsec/internal/api/agentv1"
	"parsec/internal/base/fault"
)

// Call is a command that another process sent.
type Call struct {
	*agentv1.Command
	// The streams are those of the process that sent it.
	Stdin, Stdout, Stderr *os.File

	conn    *net.UnixConn
	writing sync.Mutex // guards writes to conn
	answers chan *agentv1.Answer
	gone    chan struct{}
}

// takeCall reads a command with its files.
func takeCall(c *net.UnixConn) (*Call, error) {
	first := make([]byte, lengthSize)
	n, files, err := receiveFiles(c, first)
	if err != nil {
		return nil, err
	}
	call := &Call{
		Command: new(agentv1.Command), Stdin: files[0], Stdout: files[1], Stderr: files[2],
		conn: c, answers: make(chan *agentv1.Answer, 1), gone: make(chan struct{}),
	}
	err = receive(io.MultiReader(newPrefix(first[:n]), c), call.Command)
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		call.close()
		return nil, err
	}
	return call, nil
}

func (c *Call) close() {
	for _, f := range []*os.File{c.Stdin, c.Stdout, c.Stderr} {
		_ = f.Close() // the other process has them too, and notices what was not written
	}
}

// listen passes on answers until the other side is gone or asks to stop.
func (c *Call) listen(cancel context.CancelFunc) {
	defer close(c.gone)
	defer cancel()
	for {
		var m agentv1.ToHolder
		if err := receive(c.conn, &m); err != nil || m.GetCancel() {
			return
		}
		select {
		case c.answers <- m.GetAnswer():
		default: // one is there already, and there was one question at most
		}
	}
}

func (c *Call) say(m *agentv1.FromHolder) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return send(c.conn, m)
}

// done tells the exit status. A process that is gone does not need it.
func (c *Call) done(status int) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(helloTime))
	_ = c.say(&agentv1.FromHolder{What: &agentv1.FromHolder_Done{Done: uint32(status)}})
}

// Ask has the other process ask the person for a line, which is not shown
// where it is hidden. It returns [io.EOF] at the end of standard input.
func (c *Call) Ask(ctx context.Context, prompt string, hidden bool) ([]byte, error) {
	select {
	case <-c.answers: // to a question that nobody waits for any more
	default:
	}
	question := &agentv1.Question{Prompt: prompt, Hidden: hidden}
	if err := c.say(&agentv1.FromHolder{What: &agentv1.FromHolder_Question{Question: question}}); err != nil {
		return nil, fault.Errorf(fault.Canceled, "ask: %w", err)
	}
	select {
	case a := <-c.answers:
		if a.GetEnded() {
			return nil, io.EOF
		}
		return a.GetLine(), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.gone:
		return nil, fault.Errorf(fault.Canceled, "ask: whoever gave the command is gone")
	}
}
