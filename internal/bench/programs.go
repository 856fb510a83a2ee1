//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cost is what a child process took.
type cost struct {
	wall, cpu time.Duration
	memory    int64 // the most at once, in bytes
	// Of a client, what went over the wire.
	requests, sent, received int64
}

// costOf returns what the kernel counted for a process that has ended.
func costOf(p *os.ProcessState, wall time.Duration) cost {
	return cost{wall: wall, cpu: p.UserTime() + p.SystemTime(), memory: p.SysUsage().(*syscall.Rusage).Maxrss << 10}
}

// timed runs a command to its end.
func timed(c *exec.Cmd) (cost, error) {
	var said bytes.Buffer
	c.Stderr = &said
	begin := time.Now()
	if err := c.Run(); err != nil {
		return cost{}, fmt.Errorf("%s: %w\n%s", filepath.Base(c.Path), err, &said)
	}
	k := costOf(c.ProcessState, time.Since(begin))
	wire := regexp.MustCompile(`(\d+) requests, (\d+) bytes sent, (\d+) bytes received`)
	if m := wire.FindSubmatch(said.Bytes()); m != nil {
		for i, field := range []*int64{&k.requests, &k.sent, &k.received} {
			*field, _ = strconv.ParseInt(string(m[i+1]), 10, 64) // digits
		}
	}
	return k, nil
}

// stage is a server with one organization, and a person with a workspace.
type stage struct {
	programs, dir, address string
	server                 *exec.Cmd
	// obscured is the password as rclone wants it.
	obscured string
	// objects are where the server stores blocks, nil for a folder.
	objects *objects
	// wan is what lies between both sides, nil for nothing.
	wan *wan
}

const (
	password  = "password"
	workspace = "bench"
)

// newStage starts a server with an empty data folder, and makes a workspace.
func (b *bench) newStage(ctx context.Context) (*stage, error) {
	s, err := b.emptyStage()
	if err != nil {
		return nil, err
	}
	return s, s.begin(ctx)
}

// begin starts the server of an empty stage and makes a workspace.
func (s *stage) begin(ctx context.Context) error {
	if err := os.WriteFile(s.path(password), []byte("the password of a bench\n"), 0o600); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	return s.found(ctx)
}

// emptyStage returns a stage that is a folder only.
func (b *bench) emptyStage() (*stage, error) {
	b.stages++
	s := &stage{programs: b.programs, dir: filepath.Join(b.stagesDir(), fmt.Sprintf("%d-%d", os.Getpid(), b.stages)), address: "127.0.0.1:0"}
	if err := os.MkdirAll(s.dir, 0o700); err != nil || !b.objects {
		return s, err
	}
	var err error
	s.objects, err = b.startObjects(context.Background(), s.path("s3"))
	return s, err
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// found makes the organization and the workspace.
func (s *stage) found(ctx context.Context) error {
	c := exec.CommandContext(ctx, filepath.Join(s.programs, "parsec-server"), "org", "create", "Bench", "--json",
		"--server", "http://"+s.address, "--data", s.path("server"))
	if s.wan != nil {
		c = inside(s.wan.near, c)
	}
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("create organization: %w", err)
	}
	var made struct {
		Link string `json:"bootstrap_url"`
	}
	if err := json.Unmarshal(out, &made); err != nil {
		return fmt.Errorf("create organization: %w", err)
	}
	if _, err := s.client(ctx, "org", "bootstrap", made.Link, "--name", "Bench", "--email", "bench@example.com"); err != nil {
		return err
	}
	_, err = s.client(ctx, "workspace", "create", workspace)
	return err
}

// start runs the server, at the address that it had before.
func (s *stage) start(ctx context.Context) error {
	log, err := os.OpenFile(s.path("server.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.server = exec.CommandContext(ctx, filepath.Join(s.programs, "parsec-server"), "run", "--data", s.path("server"), "--listen", s.address)
	if s.objects != nil {
		s.server.Args = append(s.server.Args, "--store", s.objects.bucket())
	}
	if s.wan != nil {
		s.server.Args = append(s.server.Args, "--insecure-http")
		s.server = inside(s.wan.far, s.server)
	}
	s.server.Stderr = log
	out, err := s.server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.server.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("start server: %w; see %s", err, log.Name())
	}
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on http://")
	if !ok {
		return fmt.Errorf("start server: it says %q", line)
	}
	s.address = address
	return nil
}

// stop ends the server and returns what it took since it was started.
func (s *stage) stop() (cost, error) {
	if err := s.server.Process.Signal(syscall.SIGTERM); err != nil {
		return cost{}, err
	}
	if err := s.server.Wait(); err != nil {
		return cost{}, fmt.Errorf("stop server: %w; see %s", err, s.path("server.log"))
	}
	return costOf(s.server.ProcessState, 0), nil
}

// client runs a command of the person.
func (s *stage) client(ctx context.Context, args ...string) (cost, error) {
	return timed(s.command(ctx, args...))
}

func (s *stage) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{"--verbose", "--home", s.path("home"), "--password-file", s.path(password)}, args...)
	c := exec.CommandContext(ctx, filepath.Join(s.programs, "parsec"), args...)
	c.Stdout = io.Discard
	if s.wan != nil {
		c = inside(s.wan.near, c)
	}
	return c
}

// move runs a command of the person with a server that is fresh in memory, and
// returns what both took.
func (s *stage) move(ctx context.Context, args ...string) (client, server cost, err error) {
	if s.server.ProcessState != nil {
		if err := s.start(ctx); err != nil {
			return client, server, err
		}
	}
	if client, err = synced(ctx, s.command(ctx, args...)); err != nil {
		return client, server, err
	}
	server, err = s.stop()
	return client, server, err
}
