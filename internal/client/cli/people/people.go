// Package people has the commands about people, devices and workspaces: who is
// there, who may do what, and how somebody comes in or goes. It reads arguments
// and prints; what is decided is decided in the packages below.
package people

import (
	"github.com/spf13/cobra"

	"parsec/internal/client/cli/frame"
)

// run is one run of the program, for the commands of this package.
type run struct{ *frame.Run }

// Workspaces returns the commands about workspaces.
func Workspaces(f *frame.Run) []*cobra.Command {
	r := &run{f}
	return []*cobra.Command{r.workspace()}
}

// People returns the commands about people and devices.
func People(f *frame.Run) []*cobra.Command {
	r := &run{f}
	return []*cobra.Command{r.org(), r.user(), r.deviceCommand(), r.invite()}
}
