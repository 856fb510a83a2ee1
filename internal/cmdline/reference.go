package cmdline

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Reference writes one page of Markdown about a program: what it is, a list of
// its commands, and each of them with its flags.
func Reference(w io.Writer, root *cobra.Command, prefix string) error {
	var list, sections strings.Builder
	err := walk(root, func(c *cobra.Command) error {
		if c == root || c.Name() == "help" || c.Parent().Name() == "completion" {
			return nil // the last two come with the library, and say themselves what they do
		}
		if !c.HasAvailableSubCommands() || c.Name() == "completion" {
			fmt.Fprintf(&list, "* [`%s`](#%s): %s\n", c.CommandPath(), manualName(c), c.Short)
		}
		fmt.Fprintf(&sections, "\n## %s\n\n%s.\n\n    %s\n", c.CommandPath(), c.Short, c.UseLine())
		referenceBody(&sections, c, prefix)
		return nil
	})
	if err != nil {
		return err
	}
	var page strings.Builder
	fmt.Fprintf(&page, "# %s\n\n%s. This page is made by the program itself.\n", root.Name(), root.Short)
	referenceBody(&page, root, prefix)
	fmt.Fprintf(&page, "\n## Commands\n\n%s%s", &list, &sections)
	_, err = io.WriteString(w, page.String())
	return err
}

func referenceBody(b *strings.Builder, c *cobra.Command, prefix string) {
	referenceText(b, c.Long)
	if c.Example != "" {
		referenceText(b, "For example:\n\n"+c.Example)
	}
	referenceFlags(b, c, prefix)
}

// referenceText writes paragraphs. Indented lines stand as they are.
func referenceText(b *strings.Builder, text string) {
	if text == "" {
		return
	}
	for line := range strings.Lines("\n" + strings.Trim(text, "\n")) {
		line = strings.TrimRight(line, "\n")
		if literal, indented := strings.CutPrefix(line, "  "); indented {
			line = "    " + literal
		}
		b.WriteString(line + "\n")
	}
}

// referenceFlags lists the flags of a command, and says where the others are.
func referenceFlags(b *strings.Builder, c *cobra.Command, prefix string) {
	var lines []string
	for _, o := range options(c.NonInheritedFlags(), prefix) {
		if o.variable != "" { // the others are the same everywhere
			lines = append(lines, fmt.Sprintf("* `%s`: %s\n", o.name, o.use))
		}
	}
	for p := c.Parent(); p != nil; p = p.Parent() {
		if p.HasAvailablePersistentFlags() {
			lines = append(lines, fmt.Sprintf("* the flags of [`%s`](#%s)\n", p.CommandPath(), manualName(p)))
		}
	}
	if len(lines) > 0 {
		b.WriteString("\n" + strings.Join(lines, ""))
	}
}
