// Package services gives tests the real servers that the adapters talk to.
// It starts them with the scripts in tools/services, or uses running ones that
// the environment names; `tools/services/run` starts each once for many
// packages. It fakes nothing.
//
// A service that this package starts ends with the process of the test, also
// when that one is killed: its script waits for the end of its input. Only
// tests import this package.
package services

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
)

// running are the services that this process has started and its tests share.
// They are the one thing that outlives a test, and starting one takes a second.
var running = &shared{services: make(map[string]*service)}

type shared struct {
	mu       sync.Mutex // guards services, and is held while one is started
	services map[string]*service
}

// service is a running service.
type service struct {
	dir    string
	script string
	// env are the variables that name it.
	env map[string]string
	// input ends the service when it is closed.
	input io.WriteCloser
	cmd   *exec.Cmd
}

// environment returns the value of a variable that names a service, which is
// started where the environment has no such variable.
func environment(name, variable string) (string, error) {
	if value := os.Getenv(variable); value != "" {
		return value, nil
	}
	running.mu.Lock()
	defer running.mu.Unlock()
	s := running.services[name]
	if s == nil {
		var err error
		if s, err = start(name); err != nil {
			return "", err
		}
		running.services[name] = s
	}
	return s.env[variable], nil
}

// start installs a service where it is missing, and starts it.
func start(name string, args ...string) (*service, error) {
	script, err := find(filepath.Join("tools", "services", name+".sh"))
	if err != nil {
		return nil, err
	}
	if err := run(script, "install"); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "parsec-"+name+"-")
	if err != nil {
		return nil, err
	}
	s := &service{dir: dir, script: script, cmd: exec.Command(script, append([]string{"hold", dir}, args...)...)}
	var complaint bytes.Buffer
	s.cmd.Stderr = &complaint
	if s.input, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "ready" {
			s.env, err = variables(filepath.Join(dir, "env"))
			return s, err
		}
	}
	err = s.cmd.Wait()
	return nil, fmt.Errorf("start %s: %w\n%s", name, err, &complaint)
}

// stop stops a service and removes what it wrote.
func (s *service) stop() error {
	s.input.Close()
	return s.cmd.Wait()
}

// run runs a script to its end.
func run(script string, args ...string) error {
	out, err := exec.Command(script, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %v: %w\n%s", script, args, err, out)
	}
	return nil
}

// variables reads a file of `export NAME='value'` lines.
func variables(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^export (\w+)='([^']*)'$`).FindAllStringSubmatch(string(text), -1) {
		all[m[1]] = m[2]
	}
	return all, nil
}

// find returns the path of a file of the module, from wherever in it a test runs.
func find(path string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, path), nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find %s: not in a module", path)
		}
		dir = filepath.Dir(dir)
	}
}
