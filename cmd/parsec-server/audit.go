package main

import (
	"math"
	"time"

	"github.com/spf13/cobra"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
)

// deed is an entry of the audit trail as JSON and tables show it.
type deed struct {
	At      *string       `json:"at"`
	Act     id.Act        `json:"act"`
	Token   id.AdminToken `json:"token"`
	What    string        `json:"what"`
	Subject string        `json:"subject"`
	Outcome string        `json:"outcome"`
}

func auditCommand() *cobra.Command {
	var a adminFlags
	var since string
	c := &cobra.Command{
		Use:   "audit",
		Short: "Show what administrators did",
		Long: `Shows what was done with the administrator's token, the oldest first: when, with
which token (its id, which opens nothing), what, to what, and the outcome. Each act
has an entry "begun", and another with its outcome: "ok", or why it was refused.
An act without the second was under way when its server ended.

The trail can only be added to.`,
		Example: `  parsec-server audit --since 2026-01-31
  parsec-server audit --json --since 24h`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := sinceOf(since, time.Now())
			if err != nil {
				return err
			}
			all, err := a.deeds(c, from)
			if err != nil {
				return err
			}
			rows := [][]string{{"TIME", "TOKEN", "WHAT", "SUBJECT", "OUTCOME"}}
			for _, d := range all {
				rows = append(rows, []string{text(d.At), d.Token.String(), d.What, d.Subject, d.Outcome})
			}
			return printed(c, a.json, all, rows)
		},
	}
	a.register(c)
	c.Flags().StringVar(&since, "since", "", "`time` from which on: a day as 2026-01-31, an RFC 3339 time, or how long ago, as 24h (default all)")
	return c
}

// deeds asks for the whole trail, a page at a time.
func (a *adminFlags) deeds(c *cobra.Command, since int64) ([]deed, error) {
	api, err := a.connect()
	if err != nil {
		return nil, err
	}
	all, after := []deed{}, int64(0)
	for {
		m, err := ask(c.Context(), api.ListDeeds, &parsecv1.ListDeedsRequest{Since: since, After: after})
		if err != nil || len(m.GetDeeds()) == 0 {
			return all, err
		}
		for _, d := range m.GetDeeds() {
			act, err := id.FromBytes[id.Act](d.GetAct())
			if err != nil {
				return nil, fault.Errorf(fault.Failed, "read the server's answer: %w", err)
			}
			if len(d.GetToken()) != id.Size {
				return nil, fault.Errorf(fault.Failed, "read the server's answer: the id of a token has %d bytes", len(d.GetToken()))
			}
			all = append(all, deed{moment(d.GetAt()), act, id.AdminToken(d.GetToken()), d.GetWhat(), d.GetSubject(), d.GetOutcome()})
			after = d.GetNumber()
		}
	}
}

// sinceOf reads a time, in nanoseconds since the Unix epoch; 0 for none.
func sinceOf(text string, now time.Time) (int64, error) {
	if text == "" {
		return 0, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return nanoseconds(t), nil
		}
	}
	ago, err := time.ParseDuration(text)
	if err != nil || ago < 0 {
		return 0, fault.Errorf(fault.Usage, "read --since: %q is not a time, as 2026-01-31, 2026-01-31T10:00:00Z or 24h", text)
	}
	return nanoseconds(now.Add(-ago)), nil
}

// nanoseconds returns a time since the Unix epoch, or the nearest that can be
// said so.
func nanoseconds(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, 0)):
		return 0
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}
