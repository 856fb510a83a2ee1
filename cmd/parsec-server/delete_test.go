package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/server/servertest"
)

// org runs a command on the organizations, which has to end with a status, and
// returns what it printed and said.
func (s *studio) org(status int, args ...string) (printed, said string) {
	s.t.Helper()
	args = append([]string{"org"}, args...)
	args = append(args, "--json", "--server", s.server.url, "--data", filepath.Join(s.dir, defaultData))
	var stdout, stderr bytes.Buffer
	if got := run(args, &stdout, &stderr); got != status {
		s.t.Fatalf("%q: status %d, want %d: %s%s\nlog:\n%s", args, got, status, &stdout, &stderr, s.server.log)
	}
	return stdout.String(), stderr.String()
}

// organizations returns the organizations that are listed, by name.
func (s *studio) organizations() map[string]organization {
	s.t.Helper()
	printed, _ := s.org(0, "list")
	var list []organization
	if err := json.Unmarshal([]byte(printed), &list); err != nil {
		s.t.Fatal(err)
	}
	all := make(map[string]organization)
	for _, o := range list {
		all[o.Name] = o
	}
	return all
}

// other makes another organization on the same server.
func (s *studio) other(name string) *studio {
	s.t.Helper()
	o := &studio{t: s.t, dir: s.dir, name: name, args: s.args, server: s.server}
	o.found(1)
	return o
}

// traces returns the files and folders below a folder that are named for an
// organization.
func (s *studio) traces(folder string) (all []string) {
	s.t.Helper()
	if err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, s.kit.Fingerprint().String()) {
			all = append(all, path)
		}
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// refused wants the members of an organization to be refused.
func (s *studio) refused() {
	s.t.Helper()
	_, err := s.dial(s.kit.Admin).Organization.ListWorkspaces(s.t.Context(), &parsecv1.ListWorkspacesRequest{})
	if _, kind := servertest.Refusal(err); !fault.Is(kind, fault.NotFound) {
		s.t.Errorf("a member of a deleted organization: %v", err)
	}
}

func TestOfADeletedOrganizationNothingIsLeftAndOthersKeepAll(t *testing.T) {
	s := &studio{t: t, dir: t.TempDir()}
	s.start()
	s.found(1)
	s.calmly(3)
	zebra := s.other("Zebra")
	zebra.calmly(3)
	blocks := filepath.Join(s.dir, defaultData, "blocks")
	if len(s.traces(blocks)) == 0 {
		t.Fatal("nothing is stored")
	}
	live, err := s.dial(s.kit.Admin).Organization.Subscribe(t.Context(), &parsecv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := live.Receive(); err != nil {
		t.Fatal(err)
	}

	s.org(0, "delete", "Acme", "--confirm", "Acme")
	for err == nil {
		_, err = live.Receive()
	}
	if _, kind := servertest.Refusal(err); !fault.Is(kind, fault.NotFound) {
		t.Errorf("the end of a live stream: %v", err)
	}
	s.refused()
	if left := s.traces(blocks); len(left) > 0 {
		t.Errorf("there is still %q", left)
	}
	if all := s.organizations(); len(all) != 1 || all["Zebra"].Name == "" {
		t.Errorf("there are %v", all)
	}
	zebra.check()
	// The name is free, and what is made under it is another one.
	again := s.other("Acme")
	again.calmly(1)
	again.check()
	s.refused()
	s.stop()
}

func TestADeletionWaitsForAStoreThatIsDeadAndSaysSo(t *testing.T) {
	s, folders := several(t, "mirror", 2)
	zebra := s.other("Zebra")
	zebra.calmly(2)
	s.stop()
	dead := folders[1]
	if err := os.Rename(dead, dead+".aside"); err != nil { // as a disk that is not mounted
		t.Fatal(err)
	}
	s.start()
	_, said := s.org(1, "delete", "Acme", "--confirm", "Acme")
	if !strings.Contains(said, dead) || !strings.Contains(said, "goes on trying") {
		t.Error(said)
	}
	s.refused()
	if o := s.organizations()["Acme"]; o.state() != "deleting" || !strings.Contains(o.Problem, dead) {
		t.Errorf("it is listed as %+v", o)
	}
	if left := s.traces(folders[0]); len(left) > 0 {
		t.Errorf("the store that is alive still has %q", left)
	}
	for _, args := range [][]string{{"create", "Acme"}, {"set", "Acme", "--unexpire"}} {
		if _, said := s.org(7, args...); !strings.Contains(said, "is being deleted") {
			t.Errorf("%q: %s", args, said)
		}
	}
	// It comes back.
	s.stop()
	if err := os.RemoveAll(dead); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dead+".aside", dead); err != nil {
		t.Fatal(err)
	}
	if len(s.traces(dead)) == 0 {
		t.Error("nothing was left to do")
	}
	s.start()
	s.org(0, "delete", "Acme", "--confirm", "Acme")
	if left := s.traces(dead); len(left) > 0 {
		t.Errorf("there is still %q", left)
	}
	s.org(3, "stats", "Acme")
	zebra.server = s.server
	zebra.check()
	s.stop()
}
