package history

import (
	"strconv"
	"strings"
	"time"

	"parsec/internal/base/fault"
)

// Moment says which state of a workspace is meant: that after the newest record
// which is not younger than a time, or that after a record.
type Moment struct {
	Time time.Time
	// Index is the record's, where it is not 0; Time counts for nothing then.
	Index uint64
}

// layouts are how times are written without a zone, with seconds and without.
var layouts = []string{
	"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02",
}

// units are those of a time ago.
var units = map[byte]time.Duration{
	's': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour,
}

// ParseMoment reads a moment as people write it: a time as in RFC 3339, or as at
// the place of now, such as 2026-11-01, `2026-11-01 15:04` or with seconds; how
// long ago, such as 90s, 2h, 3d, 2w or 1d12h; or @ and the index of a record. A
// day or minute means its beginning, and a second its end, since a log shows
// the times of its records so. It fails with [fault.Usage] on anything else, and
// on a time after now.
func ParseMoment(text string, now time.Time) (Moment, error) {
	if index, ok := strings.CutPrefix(text, "@"); ok {
		n, err := strconv.ParseUint(index, 10, 63)
		if err != nil || n == 0 {
			return Moment{}, fault.Errorf(fault.Usage, "read time %q: the index of a record is a number from 1 on", text)
		}
		return Moment{Index: n}, nil
	}
	at, ok := parseTime(text, now)
	switch {
	case !ok:
		return Moment{}, fault.WithHint(fault.Errorf(fault.Usage, "read time %q: it is none that is known here", text),
			"write 2026-11-01, \"2026-11-01 15:04\", 2026-11-01T15:04:05Z, how long ago as in 2h or 3d, or @57 for record 57 of `parsec log`")
	case at.After(now):
		return Moment{}, fault.WithHint(fault.Errorf(fault.Usage, "read time %q: %s is in the future", text, at.Format(time.RFC3339)),
			"nobody knows yet what will be there")
	}
	if at.Nanosecond() == 0 && strings.Count(text, ":") > 1 {
		at = at.Add(time.Second - 1)
	}
	return Moment{Time: at}, nil
}

func parseTime(text string, now time.Time) (time.Time, bool) {
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at, true
	}
	for _, layout := range layouts {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, true
		}
	}
	ago, ok := parseAgo(text)
	return now.Add(-ago), ok
}

// parseAgo reads numbers with a unit each.
func parseAgo(text string) (ago time.Duration, ok bool) {
	for text != "" {
		end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
		if end <= 0 {
			return 0, false
		}
		n, err := strconv.ParseUint(text[:end], 10, 63)
		unit := units[text[end]]
		if err != nil || unit == 0 || n > uint64(longest/unit) {
			return 0, false
		}
		if ago += time.Duration(n) * unit; ago > longest {
			return 0, false
		}
		text, ok = text[end+1:], true
	}
	return ago, ok
}

// longest is more than any workspace is old.
const longest = 200 * 365 * 24 * time.Hour
