package cmdline

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"parsec/internal/base/fault"
)

// WriteManuals writes the manual pages of a command, and of all below it, into
// a folder, which it makes.
func WriteManuals(root *cobra.Command, dir, prefix string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fault.Errorf(fault.Failed, "make folder of manual pages: %w", err)
	}
	var page strings.Builder
	if err := Manual(&page, root, prefix); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, manualName(root)+".1"), []byte(page.String()), 0o666); err != nil {
		return fault.Errorf(fault.Failed, "write manual page: %w", err)
	}
	for _, c := range shown(root) {
		if err := WriteManuals(c, dir, prefix); err != nil {
			return err
		}
	}
	return nil
}

func manualName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// shown returns the subcommands that help lists.
func shown(c *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			all = append(all, sub)
		}
	}
	return all
}

// Manual writes the manual page of a command in the language of man(7).
func Manual(w io.Writer, c *cobra.Command, prefix string) error {
	var b strings.Builder
	name := manualName(c)
	fmt.Fprintf(&b, ".TH \"%s\" 1 \"\" \"%s\"\n", roff(strings.ToUpper(name)), roff(c.Root().Name()+" "+c.Root().Version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	b.WriteString(".SH DESCRIPTION\n")
	manualText(&b, long)
	if c.Example != "" {
		b.WriteString(".SH EXAMPLES\n")
		manualText(&b, c.Example)
	}
	manualFlags(&b, "OPTIONS", c.NonInheritedFlags(), prefix)
	manualFlags(&b, "GLOBAL OPTIONS", c.InheritedFlags(), prefix)
	var related []string
	if c.HasParent() {
		related = append(related, fmt.Sprintf(".BR %s (1)", roff(manualName(c.Parent()))))
	}
	for _, sub := range shown(c) {
		related = append(related, fmt.Sprintf(".BR %s (1)", roff(manualName(sub))))
	}
	if len(related) > 0 {
		fmt.Fprintf(&b, ".SH SEE ALSO\n%s\n", strings.Join(related, "\n"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// manualText writes paragraphs. Those that are indented stand as they are.
func manualText(b *strings.Builder, text string) {
	for _, paragraph := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		literal := strings.HasPrefix(paragraph, " ") || strings.HasPrefix(paragraph, "\t")
		b.WriteString(".PP\n")
		if literal {
			b.WriteString(".nf\n")
		}
		for line := range strings.SplitSeq(paragraph, "\n") {
			b.WriteString(roff(line) + "\n")
		}
		if literal {
			b.WriteString(".fi\n")
		}
	}
}

func manualFlags(b *strings.Builder, title string, flags *pflag.FlagSet, prefix string) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, use := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s", roff(strings.TrimSpace(name+" "+value)), roff(use))
		if f.Name != "help" && f.Name != "version" {
			fmt.Fprintf(b, " (%s)", roff(Variable(prefix, f.Name)))
		}
		b.WriteString("\n")
	})
}

// roff escapes what has a meaning in man(7).
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		return `\&` + text
	}
	return text
}
