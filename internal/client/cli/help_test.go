package cli

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"parsec/internal/client/cli/frame"
)

// commands returns all commands, with their paths.
func commands() map[string]*cobra.Command {
	r := &run{frame.New(frame.Program{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})}
	r.Environment = func(string) (string, bool) { return "", false }
	all := map[string]*cobra.Command{}
	var add func(*cobra.Command)
	add = func(c *cobra.Command) {
		all[c.CommandPath()] = c
		for _, sub := range c.Commands() {
			add(sub)
		}
	}
	add(r.root())
	return all
}

func TestHelpIsGoodToRead(t *testing.T) {
	const width = 80
	for path, c := range commands() {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || c.Short[:1] != strings.ToUpper(c.Short[:1]) {
			t.Errorf("%s: its line in the list is %q", path, c.Short)
		}
		for line := range strings.Lines(c.Long + "\n" + c.Example) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width {
				t.Errorf("%s: a line of its help has %d characters, at most %d are good to read: %q", path, n, width, line)
			}
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || f.Usage[:1] != strings.ToLower(f.Usage[:1]) || strings.HasSuffix(f.Usage, ".") {
				t.Errorf("%s: flag --%s is explained by %q", path, f.Name, f.Usage)
			}
		})
		if c.Runnable() == false || c.Args == nil {
			t.Errorf("%s does not say what arguments it takes", path)
		}
	}
}

func TestEveryListingCommandPrintsJSON(t *testing.T) {
	all := commands()
	for _, path := range []string{
		"org info", "user list", "device list", "invite user", "invite device", "invite list", "workspace list",
		"workspace members", "ls", "tree", "find", "stat", "log", "verify",
	} {
		if c, ok := all["parsec "+path]; !ok || c.Flags().Lookup("json") == nil {
			t.Errorf("parsec %s has no --json", path)
		}
	}
}
