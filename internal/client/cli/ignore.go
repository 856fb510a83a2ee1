package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"parsec/internal/client/agent"
	"parsec/internal/client/ignore"
	"parsec/internal/client/syncer"
	"parsec/internal/cmdline"
)

func (r *run) ignore() *cobra.Command {
	c := &cobra.Command{
		Use:   "ignore",
		Short: "Choose which names stay on this device",
		Long: `What is made under an ignored name stays on this device, with all below it:
programs here see it, the server and other people never do. That is for the
temporary files of editors and systems. It begins with these patterns:

` + defaults() + `
A pattern is for one name, without the folders above it: * stands for any
characters, ? for one, [a-z] for one of these, and \ takes the meaning of the
next one. Upper and lower case differ. The list is this device's own; it stands
encrypted on the disk, and a change of it counts at once, for an agent too.

What is in sync already, or waits to be sent, stays so when a pattern is added
that matches its name, and when it is renamed to such a name. What is renamed
from an ignored name to another one is shared from then on, and so is what takes
the place of something shared, as when a program saves a file. When a pattern is
removed, what it held back is sent with the next sync.`,
		Example: `  parsec ignore add '*.tmp' node_modules
  parsec ignore remove '*~'`,
		Args: cobra.ArbitraryArgs,
		RunE: cmdline.Group,
	}
	c.AddCommand(r.ignoreList(), r.ignoreAdd(), r.ignoreRemove(), r.ignoreReset())
	return c
}

// defaults returns the patterns that a list begins with, in lines for the help.
func defaults() string {
	const width = 76
	var b strings.Builder
	line := " "
	for _, p := range ignore.Defaults() {
		if len(line)+1+len(p) > width {
			b.WriteString(line + "\n")
			line = " "
		}
		line += " " + p
	}
	return b.String() + line + "\n"
}

func (r *run) ignoreList() *cobra.Command {
	return r.AsJSON(&cobra.Command{
		Use:   "list",
		Short: "List the patterns of names that stay on this device",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return r.withSyncing(c, func(_ context.Context, d *syncer.Device) error {
				all := append([]string{}, d.Ignored().Patterns()...)
				return r.Print(struct {
					Patterns []string `json:"patterns"`
				}{all}, func() (rows [][]string) {
					for _, p := range all {
						rows = append(rows, []string{p})
					}
					return rows
				})
			})
		},
	})
}

func (r *run) ignoreAdd() *cobra.Command {
	return &cobra.Command{
		Use:   "add PATTERN...",
		Short: "Keep what is made under more names on this device",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return r.changeIgnored(c, func(ctx context.Context, l *ignore.List) error { return l.Add(ctx, args...) })
		},
	}
}

func (r *run) ignoreRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove PATTERN...",
		Short: "Share what is made under names again, and what was held back",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return r.changeIgnored(c, func(ctx context.Context, l *ignore.List) error { return l.Remove(ctx, args...) })
		},
	}
}

func (r *run) ignoreReset() *cobra.Command {
	return &cobra.Command{
		Use:   "reset",
		Short: "Have the list as it was in the beginning",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return r.changeIgnored(c, func(ctx context.Context, l *ignore.List) error { return l.Reset(ctx) })
		},
	}
}

func (r *run) changeIgnored(c *cobra.Command, change func(context.Context, *ignore.List) error) error {
	return r.withSyncing(c, func(ctx context.Context, d *syncer.Device) error {
		return d.ChangeIgnored(ctx, func(l *ignore.List) error { return change(ctx, l) })
	})
}

// withSyncing calls act with the workspaces of the device, and asks the server for
// nothing.
func (r *run) withSyncing(c *cobra.Command, act func(context.Context, *syncer.Device) error) error {
	return r.WithAgent(c, func(ctx context.Context, a *agent.Agent) error {
		d, err := a.Syncing(ctx)
		if err != nil {
			return err
		}
		return act(ctx, d)
	})
}
