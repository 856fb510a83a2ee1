//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// service is one that a script of tools/services started.
type service struct {
	script, dir string
	// url is what the script's variable says.
	url string
}

// startService installs a service where it is missing, and starts it.
func (b *bench) startService(ctx context.Context, name string, settings ...string) (*service, error) {
	dir, err := b.folder(name)
	if err != nil {
		return nil, err
	}
	s := &service{script: filepath.Join(b.scripts, name+".sh"), dir: dir}
	if err := command(ctx, s.script, "install"); err != nil {
		return nil, err
	}
	if err := command(ctx, s.script, append([]string{"start", dir}, settings...)...); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		return nil, err
	}
	m := regexp.MustCompile(`(?m)^export PARSEC_TEST_\w+_URL='([^']*)'$`).FindSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf("start %s: it does not say where it is", name)
	}
	s.url = string(m[1])
	return s, nil
}

func (s *service) stop() error { return command(context.Background(), s.script, "stop", s.dir) }

// command runs a program to its end.
func command(ctx context.Context, name string, args ...string) error {
	_, err := output(ctx, name, args...)
	return err
}

// output runs a program to its end, and returns what it printed.
func output(ctx context.Context, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	// Not a pipe: the daemons that a script starts would keep it open.
	out, err := os.CreateTemp("", "parsec-bench-output-")
	if err != nil {
		return "", err
	}
	defer out.Close()
	defer os.Remove(out.Name())
	c.Stdout, c.Stderr = out, out
	failed := c.Run()
	text, err := os.ReadFile(out.Name())
	if failed != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), failed, text)
	}
	return string(text), err
}

// database makes an empty database, and returns its URL.
func (b *bench) database(ctx context.Context) (string, error) {
	c, err := pgx.Connect(ctx, b.postgres)
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	name := "bench_" + strings.ToLower(rand.Text())
	if _, err := c.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	u, err := url.Parse(b.postgres)
	if err != nil {
		return "", err
	}
	u.Path = "/" + name
	return u.String(), nil
}

// unlimited lets one address and one device send what a whole company does.
const unlimited = `
[limits]
address_rate = 1000000
address_burst = 1000000
device_rate = 1000000
device_burst = 1000000
open_rate = 1000000
open_burst = 1000000
`

// server is a running parsec-server.
type server struct {
	*exec.Cmd
	data, url string
}

// startServer starts one with a data folder of its own.
func (b *bench) startServer(ctx context.Context, args ...string) (*server, error) {
	dir, err := b.folder("server")
	if err != nil {
		return nil, err
	}
	s := &server{data: filepath.Join(dir, "data")}
	config := filepath.Join(dir, "server.toml")
	if err := os.WriteFile(config, []byte(unlimited), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.Cmd = exec.CommandContext(ctx, b.program, append([]string{"run", "--config", config, "--data", s.data, "--listen", "127.0.0.1:0"}, args...)...)
	s.Stderr = log
	out, err := s.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ready := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ready {
		said, _ := os.ReadFile(log.Name()) // what can be told of the failure
		return nil, errors.Join(fmt.Errorf("start the server: it says %q\n%s", line, said), err, s.Process.Kill())
	}
	s.url = address
	return s, nil
}

// stop ends the server, which has nothing left to lose.
func (s *server) stop() error {
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.Wait()
}

// cpu returns the processor time of a process, and of all its children.
func cpu(pid int) (time.Duration, error) {
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	const tick = time.Second / 100 // of the kernel, for whoever reads this
	var total time.Duration
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil { // a process that has ended meanwhile
			continue
		}
		// The name of the program, which may hold anything, ends with the last ")".
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if strconv.Itoa(pid) == fields[1] || filepath.Base(filepath.Dir(path)) == strconv.Itoa(pid) {
			for _, ticks := range fields[11:15] { // its own and its dead children's, in user and kernel
				n, err := strconv.Atoi(ticks)
				if err != nil {
					return 0, err
				}
				total += time.Duration(n) * tick
			}
		}
	}
	return total, nil
}

// postmaster returns the process whose children are those of a database.
func (s *service) postmaster() (int, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(line)
}

// memory returns the bytes of memory that the server has.
func (s *server) memory() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Process.Pid))
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`).FindSubmatch(status)
	if m == nil {
		return 0, fmt.Errorf("read the memory of the server: the kernel does not tell")
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	return n << 10, err
}
