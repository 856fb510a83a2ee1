//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// peer is another program that encrypts files and stores them elsewhere, in a
// folder of this machine or by an S3 server. It fsyncs less than a server that has acknowledged,
// so the time of a final sync counts for everybody.
type peer struct {
	name string
	// variables are what the program takes from the environment.
	variables func(st *stage) []string
	// prepare is run before, and is not measured; in and out are.
	prepare [][]string
	in, out []string
}

// peers returns those that are installed. In their arguments, {set} stands for
// the folder to copy, {store} for where it goes, {out} for where it comes back.
func peers() []peer {
	all := []peer{
		{
			name: "restic",
			variables: func(st *stage) []string {
				return append(st.objects.variables(), "RESTIC_PASSWORD="+password, "RESTIC_PROGRESS_FPS=0.1")
			},
			prepare: [][]string{{"restic", "-q", "-r", "{store}", "init"}},
			in:      []string{"restic", "-q", "--no-cache", "-r", "{store}", "backup", "{set}"},
			out:     []string{"restic", "-q", "--no-cache", "-r", "{store}", "restore", "latest", "--target", "{out}"},
		},
		{
			name: "rclone crypt",
			variables: func(st *stage) []string {
				_, place := st.places()
				return append(
					st.objects.variables(),
					"RCLONE_CONFIG="+st.path("rclone.conf"), "RCLONE_CONFIG_SAFE_TYPE=crypt",
					"RCLONE_CONFIG_SAFE_REMOTE="+place, "RCLONE_CONFIG_SAFE_PASSWORD="+st.obscured,
				)
			},
			in:  []string{"rclone", "-q", "copy", "{set}", "safe:set"},
			out: []string{"rclone", "-q", "copy", "safe:set", "{out}"},
		},
	}
	var installed []peer
	for _, p := range all {
		if _, err := exec.LookPath(p.in[0]); err == nil {
			installed = append(installed, p)
		}
	}
	return installed
}

// move copies a set in and out with the peer.
func (p peer) move(ctx context.Context, st *stage, set string) (in, out cost, err error) {
	if p.name == "rclone crypt" {
		text, err := exec.CommandContext(ctx, "rclone", "obscure", password).Output()
		if err != nil {
			return in, out, fmt.Errorf("rclone obscure: %w", err)
		}
		st.obscured = strings.TrimSpace(string(text))
	}
	run := func(args []string) (cost, error) {
		place, _ := st.places()
		r := strings.NewReplacer("{set}", set, "{store}", place, "{out}", st.path("out"))
		command := exec.CommandContext(ctx, args[0])
		for _, a := range args[1:] {
			command.Args = append(command.Args, r.Replace(a))
		}
		command.Env = append(command.Environ(), p.variables(st)...)
		return synced(ctx, command)
	}
	for _, args := range p.prepare {
		if _, err := run(args); err != nil {
			return in, out, err
		}
	}
	if in, err = run(p.in); err != nil {
		return in, out, err
	}
	out, err = run(p.out)
	return in, out, err
}

// synced runs a command, and counts the time of a sync behind it.
func synced(ctx context.Context, command *exec.Cmd) (cost, error) {
	if err := syncDisks(ctx); err != nil {
		return cost{}, err
	}
	begin := time.Now()
	c, err := timed(command)
	if err == nil {
		err = syncDisks(ctx)
	}
	c.wall = time.Since(begin)
	return c, err
}
