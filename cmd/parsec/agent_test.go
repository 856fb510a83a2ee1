//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
)

// agent starts an agent, and returns it when it is ready.
func (k *killed) agent() *exec.Cmd {
	k.t.Helper()
	a := k.command("agent")
	out, err := a.StdoutPipe()
	if err == nil {
		err = a.Start()
	}
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() {
		a.Process.Kill()
		a.Wait()
	})
	ready := make([]byte, len("ready: "))
	if _, err := io.ReadFull(out, ready); err != nil || string(ready) != "ready: " {
		k.t.Fatalf("the agent says %q, %v", ready, err)
	}
	return a
}

// begun is more than a pipe holds: once it is written, somebody reads there.
func begun() string { return strings.Repeat("begun ", 1<<17) }

// inFlight starts a command that reads its input, and returns when it has begun to.
func (k *killed) inFlight(args ...string) (c *exec.Cmd, in io.WriteCloser, said *bytes.Buffer) {
	k.t.Helper()
	c, said = k.command(args...), new(bytes.Buffer)
	c.Stderr = said
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err == nil {
		_, err = io.WriteString(in, begun())
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return c, in, said
}

func TestACommandIsToldThatItsAgentWasKilled(t *testing.T) {
	t.Parallel()
	k := newKilled(t)
	a := k.agent()
	c, in, said := k.inFlight("cp", "-", "plans:/streamed")
	defer in.Close()
	if err := a.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || c.ProcessState.ExitCode() != 1 || !strings.Contains(said.String(), "the process that held the device") {
		t.Errorf("%v: %s", err, said)
	}
	k.do("mkdir", "plans:/afterwards")
	if out := k.do("ls", "plans:/"); out != "afterwards\n" {
		t.Errorf("the workspace has %q", out)
	}
}

func TestAnAgentGoesOnWhenItsCommandIsKilled(t *testing.T) {
	t.Parallel()
	k := newKilled(t)
	a := k.agent()
	c, in, _ := k.inFlight("cp", "-", "plans:/streamed")
	defer in.Close()
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	// The agent's own read of the pipe must not hold the next one up.
	if out := k.do("ls", "plans:/"); out != "" {
		t.Errorf("half a copy is there: %q", out)
	}
	if err := a.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := a.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

func TestAnAgentFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	k := newKilled(t)
	a := k.agent()
	c, in, said := k.inFlight("cp", "-", "plans:/streamed")
	if err := a.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "all of it"); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
	if err := a.Wait(); err != nil {
		t.Errorf("the agent: %v", err)
	}
	if out := k.do("cat", "plans:/streamed"); out != begun()+"all of it" {
		t.Errorf("it has %d bytes", len(out))
	}
}

func TestManyProcessesAtOnceAllDoTheirWork(t *testing.T) {
	t.Parallel()
	k := newKilled(t)
	const many = 12
	var group errgroup.Group
	for i := range many {
		c := k.command("mkdir", fmt.Sprintf("plans:/%02d", i))
		group.Go(func() error {
			if said, err := c.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, said)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if out := k.do("ls", "plans:/"); strings.Count(out, "\n") != many {
		t.Errorf("the workspace has %q", out)
	}
	if left, _ := filepath.Glob(filepath.Join(k.dir, "home", "local", "*", "socket*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	if _, err := os.Stat(filepath.Join(k.dir, "home")); err != nil {
		t.Error(err)
	}
}
