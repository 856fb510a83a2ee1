package merge

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"parsec/internal/format/manifest"
)

const (
	opening = " (conflict, "
	// maxExtension is the longest end of a name, with its dot, that is kept
	// behind a conflict's suffix.
	maxExtension = 17
	// maxDevice is the longest part of a device's label that a suffix holds.
	maxDevice = 64
)

// ConflictName returns the name that a local entry gets when its own is taken:
// `name (conflict, DEVICE, DATE).ext`. A suffix that the name has already is
// replaced; if the result is taken too, a number follows the date. A name that
// would be too long is cut before the suffix, never within a character. A
// folder has no extension.
func ConflictName(name string, folder bool, device string, now time.Time, taken func(string) (bool, error)) (string, error) {
	stem, extension := name, ""
	if dot := strings.LastIndexByte(name, '.'); !folder && dot > 0 && len(name)-dot <= maxExtension && !strings.ContainsAny(name[dot:], " ()") {
		stem, extension = name[:dot], name[dot:]
	}
	stem = withoutSuffix(stem)
	label := fmt.Sprintf("%s%s, %s", opening, plain(device), now.UTC().Format(time.DateOnly))
	for n := 1; ; n++ {
		suffix := label + ")" + extension
		if n > 1 {
			suffix = fmt.Sprintf("%s, %d)%s", label, n, extension)
		}
		candidate := cut(stem, manifest.MaxName-len(suffix)) + suffix
		if yes, err := taken(candidate); err != nil || !yes {
			return candidate, err
		}
	}
}

// withoutSuffix returns a name without the suffix of an earlier conflict.
func withoutSuffix(stem string) string {
	at := strings.LastIndex(stem, opening)
	if at < 0 || !strings.HasSuffix(stem, ")") || strings.ContainsAny(stem[at+len(opening):len(stem)-1], "()") {
		return stem
	}
	return stem[:at]
}

// plain returns a device's label as it may stand within a name.
func plain(device string) string {
	device = strings.Map(func(r rune) rune {
		if r == '/' || r == '(' || r == ')' || r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, device)
	if device = strings.TrimSpace(cut(device, maxDevice)); device == "" {
		return "another device"
	}
	return device
}

// cut returns at most n bytes of s, whole characters only.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
