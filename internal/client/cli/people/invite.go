package people

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/cli/frame"
	"parsec/internal/client/session"
	"parsec/internal/cmdline"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
)

func (r *run) invite() *cobra.Command {
	c := &cobra.Command{
		Use:   "invite",
		Short: "Invite people and devices, and let them in",
		Long: `Inviting takes three steps. ` + "`parsec invite user EMAIL`" + ` makes a link, which you
send by any way you like. Then both run a command at the same time, you
` + "`parsec invite greet TOKEN`" + ` and the other side ` + "`parsec invite claim URL`" + `.
Each is shown a code of four characters, and types what the other reads out,
best over the phone. That keeps the server from taking anybody's place.`,
		Args: cobra.ArbitraryArgs, RunE: cmdline.Group,
	}
	c.AddCommand(r.inviteUser(), r.inviteDevice(), r.inviteList(), r.inviteCancel(), r.inviteGreet(), r.inviteClaim())
	return c
}

// link is a new invitation in JSON.
type link struct {
	Token string `json:"token"`
	URL   string `json:"url"`
}

// printInvitation prints an invitation just made, and what comes next.
func (r *run) printInvitation(inv session.Invitation) error {
	l := link{inv.Token.String(), inv.Link.String()}
	err := r.Print(l, func() [][]string { return [][]string{{"url", l.URL}, {"token", l.Token}} })
	if err == nil {
		r.Console.Note("send the url; then run `parsec invite greet %s` while the other side runs `parsec invite claim URL`", l.Token)
	}
	return err
}

// mailed is a new invitation of a person in JSON.
type mailed struct {
	link
	Mailed bool `json:"mailed"`
}

// printMailed prints an invitation of a person just made, and whether a mail
// was sent. It fails where one was demanded and was not.
func (r *run) printMailed(inv session.Invitation, wanted, demanded bool) error {
	l := mailed{link{inv.Token.String(), inv.Link.String()}, inv.Mailed.Sent}
	if err := r.Print(l, func() [][]string {
		return [][]string{{"url", l.URL}, {"token", l.Token}, {"mailed", fmt.Sprint(l.Mailed)}}
	}); err != nil {
		return err
	}
	switch {
	case l.Mailed:
		r.Console.Note("a mail with the url was sent to %s; then run `parsec invite greet %s` while the other side runs `parsec invite claim URL`", inv.Email, l.Token)
	case demanded:
		return fault.WithHint(fault.Errorf(fault.Failed, "no mail was sent to %s: %s", inv.Email, inv.Mailed.Problem), "the invitation is made; send the url yourself")
	default:
		if wanted && inv.Mailed.Problem != "" {
			r.Console.Note("no mail was sent: %s", inv.Mailed.Problem)
		}
		r.Console.Note("send the url; then run `parsec invite greet %s` while the other side runs `parsec invite claim URL`", l.Token)
	}
	return nil
}

func (r *run) inviteUser() *cobra.Command {
	var profile string
	var byMail, noMail bool
	c := &cobra.Command{
		Use:   "user EMAIL",
		Short: "Invite a person to the organization",
		Long: `Makes an invitation, and prints its url. Where the server sends mails, it sends
the url to the address too, and this command says whether it did. The invitation
is there also where it could not.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := parseProfile(profile)
			if err != nil {
				return err
			}
			if byMail && noMail {
				return fault.Errorf(fault.Usage, "--mail and --no-mail exclude each other")
			}
			return r.With(c, func(ctx context.Context, s *session.Session) error {
				invite := s.InviteUserByMail
				if noMail {
					invite = s.InviteUser
				}
				inv, err := invite(ctx, args[0], p)
				if err != nil {
					return err
				}
				return r.printMailed(inv, !noMail, byMail)
			})
		},
	}
	c.Flags().StringVar(&profile, "profile", record.ProfileStandard.String(), "what the person may do: admin, standard or outsider")
	c.Flags().BoolVar(&byMail, "mail", false, "fail where the server sends no mail; the invitation is made all the same")
	c.Flags().BoolVar(&noMail, "no-mail", false, "have the server send no mail")
	r.Complete(c, "profile", cobra.FixedCompletions([]string{"admin", "standard", "outsider"}, cobra.ShellCompDirectiveNoFileComp))
	return r.AsJSON(c)
}

func (r *run) inviteDevice() *cobra.Command {
	return r.AsJSON(&cobra.Command{
		Use:   "device",
		Short: "Invite another device of your own",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return r.With(c, func(ctx context.Context, s *session.Session) error {
				inv, err := s.InviteDevice(ctx)
				if err != nil {
					return err
				}
				return r.printInvitation(inv)
			})
		},
	})
}

// pending is an open invitation in JSON.
type pending struct {
	link
	Type      string  `json:"type"`
	Email     *string `json:"email"`
	Profile   *string `json:"profile"`
	CreatedAt string  `json:"created_at"`
	ExpiresAt string  `json:"expires_at"`
}

func (r *run) inviteList() *cobra.Command {
	return r.AsJSON(&cobra.Command{
		Use:   "list",
		Short: "List your open invitations",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return r.With(c, func(ctx context.Context, s *session.Session) error {
				open, err := s.Invitations(ctx)
				if err != nil {
					return err
				}
				all := []pending{}
				rows := [][]string{{"TOKEN", "FOR", "PROFILE", "EXPIRES", "URL"}}
				for _, inv := range open {
					p := pending{
						link: link{inv.Token.String(), inv.Link.String()}, Type: inv.Type.String(),
						CreatedAt: cmdline.Time(inv.Created), ExpiresAt: cmdline.Time(inv.Expires),
					}
					who, profile := "a device of yours", "-"
					if inv.Type == invitation.ForUser {
						who, profile = inv.Email, inv.Profile.String()
						p.Email, p.Profile = &who, &profile
					}
					all = append(all, p)
					rows = append(rows, []string{p.Token, who, profile, cmdline.LocalTime(inv.Expires), p.URL})
				}
				return r.Print(all, func() [][]string { return rows })
			})
		},
	})
}

// parseToken reads a token, or the link that has it.
func parseToken(text string) (id.Token, error) {
	if strings.Contains(text, "://") {
		l, err := invitation.ParseLink(text)
		return l.Token, err
	}
	t, err := id.Parse[id.Token](text)
	if err != nil {
		return t, fault.WithHint(fault.Errorf(fault.Usage, "%q is not the token of an invitation", text), "`parsec invite list` shows those that are open")
	}
	return t, nil
}

func (r *run) inviteCancel() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel TOKEN",
		Short: "Cancel an invitation",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseToken(args[0])
			if err != nil {
				return err
			}
			return r.With(c, func(ctx context.Context, s *session.Session) error { return s.CancelInvitation(ctx, t) })
		},
	}
}

// codes shows one code and asks for the other.
type codes struct {
	r *run
	// stdin reads codes line by line, whoever writes them.
	stdin bool
}

var _ session.Codes = codes{}

func codesFlag(c *cobra.Command, stdin *bool) {
	c.Flags().BoolVar(stdin, "codes-stdin", false, "read the other side's code from standard input, line by line")
}

// check fails where nobody could be asked for a code, before an attempt is
// begun: there are not many.
func (c codes) check(what string) error {
	if !c.stdin && !c.r.Console.Interactive() {
		return frame.Missing(what, "--codes-stdin", "the other side's code is needed")
	}
	return nil
}

// Show implements [session.Codes].
func (c codes) Show(code string) error {
	_, err := fmt.Fprintf(c.r.Stdout, "your code: %s\n", code)
	return err
}

// Ask implements [session.Codes].
func (c codes) Ask(ctx context.Context) (string, error) {
	if c.stdin {
		return c.r.Console.ReadLine(ctx)
	}
	return c.r.Console.Line(ctx, "the code that the other side reads out: ")
}

// Tell implements [session.Codes].
func (c codes) Tell(what string) { c.r.Console.Note("%s", what) }

func (r *run) inviteGreet() *cobra.Command {
	how := codes{r: r}
	c := &cobra.Command{
		Use:   "greet TOKEN",
		Short: "Let in the person or device that you invited",
		Long: `Waits for the other side, shows your code, and asks for the other one. When both
are right, the newcomer is signed into the organization's log. A wrong code on
either side ends the attempt, and both start again.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseToken(args[0])
			if err != nil {
				return err
			}
			if err := how.check("greet"); err != nil {
				return err
			}
			return r.With(c, func(ctx context.Context, s *session.Session) error {
				if err := s.Greet(ctx, t, how); err != nil {
					return err
				}
				r.Console.Note("done: the newcomer is in")
				return nil
			})
		},
	}
	codesFlag(c, &how.stdin)
	return c
}

func (r *run) inviteClaim() *cobra.Command {
	how := codes{r: r}
	var n session.Newcomer
	c := &cobra.Command{
		Use:   "claim URL",
		Short: "Open an invitation, and make this computer your device",
		Long: `Opens an invitation that somebody sent you. Waits for that person, asks for the
code that they read to you, and shows yours. Keys are made here and never leave
this computer; the new device is closed by a password, or by the keyring.`,
		Example: `  parsec invite claim 'http://localhost:6770/invite#...' --name Bob`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			l, err := invitation.ParseLink(args[0])
			if err != nil {
				return err
			}
			if n.Label, err = labelOrDefault(n.Label); err != nil {
				return err
			}
			if err := how.check("claim"); err != nil {
				return err
			}
			return r.claim(c, l, n, how)
		},
	}
	c.Flags().StringVar(&n.Name, "name", "", "your `name`, as others will see it; not asked for a further device")
	labelFlag(c, &n.Label)
	codesFlag(c, &how.stdin)
	return c
}

func (r *run) claim(c *cobra.Command, l invitation.Link, n session.Newcomer, how codes) error {
	p, err := r.Place(c)
	if err != nil {
		return err
	}
	ctx := c.Context()
	h, err := p.Claim(ctx, l, func(st invitation.Statement) (session.Newcomer, error) {
		var err error
		if st.Type == invitation.ForUser {
			r.Console.Note("you are invited to the organization %.16s on %s as %s (%s)", st.Organization, l.Server, st.Email, st.Profile)
			n.Name, err = r.ask(ctx, "claim", n.Name, "your name: ", "--name")
		} else {
			r.Console.Note("this computer is invited as another device of yours, to the organization %.16s on %s", st.Organization, l.Server)
		}
		if err == nil {
			n.Lock, err = r.NewLock(ctx, r.PasswordFile, r.UseKeyring)
		}
		return n, err
	}, how)
	if h == nil {
		return err
	}
	if err == nil {
		r.Console.Note("device %q of %s in %s is ready", n.Label, h.Device().Email, h.Device().OrganizationName)
	}
	return r.Close(ctx, h, err)
}
