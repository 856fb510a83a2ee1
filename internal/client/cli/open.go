package cli

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

// place returns where this run's devices are.
func (r *run) place(c *cobra.Command) (session.Place, error) {
	p := session.Place{Home: r.home, Holder: home.Holder{Command: c.CommandPath(), Process: os.Getpid(), Since: time.Now()}}
	p.Config.Remote.Proxy = r.Proxy
	var err error
	if p.Home == "" {
		p.Home, err = home.Default(runtime.GOOS, func(name string) string {
			value, _ := r.Environment(name)
			return value
		})
	} else {
		p.Home, err = r.absolute(p.Home)
	}
	return p, err
}

// devices returns the devices of a home. One that cannot be read is only
// warned of, unless it is the one that is meant.
func (r *run) devices(home string) ([]device.Found, error) {
	all, err := device.List(home)
	if len(all) > 0 && err != nil {
		r.console.Warn("%v", err)
		err = nil
	}
	return all, err
}

// pick returns the device to use.
func (r *run) pick(home, name string) (device.Found, error) {
	all, err := r.devices(home)
	if err != nil {
		return device.Found{}, err
	}
	return device.Pick(all, name)
}

// completeDevice completes the labels of devices.
func (r *run) completeDevice(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var labels []string
	if r.home == "" { // completion does not read the environment by itself
		r.home, _ = r.Environment(cmdline.Variable(prefix, "home"))
	}
	if p, err := r.place(c); err == nil {
		all, _ := device.List(p.Home) // those that cannot be read are not offered
		for _, f := range all {
			labels = append(labels, f.Label)
		}
	}
	return labels, cobra.ShellCompDirectiveNoFileComp
}

// lock returns what opens a device.
func (r *run) lock(ctx context.Context, f device.Found) (device.Lock, error) {
	switch {
	case f.Method == device.ByKeyring && r.passwordFile == "":
		return device.WithKeyring(r.Keyring), nil
	case r.keyring:
		return device.WithKeyring(r.Keyring), nil
	}
	password, err := r.password(ctx, f)
	if err != nil {
		return device.Lock{}, err
	}
	return device.Password(password)
}

func (r *run) password(ctx context.Context, f device.Found) (secret.Bytes, error) {
	if r.passwordFile != "" {
		return r.readPassword(r.passwordFile)
	}
	if !r.console.Interactive() {
		return nil, missing("unlock device "+f.Label, "--password-file", "its password is needed")
	}
	return r.console.Password(ctx, "password of device "+f.Label+" ("+f.Email+"): ")
}

// missing is the error where somebody would be asked, if somebody was there.
func missing(what, flag, why string) error {
	return fault.WithHint(fault.Errorf(fault.Usage, "%s: %s, and standard input is not a terminal", what, why), "give %s", flag)
}

// maxPasswordFile is more than any password is long.
const maxPasswordFile = 4096

// readPassword reads a password from a file, without one newline at its end.
func (r *run) readPassword(path string) (secret.Bytes, error) {
	f, err := os.Open(r.local(path))
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

// newLock returns what closes a new device. A password in a file is its
// author's choice; one that is typed has to be good.
func (r *run) newLock(ctx context.Context, file string, keyring bool) (device.Lock, error) {
	if keyring {
		return device.WithKeyring(r.Keyring), nil
	}
	var password secret.Bytes
	var err error
	switch {
	case file != "":
		if password, err = r.readPassword(file); err == nil && terminal.CheckPassword(password) != nil {
			r.console.Note("the password in %s is easy to guess; whoever copies the device's file can try", file)
		}
	case !r.console.Interactive():
		err = missing("protect the new device", "--password-file or --keyring", "a password is needed")
	default:
		password, err = r.console.NewPassword(ctx, "new password of this device")
	}
	if err != nil {
		return device.Lock{}, err
	}
	return device.Password(password)
}

// maxPasswordTries is how often a person may mistype a password.
const maxPasswordTries = 3

// closeTime is how long the end of a command may take to tell the user's other
// devices what was verified.
const closeTime = 10 * time.Second

// close closes a session. What it cannot tell the others any more does not
// undo what the command did.
func (r *run) close(ctx context.Context, h *session.Held, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if fault.Is(err, fault.Unreachable) {
		cancel() // nobody is there to be told
	}
	closed := h.Close(ctx)
	if r.verbose {
		m := h.Server().Meter()
		r.console.Note("%d requests, %d bytes sent, %d bytes received", m.Requests(), m.Sent(), m.Received())
	}
	return r.settle(err, closed)
}

// settle returns the error of a command, given also that of telling the others
// what it verified.
func (r *run) settle(err, noted error) error {
	switch {
	case err != nil || noted == nil:
		return err
	case fault.Is(noted, fault.Integrity):
		return noted
	}
	r.console.Warn("the command is done, but not all of it could be noted: %v", noted)
	return nil
}
