package cmdline

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"parsec/internal/base/fault"
)

// Manuals is the command of a program that writes its manual.
func Manuals(program, prefix string) *cobra.Command {
	var markdown bool
	c := &cobra.Command{
		Use:   "man FOLDER",
		Short: "Write the manual pages into a folder",
		Example: "  " + program + " man ~/.local/share/man/man1\n" +
			"  " + program + " man --markdown .",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if markdown {
				return writePage(filepath.Join(args[0], program+".md"), func(w io.Writer) error { return Reference(w, c.Root(), prefix) })
			}
			return WriteManuals(c.Root(), args[0], prefix)
		},
	}
	c.Flags().BoolVar(&markdown, "markdown", false, "write one page of Markdown with all commands instead")
	return c
}

// WriteManuals writes the manual pages of a command, and of all below it, into
// a folder, which it makes.
func WriteManuals(root *cobra.Command, dir, prefix string) error {
	return walk(root, func(c *cobra.Command) error {
		return writePage(filepath.Join(dir, manualName(c)+".1"), func(w io.Writer) error { return Manual(w, c, prefix) })
	})
}

// writePage writes a file, and makes its folder.
func writePage(path string, content func(io.Writer) error) error {
	var page bytes.Buffer
	if err := content(&page); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fault.Errorf(fault.Failed, "make folder of manual pages: %w", err)
	}
	if err := os.WriteFile(path, page.Bytes(), 0o666); err != nil {
		return fault.Errorf(fault.Failed, "write manual page: %w", err)
	}
	return nil
}

// walk visits a command, and then those below it that help lists.
func walk(c *cobra.Command, visit func(*cobra.Command) error) error {
	if err := visit(c); err != nil {
		return err
	}
	for _, sub := range shown(c) {
		if err := walk(sub, visit); err != nil {
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
	for _, o := range options(flags, prefix) {
		fmt.Fprintf(b, ".TP\n.B %s\n%s", roff(o.name), roff(o.use))
		if o.variable != "" {
			fmt.Fprintf(b, " (%s)", roff(o.variable))
		}
		b.WriteString("\n")
	}
}

// option is a flag as the manual shows it.
type option struct {
	// name is how it is written, with what stands for its value.
	name, use string
	// variable gives it too; "" for a flag that no variable gives.
	variable string
}

// options returns what the manual says of flags.
func options(flags *pflag.FlagSet, prefix string) []option {
	var all []option
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, use := pflag.UnquoteUsage(f)
		o := option{name: "--" + f.Name, use: use}
		if f.Shorthand != "" {
			o.name = "-" + f.Shorthand + ", " + o.name
		}
		o.name = strings.TrimSpace(o.name + " " + value)
		if value != "" && f.DefValue != "" && f.DefValue != "0" && f.DefValue != "[]" {
			o.use += " (default " + f.DefValue + ")"
		}
		if f.Name != "help" && f.Name != "version" {
			o.variable = Variable(prefix, f.Name)
		}
		all = append(all, o)
	})
	return all
}

// roff escapes what has a meaning in man(7).
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		return `\&` + text
	}
	return text
}
