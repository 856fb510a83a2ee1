package main

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
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

// units are those of sizes, from the largest.
var units = []struct {
	name string
	size uint64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"T", 1 << 40},
	{"G", 1 << 30},
	{"M", 1 << 20},
	{"K", 1 << 10},
	{"B", 1},
}

// byteSize is a flag for a number of bytes, as 10GiB or 500MB.
type byteSize uint64

// Type implements pflag.Value.
func (*byteSize) Type() string { return "size" }

// String implements pflag.Value.
func (b *byteSize) String() string { return decimal(uint64(*b)) }

// Set implements pflag.Value.
func (b *byteSize) Set(text string) error {
	number, unit := strings.TrimSpace(text), uint64(1)
	for _, u := range units {
		if rest, found := strings.CutSuffix(number, u.name); found {
			number, unit = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || n > math.MaxUint64/unit {
		return fault.Errorf(fault.Usage, "%q is not a size, as 10GiB", text)
	}
	*b = byteSize(n * unit)
	return nil
}
