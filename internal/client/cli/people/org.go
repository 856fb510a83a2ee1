package people

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/cli/frame"
	"parsec/internal/client/device"
	"parsec/internal/client/session"
	"parsec/internal/cmdline"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
)

func (r *run) org() *cobra.Command {
	c := &cobra.Command{
		Use: "org", Short: "Create an organization, or look at yours",
		Args: cobra.ArbitraryArgs, RunE: cmdline.Group,
	}
	c.AddCommand(r.orgBootstrap(), r.orgInfo())
	return c
}

func (r *run) orgBootstrap() *cobra.Command {
	var f session.Founder
	c := &cobra.Command{
		Use:   "bootstrap URL",
		Short: "Create the organization of a link, as its first administrator",
		Long: `Creates the organization of a link that the server's operator made with
` + "`parsec-server org create`" + `. This computer becomes your first device: its keys
are made here and never leave it. A link works once; where an answer was lost,
the same command goes on where it stopped.`,
		Example: `  parsec org bootstrap 'http://localhost:6770/bootstrap#...' \
      --name "Alice" --email alice@example.com --device-label laptop`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return r.bootstrap(c, args[0], f) },
	}
	c.Flags().StringVar(&f.Name, "name", "", "your `name`, as others will see it")
	c.Flags().StringVar(&f.Email, "email", "", "your e-mail `address`")
	labelFlag(c, &f.Label)
	return r.AsJSON(c)
}

// labelFlag gives a command that makes a device the flag with its label.
func labelFlag(c *cobra.Command, label *string) {
	c.Flags().StringVar(label, "device-label", "", "what you call this device (default: this computer's name)")
}

// labelOrDefault returns a device's label, which the computer's name may be.
func labelOrDefault(label string) (string, error) {
	if label != "" {
		if err := device.CheckLabel(label); err != nil {
			return "", fault.Errorf(fault.Usage, "read --device-label: %w", err)
		}
		return label, nil
	}
	host, err := os.Hostname()
	if err != nil || device.CheckLabel(host) != nil {
		return "device", nil
	}
	return host, nil
}

func (r *run) bootstrap(c *cobra.Command, url string, f session.Founder) error {
	link, err := invitation.ParseLink(url)
	if err != nil {
		return err
	}
	if !link.Organization.IsZero() {
		return fault.WithHint(fault.Errorf(fault.Usage, "bootstrap organization: this link is an invitation"), "use `parsec invite claim` with it")
	}
	ctx := c.Context()
	if f.Label, err = labelOrDefault(f.Label); err != nil {
		return err
	}
	if f.Name, err = r.ask(ctx, "bootstrap organization", f.Name, "your name: ", "--name"); err != nil {
		return err
	}
	if f.Email, err = r.ask(ctx, "bootstrap organization", f.Email, "your e-mail address: ", "--email"); err != nil {
		return err
	}
	p, err := r.Place(c)
	if err != nil {
		return err
	}
	lock, err := r.NewLock(ctx, r.PasswordFile, r.UseKeyring)
	if err != nil {
		return err
	}
	h, err := p.Bootstrap(ctx, link, f, lock)
	if h == nil {
		return err
	}
	if err == nil {
		err = r.printInfo(ctx, h.Session)
		r.Console.Note("device %q is ready; `parsec workspace create NAME` makes your first workspace", f.Label)
	}
	return r.Close(ctx, h, err)
}

// ask returns what a flag gave, or asks for it.
func (r *run) ask(ctx context.Context, what, value, prompt, flag string) (string, error) {
	if value != "" {
		return value, nil
	}
	if !r.Console.Interactive() {
		return "", frame.Missing(what, flag, "it is not said")
	}
	return r.Console.Line(ctx, prompt)
}

// organization is an organization in JSON.
type organization struct {
	Name        string         `json:"name"`
	Server      string         `json:"server"`
	Fingerprint id.Fingerprint `json:"fingerprint"`
	Index       uint64         `json:"index"`
	Head        record.Head    `json:"head"`
	// StorageUsed is null where the server does not answer.
	StorageUsed *uint64 `json:"storage_used"`
	// StorageLimit is null where there is none, or the server does not answer.
	StorageLimit *uint64 `json:"storage_limit"`
}

func (r *run) orgInfo() *cobra.Command {
	return r.AsJSON(&cobra.Command{
		Use:   "info",
		Short: "Show your organization, and how far its log is verified",
		Long: `Shows the organization of the chosen device. The fingerprint is its identity:
whoever sees another one is in another organization. Index and head say how far
its log is verified; read them out to each other to know that the server shows
both of you the same. How much is stored, and how much may be, is what the
server says.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return r.With(c, r.printInfo)
		},
	})
}

func (r *run) printInfo(ctx context.Context, s *session.Session) error {
	at := s.Organization().Position()
	o := organization{Name: s.Organization().Name(), Server: s.Device().Server, Fingerprint: s.Device().Organization, Index: at.Index, Head: at.Head}
	stored, err := s.Server().GetUsage(ctx)
	switch {
	case err == nil:
		o.StorageUsed = &stored.Used
		if stored.Limit > 0 {
			o.StorageLimit = &stored.Limit
		}
	case !fault.Is(err, fault.Unreachable):
		return err
	}
	return r.Print(o, func() [][]string {
		return [][]string{
			{"name", o.Name},
			{"server", o.Server},
			{"fingerprint", o.Fingerprint.String()},
			{"log index", fmt.Sprint(o.Index)},
			{"log head", o.Head.String()},
			{"storage used", size(o.StorageUsed, "unknown")},
			{"storage limit", size(o.StorageLimit, "none")},
		}
	})
}

func size(n *uint64, none string) string {
	if n == nil {
		return none
	}
	return cmdline.Size(*n)
}
