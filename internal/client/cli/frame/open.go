package frame

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/base/secret"
	"parsec/internal/client/cli/terminal"
	"parsec/internal/client/device"
	"parsec/internal/client/home"
	"parsec/internal/client/session"
	"parsec/internal/cmdline"
)

// Place returns where this run's devices are.
func (r *Run) Place(c *cobra.Command) (session.Place, error) {
	p := session.Place{Home: r.HomeFolder, Holder: home.Holder{Command: c.CommandPath(), Process: os.Getpid(), Since: time.Now()}}
	p.Config.Remote.Proxy = r.Proxy
	var err error
	if p.Home == "" {
		p.Home, err = home.Default(runtime.GOOS, func(name string) string {
			value, _ := r.Environment(name)
			return value
		})
	} else {
		p.Home, err = r.Absolute(p.Home)
	}
	return p, err
}

// Devices returns the devices of a home. One that cannot be read is only
// warned of, unless it is the one that is meant.
func (r *Run) Devices(home string) ([]device.Found, error) {
	all, err := device.List(home)
	if len(all) > 0 && err != nil {
		r.Console.Warn("%v", err)
		err = nil
	}
	return all, err
}

// Pick returns the device to use.
func (r *Run) Pick(home, name string) (device.Found, error) {
	all, err := r.Devices(home)
	if err != nil {
		return device.Found{}, err
	}
	return device.Pick(all, name)
}

// CompleteDevice completes the labels of devices.
func (r *Run) CompleteDevice(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var labels []string
	if r.HomeFolder == "" { // completion does not read the environment by itself
		r.HomeFolder, _ = r.Environment(cmdline.Variable(Prefix, "home"))
	}
	if p, err := r.Place(c); err == nil {
		all, _ := device.List(p.Home) // those that cannot be read are not offered
		for _, f := range all {
			labels = append(labels, f.Label)
		}
	}
	return labels, cobra.ShellCompDirectiveNoFileComp
}

// Lock returns what opens a device.
func (r *Run) Lock(ctx context.Context, f device.Found) (device.Lock, error) {
	switch {
	case f.Method == device.ByKeyring && r.PasswordFile == "":
		return device.WithKeyring(r.Keyring), nil
	case r.UseKeyring:
		return device.WithKeyring(r.Keyring), nil
	}
	password, err := r.Password(ctx, f)
	if err != nil {
		return device.Lock{}, err
	}
	return device.Password(password)
}

func (r *Run) Password(ctx context.Context, f device.Found) (secret.Bytes, error) {
	if r.PasswordFile != "" {
		return r.readPassword(r.PasswordFile)
	}
	if !r.Console.Interactive() {
		return nil, Missing("unlock device "+f.Label, "--password-file", "its password is needed")
	}
	return r.Console.Password(ctx, "password of device "+f.Label+" ("+f.Email+"): ")
}

// Missing is the error where somebody would be asked, if somebody was there.
func Missing(what, flag, why string) error {
	return fault.WithHint(fault.Errorf(fault.Usage, "%s: %s, and standard input is not a terminal", what, why), "give %s", flag)
}

// maxPasswordFile is more than any password is long.
const maxPasswordFile = 4096

// readPassword reads a password from a file, without one newline at its end.
func (r *Run) readPassword(path string) (secret.Bytes, error) {
	f, err := os.Open(r.Local(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Errorf(fault.NotFound, "read password file: %w", err)
	}
	if err != nil {
		return nil, fault.Errorf(fault.Failed, "read password file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPasswordFile))
	if err != nil {
		return nil, fault.Errorf(fault.Failed, "read password file: %w", err)
	}
	text = bytes.TrimSuffix(text, []byte("\n"))
	text = bytes.TrimSuffix(text, []byte("\r"))
	if len(text) == 0 {
		return nil, fault.Errorf(fault.Usage, "read password file: %s is empty", path)
	}
	return text, nil
}

// NewLock returns what closes a new device. A password in a file is its
// author's choice; one that is typed has to be good.
func (r *Run) NewLock(ctx context.Context, file string, keyring bool) (device.Lock, error) {
	if keyring {
		return device.WithKeyring(r.Keyring), nil
	}
	var password secret.Bytes
	var err error
	switch {
	case file != "":
		if password, err = r.readPassword(file); err == nil && terminal.CheckPassword(password) != nil {
			r.Console.Note("the password in %s is easy to guess; whoever copies the device's file can try", file)
		}
	case !r.Console.Interactive():
		err = Missing("protect the new device", "--password-file or --keyring", "a password is needed")
	default:
		password, err = r.Console.NewPassword(ctx, "new password of this device")
	}
	if err != nil {
		return device.Lock{}, err
	}
	return device.Password(password)
}

// MaxPasswordTries is how often a person may mistype a password.
const MaxPasswordTries = 3

// closeTime is how long the end of a command may take to tell the user's other
// Devices what was verified.
const closeTime = 10 * time.Second

// Close closes a session. What it cannot tell the others any more does not
// undo what the command did.
func (r *Run) Close(ctx context.Context, h *session.Held, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if r.Offline || fault.Is(err, fault.Unreachable) {
		cancel() // nobody is there to be told
	}
	closed := h.Close(ctx)
	if r.Verbose {
		m := h.Server().Meter()
		r.Console.Note("%d requests, %d bytes sent, %d bytes received", m.Requests(), m.Sent(), m.Received())
	}
	return r.settle(err, closed)
}

// settle returns the error of a command, given also that of telling the others
// what it verified.
func (r *Run) settle(err, noted error) error {
	switch {
	case err != nil || noted == nil || r.Offline && errors.Is(noted, context.Canceled):
		return err
	case fault.Is(noted, fault.Integrity):
		return noted
	}
	r.Console.Warn("the command is done, but not all of it could be noted: %v", noted)
	return nil
}
