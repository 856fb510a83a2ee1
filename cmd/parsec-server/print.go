package main

import (
	"time"

	"github.com/spf13/cobra"

	"parsec/internal/cmdline"
)

// printed prints a value as JSON, or rows as a table.
func printed(c *cobra.Command, asJSON bool, v any, rows [][]string) error {
	if asJSON {
		return cmdline.WriteJSON(c.OutOrStdout(), v)
	}
	return cmdline.WriteTable(c.OutOrStdout(), rows)
}

// moment returns a time as RFC 3339 in UTC, or nil for none.
func moment(nanoseconds int64) *string {
	if nanoseconds == 0 {
		return nil
	}
	s := time.Unix(0, nanoseconds).UTC().Format(time.RFC3339)
	return &s
}

// text returns what a table shows for a value that may be none.
func text(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}
