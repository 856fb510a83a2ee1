//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// face is one way of having a folder on the disk.
type face interface {
	name() string
	// root is where programs work.
	root() string
	// begin shows the folder, and end hides it; in between, nothing is remembered
	// of it. Neither does anything to what is on the disk.
	begin(ctx context.Context) error
	end(ctx context.Context) error
	// busy does, until the context ends, what goes on beside programs.
	busy(ctx context.Context) error
	// rest waits until nothing goes on any more.
	rest(ctx context.Context) error
	// process is who shows the folder, 0 for the kernel.
	process() int
}

// bare is the disk itself.
type bare struct{ dir string }

func (b *bare) name() string                   { return "bare disk" }
func (b *bare) root() string                   { return b.dir }
func (b *bare) begin(context.Context) error    { return os.MkdirAll(b.dir, 0o700) }
func (b *bare) end(context.Context) error      { return nil }
func (b *bare) busy(ctx context.Context) error { return nil }
func (b *bare) rest(context.Context) error     { return nil }
func (b *bare) process() int                   { return 0 }

// shown is a process that shows a folder until it is unmounted.
type shown struct {
	dir     string
	command *exec.Cmd
}

func (s *shown) process() int { return s.command.Process.Pid }

// wait waits until the folder is shown.
func (s *shown) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("%s shows nothing", s.command.Path))
	defer cancel()
	for {
		var here, above syscall.Stat_t
		err := errors.Join(syscall.Stat(s.dir, &here), syscall.Stat(filepath.Dir(s.dir), &above))
		if err == nil && here.Dev != above.Dev {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end unmounts the folder, after which the process ends.
func (s *shown) end(ctx context.Context) error {
	for deadline := time.Now().Add(time.Minute); ; { // who looks for mounts to index may have it open for a moment
		out, err := exec.CommandContext(ctx, "umount", s.dir).CombinedOutput()
		if err == nil {
			return s.command.Wait()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("unmount %s: %w\n%s", s.dir, err, out)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// encrypted is gocryptfs.
type encrypted struct {
	shown
	store, password string
}

func (e *encrypted) name() string               { return "gocryptfs" }
func (e *encrypted) root() string               { return e.dir }
func (e *encrypted) busy(context.Context) error { return nil }
func (e *encrypted) rest(context.Context) error { return nil }

func (e *encrypted) begin(ctx context.Context) error {
	if err := errors.Join(os.MkdirAll(e.store, 0o700), os.MkdirAll(e.dir, 0o700)); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(e.store, "gocryptfs.conf")); errors.Is(err, os.ErrNotExist) {
		if _, err := timed(exec.CommandContext(ctx, "gocryptfs", "-q", "-init", "-passfile", e.password, e.store)); err != nil {
			return err
		}
	}
	e.command = exec.Command("gocryptfs", "-q", "-fg", "-passfile", e.password, e.store, e.dir)
	if err := e.command.Start(); err != nil {
		return err
	}
	return e.wait(ctx)
}

// inSync is `parsec mount`, with a server of its own on this machine.
type inSync struct {
	shown
	stage *stage
	files int // that were written beside programs
}

func (p *inSync) name() string { return "parsec mount" }
func (p *inSync) root() string { return filepath.Join(p.dir, workspace) }

func (p *inSync) begin(ctx context.Context) error {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	p.command = p.stage.command(context.Background(), "mount", p.dir)
	p.command.Stdout = nil
	out, err := p.command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.command.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "mounted on") {
		return fmt.Errorf("parsec mount: it says %q: %w", line, err)
	}
	return p.wait(ctx)
}

// busy keeps a small file coming every tenth of a second, so that something is
// on its way to the server all the time.
func (p *inSync) busy(ctx context.Context) error {
	dir := filepath.Join(p.root(), "beside")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		p.files++
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(p.files)), make([]byte, 4096), 0o600); err != nil {
			return err
		}
	}
}

func (p *inSync) rest(ctx context.Context) error {
	_, err := p.stage.client(ctx, "sync", "--wait")
	return err
}

// mostOf returns the most memory that a process has had, in bytes.
func mostOf(process int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest + " ?")[0], 10, 64)
	return kib << 10, err
}

// faces returns the three ways, below a folder.
func (b *bench) faces(ctx context.Context, st *stage) ([]face, error) {
	if err := st.begin(ctx); err != nil {
		return nil, err
	}
	return []face{
		&bare{st.path("bare")},
		&encrypted{shown{dir: st.path("gocryptfs")}, st.path("sealed"), st.path(password)},
		&inSync{shown: shown{dir: st.path("parsec")}, stage: st},
	}, nil
}

// dropCaches has the kernel forget what it has read of disks; as root only.
func dropCaches(ctx context.Context) error {
	if err := syncDisks(ctx); err != nil {
		return err
	}
	err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil // a new mount has to do
	}
	return err
}

// within runs a command in a folder and returns how long it takes.
func within(ctx context.Context, dir string, args ...string) (time.Duration, error) {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Dir = dir
	c.Env = append(c.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Bench", "GIT_AUTHOR_EMAIL=bench@example.com",
		"GIT_COMMITTER_NAME=Bench", "GIT_COMMITTER_EMAIL=bench@example.com")
	c.Stdout = io.Discard
	cost, err := timed(c)
	return cost.wall, err
}
