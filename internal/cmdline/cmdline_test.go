package cmdline_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/cmdline"
)

func TestSafeShowsWhatWouldAct(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"plain text stays", "roof.txt", "roof.txt"},
		{"so do letters of all scripts, and spaces", "Übersicht 名簿 ok", "Übersicht 名簿 ok"},
		{"a sign that is joined of several stays", "👩\u200d🚀", "👩\u200d🚀"},
		{"a colour is spelled out", "a\x1b[31mb", `a\x1b[31mb`},
		{"so are lines and tabs", "a\nb\tc\rd", `a\nb\tc\rd`},
		{"and a bell, and delete", "\a\x7f", `\a\x7f`},
		{"and the second half of control characters", "a\u009b31m", `a\u009b31m`},
		{"text that turns the direction is spelled out", "fdp\u202etxt.exe", `fdp\u202etxt.exe`},
		{"bytes that are no text are spelled out", "a\xffb", `a\xffb`},
		{"a mark for bytes that are no text stays", "a\ufffdb", "a\ufffdb"},
		{"quotes stay", `it's "so"`, `it's "so"`},
	} {
		if got := cmdline.Safe(c.text); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSizesAreForPeople(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 3 << 30: "3.0 GiB", 1<<64 - 1: "16.0 EiB",
	} {
		if got := cmdline.Size(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestTimesAreForScriptsInUTC(t *testing.T) {
	if got, want := cmdline.Time(1_700_000_000_000_000_001), "2023-11-14T22:13:20.000000001Z"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnErrorIsOneLineAndAHint(t *testing.T) {
	broken := fault.WithHint(fault.Broken("no rollback", "the log of %q ends", "a\nb"), "tell\nsomebody")
	for _, c := range []struct {
		name    string
		err     error
		verbose bool
		want    string
	}{
		{"a plain error", errors.New("open x: no"), false, "parsec: open x: no\n"},
		{"two errors become one line", errors.Join(errors.New("a"), errors.New("b")), false, "parsec: a; b\n"},
		{"nothing acts on the terminal", errors.New("no \x1b[2J"), false, "parsec: no \\x1b[2J\n"},
		{"a hint has its own line", broken, false, "parsec: broken promise (no rollback): the log of \"a\\nb\" ends\nhint: tell; somebody\n"},
		{
			"verbose says what scripts decide on", broken, true,
			"parsec: broken promise (no rollback): the log of \"a\\nb\" ends\nhint: tell; somebody\n" +
				"detail: kind \"integrity\", exit status 6, promise \"no rollback\"\n",
		},
	} {
		var b bytes.Buffer
		cmdline.Complain(&b, "parsec", c.err, c.verbose)
		if diff := cmp.Diff(c.want, b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// program is a small tree of commands that tells what it was called with.
func program(environment map[string]string) (*cobra.Command, *string) {
	var name, told string
	var many bool
	root := &cobra.Command{Use: "tool", Short: "Do things", Args: cobra.ArbitraryArgs, RunE: cmdline.Group, SilenceErrors: true, SilenceUsage: true}
	root.PersistentFlags().BoolVar(&many, "so-many", false, "more")
	greet := &cobra.Command{
		Use: "greet WHO", Short: "Say hello", Args: cobra.ExactArgs(1),
		Long:    "Says hello.\n\n  .indented lines stay\n\nAnd -so on.",
		Example: "  tool greet --your-name me you",
		RunE: func(_ *cobra.Command, args []string) error {
			told = fmt.Sprint(name, " ", many, " ", args)
			return nil
		},
	}
	greet.Flags().StringVarP(&name, "your-name", "n", "nobody", "the `name` to use")
	root.AddCommand(greet, &cobra.Command{Use: "secret", Short: "Not shown", Hidden: true, Run: func(*cobra.Command, []string) {}})
	cmdline.Prepare(root, "TOOL", func(name string) (string, bool) {
		value, ok := environment[name]
		return value, ok
	})
	return root, &told
}

func TestFlagsComeFromTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		name        string
		args        string
		environment map[string]string
		want        string
	}{
		{"without either, the default counts", "greet you", nil, "nobody false [you]"},
		{"a variable gives a flag", "greet you", map[string]string{"TOOL_YOUR_NAME": "env"}, "env false [you]"},
		{"also a flag of all commands", "greet you", map[string]string{"TOOL_SO_MANY": "true"}, "nobody true [you]"},
		{"the command line comes first", "greet you -n arg", map[string]string{"TOOL_YOUR_NAME": "env"}, "arg false [you]"},
		{"an empty variable is none", "greet you", map[string]string{"TOOL_SO_MANY": ""}, "nobody false [you]"},
		{"help is no variable", "greet you", map[string]string{"TOOL_HELP": "true"}, "nobody false [you]"},
	} {
		root, told := program(c.environment)
		root.SetArgs(strings.Fields(c.args))
		if err := root.Execute(); err != nil || *told != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.name, *told, err, c.want)
		}
	}
}

func TestMistakesAreUsageErrorsWithAHint(t *testing.T) {
	for _, c := range []struct {
		name, args  string
		environment map[string]string
	}{
		{"an unknown command", "frobnicate", nil},
		{"an unknown flag", "greet --frobnicate you", nil},
		{"a missing argument", "greet", nil},
		{"too many arguments", "greet a b", nil},
		{"a variable that is no value of its flag", "greet you", map[string]string{"TOOL_SO_MANY": "perhaps"}},
	} {
		root, _ := program(c.environment)
		root.SetArgs(strings.Fields(c.args))
		err := root.Execute()
		if !fault.Is(err, fault.Usage) || c.environment == nil && !strings.Contains(fault.HintOf(err), "--help") {
			t.Errorf("%s: got %v (hint %q), want a usage error with a hint", c.name, err, fault.HintOf(err))
		}
	}
}

func TestManualsAreWrittenForEachCommand(t *testing.T) {
	root, _ := program(nil)
	dir := filepath.Join(t.TempDir(), "man1")
	if err := cmdline.WriteManuals(root, dir, "TOOL"); err != nil {
		t.Fatal(err)
	}
	pages, err := os.ReadDir(dir)
	if err != nil || len(pages) != 2 || pages[0].Name() != "tool-greet.1" || pages[1].Name() != "tool.1" {
		t.Fatalf("the pages are %v, %v", pages, err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "tool-greet.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		".SH NAME\ntool\\-greet \\- Say hello\n",
		"\n.nf\n  .indented lines stay\n.fi\n", "And \\-so on.",
		".B \\-n, \\-\\-your\\-name name\nthe name to use (default nobody) (TOOL_YOUR_NAME)",
		".SH GLOBAL OPTIONS", "(TOOL_SO_MANY)", ".BR tool (1)",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

func TestTheReferenceHasAllCommandsOnOnePage(t *testing.T) {
	root, _ := program(nil)
	root.AddCommand(cmdline.Manuals("tool", "TOOL"))
	dir := filepath.Join(t.TempDir(), "docs")
	root.SetArgs([]string{"man", "--markdown", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "tool.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# tool\n\nDo things.", "\n* [`tool greet`](#tool-greet): Say hello\n",
		"\n## tool greet\n\nSay hello.\n\n    tool greet WHO [flags]\n\nSays hello.\n\n    .indented lines stay\n\nAnd -so on.\n\nFor example:\n\n    tool greet --your-name me you\n\n",
		"\n* `-n, --your-name name`: the name to use (default nobody)\n* the flags of [`tool`](#tool)\n",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if strings.Contains(string(page), "secret") {
		t.Errorf("the page names a hidden command:\n%s", page)
	}
}
