package cli

import (
	"strings"

	"parsec/internal/base/fault"
)

// address is one argument of the commands on files.
type address struct {
	text string
	// workspace is empty for a local path, and for a stream.
	workspace string
	// path is in the workspace, or local.
	path   string
	stream bool
}

// parseAddress reads an argument as scp does: what has a colon before any
// slash is in a workspace.
func parseAddress(text, goos string) address {
	if text == "-" {
		return address{text: text, stream: true}
	}
	name, path, found := strings.Cut(text, ":")
	if !found || name == "" || strings.ContainsRune(name, '/') || goos == "windows" && isDrive(name) {
		return address{text: text, path: text}
	}
	return address{text: text, workspace: name, path: path}
}

// isDrive reports whether a name is that of a drive, or a path on Windows.
func isDrive(name string) bool { return len(name) == 1 || strings.ContainsRune(name, '\\') }

func (a address) remote() bool { return a.workspace != "" }

func (a address) local() bool { return a.workspace == "" && !a.stream }

// endsInDot reports whether a path means what is in a folder rather than the
// folder.
func endsInDot(path string) bool {
	last := path[strings.LastIndexByte(path, '/')+1:]
	return last == "." || last == ".."
}

// parseRemote reads an argument that must be in a workspace.
func parseRemote(text, goos string) (address, error) {
	a := parseAddress(text, goos)
	if !a.remote() {
		return a, fault.WithHint(fault.Errorf(fault.Usage, "%q is not a path in a workspace", text),
			"write workspace:/path; `parsec workspace list` shows your workspaces")
	}
	return a, nil
}
