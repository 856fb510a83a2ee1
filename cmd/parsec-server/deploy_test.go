package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"parsec/internal/server/rpc"
)

// deployed returns a file that is there to be copied.
func deployed(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "deploy"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// configFileOf returns the path of a file with a text, for its owner alone.
func configFileOf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// configured returns the options of a configuration file.
func configured(t *testing.T, text string) options {
	t.Helper()
	var o options
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.flags(flags)
	o.config = configFileOf(t, text)
	if err := o.load(flags); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestTheExampleConfigurationIsOne(t *testing.T) {
	o := configured(t, deployed(t, "parsec-server.toml"))
	if _, err := o.settle(io.Discard); err != nil {
		t.Error(err)
	}
	if o.data != "/var/lib/parsec" || len(o.proxies) != 1 || o.limits != (limits{}) {
		t.Errorf("got %+v", o)
	}
}

// TestWhatTheExampleHasInCommentsIsSoToo reads it with all the comments that
// are settings, but for files that are not here.
func TestWhatTheExampleHasInCommentsIsSoToo(t *testing.T) {
	text := regexp.MustCompile(`(?m)^#(\S)`).ReplaceAllString(deployed(t, "parsec-server.toml"), "$1")
	text = regexp.MustCompile(`(?m)^\w+_file = .*$`).ReplaceAllString(text, "")
	o := configured(t, text)
	got, want := rpc.Config{}, rpc.Config{
		RequestTime: 30 * time.Second, CommitTime: time.Minute, TransferTime: 10 * time.Minute, StreamTime: time.Hour,
		StallTime: 30 * time.Second, PollTime: 30 * time.Second, Beat: 30 * time.Second, StopTime: 30 * time.Second,
		BodyMemory: 64 << 20, OpenMemory: 8 << 20, Waiters: 1000, AddressRate: 1000, AddressBurst: 2000, DeviceRate: 200, DeviceBurst: 1000,
		OpenRate: 10, OpenBurst: 50, TokenRate: 5, TokenBurst: 50, Connections: 20_000, Streams: 8,
	}
	o.limits.bound(&got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the limits (-want +got):\n%s", diff)
	}
	if err := o.limits.Validate(); err != nil {
		t.Error(err)
	}
	if jobs := o.limits.jobs(); jobs.Look != 30*time.Second || jobs.Lease != 2*time.Minute {
		t.Errorf("the jobs: %+v", jobs)
	}
	if _, err := o.mails(); err != nil || o.smtpURL == "" {
		t.Errorf("mails through %q: %v", o.smtpURL, err)
	}
	if o.metricsListen == "" || o.certificate == "" || len(o.stores) != 1 || !strings.HasPrefix(o.database, "postgres:") {
		t.Errorf("got %+v", o)
	}
}

func TestTheUnitStartsTheServer(t *testing.T) {
	line := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/parsec-server (.*)$`).FindStringSubmatch(deployed(t, "systemd", "parsec-server.service"))
	if line == nil {
		t.Fatal("the unit starts nothing")
	}
	c, args, err := command().Find(strings.Fields(line[1]))
	if err != nil || c.Name() != "run" {
		t.Fatalf("it starts %v, %v", c, err)
	}
	if err := c.ParseFlags(args); err != nil {
		t.Error(err)
	}
}
