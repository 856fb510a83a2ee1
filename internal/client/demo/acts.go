package demo

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"parsec/internal/base/fault"
)

const (
	workspace  = "project-atlas"
	alice, bob = "alice", "bob"
)

func email(who string) string { return who + "@example.com" }

func (s *stage) organization(ctx context.Context) error {
	for _, who := range []string{alice, bob} {
		if err := os.WriteFile(s.path(who+".password"), []byte(rand.Text()+"\n"), 0o600); err != nil {
			return err
		}
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	s.title("A server starts with nothing but a folder, at %s.", s.url)
	created, err := decode[struct {
		URL string `json:"bootstrap_url"`
	}](exec.CommandContext(ctx, s.Server, "org", "create", "Acme", "--json",
		"--server", s.url, "--admin-token-file", filepath.Join(s.path("server"), "admin-token")))
	if err != nil {
		return err
	}
	_, err = s.as(ctx, alice, "org", "bootstrap", created.URL, "--name", "Alice", "--email", email(alice), "--device-label", "laptop")
	if err != nil {
		return err
	}
	info, err := decode[struct {
		Fingerprint string `json:"fingerprint"`
	}](s.client(ctx, alice, "org", "info", "--json"))
	if err != nil {
		return err
	}
	s.title("Alice founds the organization Acme on her laptop. Its identity is %.16s..., and the key that signed it is destroyed.", info.Fingerprint)
	return nil
}

// enrollment invites Bob. The two programs speak through the server, the two
// people read four characters to each other.
func (s *stage) enrollment(ctx context.Context) error {
	invited, err := decode[struct{ Token, URL string }](s.client(ctx, alice, "invite", "user", email(bob), "--json"))
	if err != nil {
		return err
	}
	s.title("Alice invites Bob. They compare two codes by voice, so that the server cannot stand in between:")
	greeter, err := s.speaker(ctx, alice, "invite", "greet", invited.Token, "--codes-stdin")
	if err != nil {
		return err
	}
	claimer, err := s.speaker(ctx, bob, "invite", "claim", invited.URL, "--name", "Bob", "--device-label", "desktop", "--codes-stdin")
	if err != nil {
		return errors.Join(err, greeter.end())
	}
	err = s.compareCodes(greeter, claimer)
	group := errgroup.Group{}
	group.Go(greeter.end)
	group.Go(claimer.end)
	return errors.Join(err, group.Wait())
}

func (s *stage) compareCodes(greeter, claimer *speaker) error {
	for _, turn := range []struct {
		name       string
		says, does *speaker
	}{{"Alice", greeter, claimer}, {"Bob", claimer, greeter}} {
		code, err := turn.says.code()
		if err != nil {
			return err
		}
		s.tell("%s reads out %s, and the other types it.", turn.name, code)
		if err := turn.does.hear(code); err != nil {
			return err
		}
	}
	return nil
}

// speaker is one side of an enrollment.
type speaker struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	said bytes.Buffer
}

func (s *stage) speaker(ctx context.Context, who string, args ...string) (*speaker, error) {
	p := &speaker{cmd: s.client(ctx, who, args...)}
	p.cmd.Stderr = &p.said
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return p, p.cmd.Start()
}

// code waits for the line that shows the speaker's code.
func (p *speaker) code() (string, error) {
	for p.out.Scan() {
		if code, ok := strings.CutPrefix(p.out.Text(), "your code: "); ok {
			return code, nil
		}
	}
	return "", errors.New("no code was shown")
}

// hear types the other's code.
func (p *speaker) hear(code string) error {
	_, err := io.WriteString(p.in, code+"\n")
	return err
}

// end waits for the speaker to finish.
func (p *speaker) end() error {
	for p.out.Scan() {
	}
	if err := errors.Join(p.in.Close(), p.cmd.Wait()); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(p.said.String()))
	}
	return nil
}

func (s *stage) share(ctx context.Context) error {
	if s.Source == "" {
		s.Source = s.path("documents")
		if err := writeSamples(s.Source); err != nil {
			return err
		}
	}
	if _, err := s.as(ctx, alice, "workspace", "create", workspace); err != nil {
		return err
	}
	took, err := s.timed(func() error { _, err := s.as(ctx, alice, "cp", "-r", s.Source, workspace+":/documents"); return err })
	if err != nil {
		return err
	}
	count, size, err := measure(s.Source)
	if err != nil {
		return err
	}
	s.title("Alice imports %s: %d files, %s, sealed on her laptop in %.1f s (%.0f MB/s).",
		s.Source, count, bytesOf(size), took.Seconds(), float64(size)/1e6/took.Seconds())
	if _, err := s.as(ctx, alice, "workspace", "share", workspace, email(bob), "--role", "reader"); err != nil {
		return err
	}
	took, err = s.timed(func() error {
		_, err := s.as(ctx, bob, "cp", "-r", workspace+":/documents", s.path("copy"))
		return err
	})
	if err != nil {
		return err
	}
	if err := compare(s.Source, s.path("copy")); err != nil {
		return err
	}
	s.title("She shares it with Bob, one sealed key, and Bob exports it on his desktop in %.1f s (%.0f MB/s).",
		took.Seconds(), float64(size)/1e6/took.Seconds())
	s.tell("Compared: every byte, mode and time of all %d files is the same.", count)
	return nil
}

func (s *stage) timed(do func() error) (time.Duration, error) {
	start := time.Now()
	err := do()
	return time.Since(start), err
}

func (s *stage) whatTheServerHolds(ctx context.Context) error {
	objects, size, err := measure(s.path("server"))
	if err != nil {
		return err
	}
	names, err := someNames(s.Source)
	if err != nil {
		return err
	}
	found, err := search(s.path("server"), append(names, workspace))
	if err != nil {
		return err
	}
	if found != "" {
		return fault.Errorf(fault.Integrity, "the server's folder holds the name %q in clear", found)
	}
	s.title("What the server holds: %d files of ciphertext, %s. Searched for %d names of files and of the workspace: none is there.",
		objects, bytesOf(size), len(names)+1)
	records, err := s.log(ctx)
	if err != nil {
		return err
	}
	changes := 0
	for _, r := range records {
		changes += len(r.Changes)
	}
	s.tell("What it cannot forge: the signed log, %d records with %d changes. Its end:", len(records), changes)
	for _, r := range records[max(0, len(records)-3):] {
		s.tell("  #%d  %s  %s: %s", r.Index, r.Author, r.Kind, r.summary())
	}
	return nil
}

type logRecord struct {
	Index   uint64
	Author  string
	Kind    string
	Changes []struct{ Path, What string }
}

func (r logRecord) summary() string {
	if len(r.Changes) == 1 && r.Changes[0].Path == "" {
		return r.Changes[0].What
	}
	return fmt.Sprintf("%d changes", len(r.Changes))
}

func (s *stage) log(ctx context.Context) ([]logRecord, error) {
	return decode[[]logRecord](s.client(ctx, alice, "log", workspace+":", "--json"))
}

// removal takes a copy of the server first, as a backup would, for the last act.
func (s *stage) removal(ctx context.Context) error {
	if err := s.stop(); err != nil {
		return err
	}
	if err := os.CopyFS(s.path("backup"), os.DirFS(s.path("server"))); err != nil {
		return fmt.Errorf("copy the server's folder: %w", err)
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	if _, err := s.as(ctx, alice, "user", "revoke", email(bob)); err != nil {
		return err
	}
	s.title("Alice removes Bob from the organization.")
	said, err := s.refused(ctx, fault.ExitDenied, bob, "ls", workspace+":/")
	if err != nil {
		return err
	}
	s.tell("Bob tries to look: %s", said)
	if _, err := s.as(ctx, alice, "ls", workspace+":/"); err != nil {
		return err
	}
	records, err := s.log(ctx)
	if err != nil {
		return err
	}
	last := records[len(records)-1]
	s.tell("Alice's client changes the locks by itself: #%d %s, %s.", last.Index, last.Kind, last.summary())
	return nil
}

func (s *stage) rollback(ctx context.Context) error {
	if err := s.stop(); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(s.path("server"), s.path("newest")), os.Rename(s.path("backup"), s.path("server"))); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	said, err := s.refused(ctx, fault.ExitIntegrity, alice, "ls", workspace+":/")
	if err != nil {
		return err
	}
	s.title("The server is put back to the copy from before the removal, where Bob is still a member. Alice's client notices:")
	s.tell("%s", said)
	return nil
}

// writeSamples makes a small tree for who gives none.
func writeSamples(root string) error {
	for i := range 200 {
		dir := filepath.Join(root, fmt.Sprintf("folder %d", i%10))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		content := make([]byte, 1000+i*i*20)
		rand.Read(content)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("document %d.pdf", i)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// measure counts the files below a folder and their bytes.
func measure(root string) (files int, size int64, err error) {
	err = filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files, size = files+1, size+info.Size()
		}
		return err
	})
	return files, size, err
}

func bytesOf(n int64) string {
	if n >= 1e9 {
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// compare compares two trees: names, contents, times, executable bits, links.
func compare(a, b string) error {
	files := func(root string) (int, error) { n, _, err := measure(root); return n, err }
	x, err := files(a)
	if err != nil {
		return err
	}
	if y, err := files(b); err != nil || x != y {
		return fmt.Errorf("the copy has %d files, and the source %d: %w", y, x, err)
	}
	return filepath.WalkDir(a, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(a, p)
		if err != nil {
			return err
		}
		return same(p, filepath.Join(b, name), name)
	})
}

func same(a, b, name string) error {
	x, errA := os.Lstat(a)
	y, errB := os.Lstat(b)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	if x.Mode().Type() != y.Mode().Type() || x.Mode()&0o100 != y.Mode()&0o100 || !x.ModTime().Equal(y.ModTime()) {
		return fmt.Errorf("%s differs: %s and %s, %s and %s", name, x.Mode(), y.Mode(), x.ModTime(), y.ModTime())
	}
	var p, q []byte
	switch {
	case x.Mode().IsRegular():
		p, errA = os.ReadFile(a)
		q, errB = os.ReadFile(b)
	case x.Mode()&fs.ModeSymlink != 0:
		var s, t string
		s, errA = os.Readlink(a)
		t, errB = os.Readlink(b)
		p, q = []byte(s), []byte(t)
	}
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	if !bytes.Equal(p, q) {
		return fmt.Errorf("%s differs in content", name)
	}
	return nil
}

// someNames returns names below a folder that do not occur by chance.
func someNames(root string) ([]string, error) {
	const long, most = 12, 50
	var names []string
	err := filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && len(d.Name()) >= long && len(names) < most {
			names = append(names, d.Name())
		}
		return err
	})
	return names, err
}

// search returns the first of the names that any file below a folder holds.
func search(root string, names []string) (string, error) {
	var found string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || found != "" {
			return err
		}
		content, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for _, name := range names {
			if bytes.Contains(content, []byte(name)) || strings.Contains(p, name) {
				found = name
			}
		}
		return nil
	})
	return found, err
}
