package history_test

import (
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/client/history"
)

func TestMomentsAreReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("there", 2*60*60)
	now := time.Date(2026, 11, 29, 18, 30, 15, 500, zone)
	at := func(month time.Month, day, hour, minute, second, nano int) history.Moment {
		return history.Moment{Time: time.Date(2026, month, day, hour, minute, second, nano, zone)}
	}
	const end = 999_999_999
	for text, want := range map[string]history.Moment{
		"2026-11-01":                at(11, 1, 0, 0, 0, 0),
		"2026-11-01 15:04":          at(11, 1, 15, 4, 0, 0),
		"2026-11-01T15:04":          at(11, 1, 15, 4, 0, 0),
		"2026-11-01 15:04:05":       at(11, 1, 15, 4, 5, end),
		"2026-11-01T15:04:05":       at(11, 1, 15, 4, 5, end),
		"2026-11-01T13:04:05Z":      at(11, 1, 15, 4, 5, end),
		"2026-11-01T13:04:05.5Z":    at(11, 1, 15, 4, 5, 500_000_000),
		"2026-11-01T16:04:05+03:00": at(11, 1, 15, 4, 5, end),
		"90s":                       at(11, 29, 18, 28, 45, 500),
		"2h":                        at(11, 29, 16, 30, 15, 500),
		"3d":                        at(11, 26, 18, 30, 15, 500),
		"2w":                        at(11, 15, 18, 30, 15, 500),
		"1d12h30m":                  at(11, 28, 6, 0, 15, 500),
		"@57":                       {Index: 57},
	} {
		got, err := history.ParseMoment(text, now)
		if err != nil || !got.Time.Equal(want.Time) || got.Index != want.Index {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "yesterday", "2026", "12:30", "2026-13-01", "2h ago", "h", "2", "2y", "-2h", "2h-", "1.5h", "99999999999999999999s", "9999999w", "@", "@0", "@-1", "@x",
		"2026-11-30", "2026-11-29T18:30:16+02:00", "3000-01-01",
	} {
		if got, err := history.ParseMoment(text, now); !fault.Is(err, fault.Usage) {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
}
