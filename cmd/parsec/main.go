// Command parsec shares folders through a server that learns nothing. This
// package gives the command line its surroundings; the rest is in internal/client/cli.
package main

import (
	"context"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"parsec/internal/client/cli"
	"parsec/internal/client/cli/frame"
	"parsec/internal/client/demo"
	"parsec/internal/client/device"
)

func main() { os.Exit(run(device.SystemKeyring{})) }

// run runs the program and returns its exit status. The first signal ends it in
// an orderly way, a second one at once.
func run(ring device.Keyring) int {
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer restore()
	defer context.AfterFunc(ctx, restore)()
	executable, err := os.Executable()
	if err != nil {
		executable = os.Args[0]
	}
	return cli.Run(ctx, frame.Program{
		Args: os.Args[1:], Name: os.Args[0], Executable: executable,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Environment: os.LookupEnv,
		Variables:   os.Environ(),
		Proxy:       http.ProxyFromEnvironment,
		Keyring:     ring,
	}, demo.Command())
}
