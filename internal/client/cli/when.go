package cli

import (
	"time"

	"github.com/spf13/cobra"

	"parsec/internal/client/history"
)

// aboutTime is what the help of commands says of the flag's value.
const aboutTime = `TIME is 2026-11-01, "2026-11-01 15:04" or 2026-11-01T15:04:05Z;
or how long ago, as in 90m, 2h or 3d; or @57 for what was there after record 57
of ` + "`parsec log`" + `. A day or a minute means its beginning, a second its end.`

// when is the flag that says of which time something is shown.
type when struct{ text string }

// flag gives a command the flag.
func (w *when) flag(c *cobra.Command, usage string) { c.Flags().StringVar(&w.text, "at", "", usage) }

// given reports whether the flag was given.
func (w *when) given() bool { return w.text != "" }

// moment returns the moment that is meant, if one was given.
func (w *when) moment() (history.Moment, error) {
	if !w.given() {
		return history.Moment{}, nil
	}
	return history.ParseMoment(w.text, time.Now())
}
