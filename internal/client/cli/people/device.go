package people

import (
	"errors"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/cli/frame"
	"parsec/internal/client/device"
	"parsec/internal/client/home"
	"parsec/internal/cmdline"
)

func (r *run) deviceCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "device", Short: "See the devices of this computer, and how they are closed",
		Args: cobra.ArbitraryArgs, RunE: cmdline.Group,
	}
	c.AddCommand(r.deviceList(), r.devicePasswd(), r.deviceForget())
	return c
}

// deviceHere is a device of this home in JSON.
type deviceHere struct {
	ID           id.Device `json:"id"`
	Label        string    `json:"label"`
	Organization string    `json:"organization"`
	Server       string    `json:"server"`
	Email        string    `json:"email"`
}

func (r *run) deviceList() *cobra.Command {
	return r.AsJSON(&cobra.Command{
		Use:   "list",
		Short: "List the devices on this computer; needs no password",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := r.Place(c)
			if err != nil {
				return err
			}
			found, broken := device.List(p.Home)
			all := []deviceHere{}
			rows := [][]string{{"LABEL", "E-MAIL", "ORGANIZATION", "SERVER", "CLOSED BY", "ID"}}
			for _, f := range found {
				all = append(all, deviceHere{f.Device, f.Label, f.OrganizationName, f.Server, f.Email})
				rows = append(rows, []string{f.Label, f.Email, f.OrganizationName, f.Server, f.Method.String(), f.Device.String()})
			}
			// What can be read is shown also where something else cannot.
			if err := r.Print(all, func() [][]string { return rows }); err != nil {
				return err
			}
			return broken
		},
	})
}

func (r *run) devicePasswd() *cobra.Command {
	var file string
	var keyring bool
	c := &cobra.Command{
		Use:   "passwd",
		Short: "Change the password of a device, or close it by the keyring",
		Long: `Closes the chosen device in another way from now on: by a new password, typed
twice or in a file, or by the system's keyring. Copies of the device's file made
before still open with the old password.`,
		Example: `  parsec device passwd
  parsec device passwd --new-keyring`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return r.passwd(c, file, keyring) },
	}
	c.Flags().StringVar(&file, "new-password-file", "", "`file` with the new password")
	c.Flags().BoolVar(&keyring, "new-keyring", false, "have the system's keyring close it")
	c.MarkFlagsMutuallyExclusive("new-password-file", "new-keyring")
	return c
}

func (r *run) passwd(c *cobra.Command, file string, keyring bool) (err error) {
	p, err := r.Place(c)
	if err != nil {
		return err
	}
	f, err := r.Pick(p.Home, r.DeviceName)
	if err != nil {
		return err
	}
	if file == "" && !keyring && !r.Console.Interactive() {
		return frame.Missing("change password", "--new-password-file or --new-keyring", "the new one is needed")
	}
	claim, err := home.Hold(p.Home, f.Device, p.Holder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claim.Release()) }()
	old, err := r.Lock(c.Context(), f)
	if err != nil {
		return err
	}
	d, err := device.Open(f.Path, old)
	if err != nil {
		return err
	}
	lock, err := r.NewLock(c.Context(), file, keyring)
	if err != nil {
		return err
	}
	if err := d.Relock(f.Path, lock); err != nil {
		return err
	}
	r.Console.Note("device %q is closed by a %s now", f.Label, lock.Method())
	return nil
}

func (r *run) deviceForget() *cobra.Command {
	return &cobra.Command{
		Use:   "forget NAME|ID",
		Short: "Delete a device's keys and local state from this computer",
		Long: `Deletes a device from this computer, with its keys and all that it remembers.
Nothing on the server is deleted, and the organization still knows the device.
Without another device you will need a new invitation.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: r.CompleteDevice,
		RunE: func(c *cobra.Command, args []string) error {
			p, err := r.Place(c)
			if err != nil {
				return err
			}
			f, err := r.Pick(p.Home, args[0])
			if err != nil {
				return err
			}
			claim, err := home.Hold(p.Home, f.Device, p.Holder)
			if err != nil {
				return err
			}
			if err := device.Forget(f, r.Keyring); err != nil {
				return errors.Join(err, claim.Release())
			}
			if err := claim.Remove(); err != nil {
				return fault.Errorf(fault.Failed, "forget device: %w", err)
			}
			r.Console.Note("device %q of %s is deleted here", f.Label, f.Email)
			return nil
		},
	}
}
