package cmdline

import (
	"math"
	"strconv"
	"strings"

	"parsec/internal/base/fault"
)

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

// ByteSize is a flag, or a value of a configuration file, for a number of bytes,
// as 10GiB or 500MB.
type ByteSize uint64

// Type implements pflag.Value.
func (*ByteSize) Type() string { return "size" }

// String implements pflag.Value.
func (b *ByteSize) String() string { return strconv.FormatUint(uint64(*b), 10) }

// Set implements pflag.Value.
func (b *ByteSize) Set(text string) error {
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
	*b = ByteSize(n * unit)
	return nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (b *ByteSize) UnmarshalText(text []byte) error { return b.Set(string(text)) }
