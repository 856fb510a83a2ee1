package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"parsec/internal/client/agent"
	"parsec/internal/client/webdav"
)

func (r *run) webdav() *cobra.Command {
	var f webdavFlags
	c := &cobra.Command{
		Use:   "webdav [WORKSPACE:]",
		Short: "Serve the workspaces to this machine's file managers, as WebDAV",
		Long: `Serves all workspaces as folders, or one workspace, by WebDAV, to which file
managers on macOS, Windows and Linux connect without a driver. It prints where
it answers, and the user and the password to connect with, which are new each
time and shown nowhere else.

Only programs on this machine can connect. What is written is kept on this
device, encrypted, and sent by itself, also when the server was away.

The command ends by Ctrl-C, or with the agent. With --background it returns when
somebody answers, starts an agent where none runs, and that serves until it
ends. Locks, and properties that only their own client understands, end with the
serving.

With --at, what was there at an earlier time is served, and nothing can be
changed. ` + aboutTime,
		Example: `  parsec webdav
  parsec webdav plans: --read-only --listen 127.0.0.1:8765
  parsec webdav plans: --at 1d`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return r.withFace(c, f.faceOptions, func(ctx context.Context, a *agent.Agent) error {
				return r.serveWebDAV(ctx, a, args, f)
			})
		},
	}
	c.Flags().BoolVar(&f.background, "background", false, "return when somebody answers, and leave the agent running")
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:0", "`address` to answer at; port 0 is one that is free")
	c.Flags().BoolVar(&f.readOnly, "read-only", false, "let nothing be changed")
	c.Flags().BoolVar(&f.open, "insecure-http", false, "answer other machines too, if --listen says so: password and files cross the network in clear")
	f.flag(c, "serve what was there at `TIME`")
	return c
}

// webdavFlags are the flags of the command.
type webdavFlags struct {
	faceOptions
	listen string
	open   bool
}

// serveWebDAV serves until the command is to end.
func (r *run) serveWebDAV(ctx context.Context, a *agent.Agent, args []string, f webdavFlags) error {
	l, err := webdav.Listen(ctx, f.listen, f.open)
	if err != nil {
		return err
	}
	view, err := r.view(ctx, a, args, f.faceOptions)
	if err != nil {
		_ = l.Close() // nobody has connected
		return err
	}
	access := webdav.Access{Password: webdav.NewPassword(), Addresses: f.open}
	s := webdav.Start(l, webdav.Guard(webdav.New(view, webdav.Config{ReadOnly: f.readOnly || f.given()}), access))
	if err := a.Keep(s); err != nil {
		return err
	}
	fmt.Fprintf(r.Stdout, "serving %s\nuser %s\npassword %s\n", s.URL(), webdav.User, access.Password)
	if f.background {
		return nil
	}
	return stayWith(ctx, a, s)
}
