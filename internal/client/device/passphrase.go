package device

import (
	"crypto/rand"
	"log/slog"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/format/label"
	"parsec/internal/format/spoken"
)

// passphraseSize is 160 bits, which nobody guesses.
const passphraseSize = 20

// The characters of a passphrase: its bits, and 20 bits by which a mistake in
// copying is noticed.
const (
	passphraseCharacters = passphraseSize * 8 / 5
	checkCharacters      = 4
	group                = 4
)

// Passphrase protects a recovery device's file. It is always generated, so
// that it has as many bits as it is long.
type Passphrase [passphraseSize]byte

// NewPassphrase makes a passphrase.
func NewPassphrase() Passphrase {
	var p Passphrase
	rand.Read(p[:])
	return p
}

// Spell returns the passphrase as a person writes it down: nine groups of four.
func (p Passphrase) Spell() string {
	sum := label.Recovery.Hash(p[:])
	text := spoken.Encode(p[:], passphraseCharacters) + spoken.Encode(sum[:], checkCharacters)
	var groups []string
	for i := 0; i < len(text); i += group {
		groups = append(groups, text[i:i+group])
	}
	return strings.Join(groups, "-")
}

// ParsePassphrase reads what [Passphrase.Spell] wrote and a person typed.
func ParsePassphrase(text string) (Passphrase, error) {
	bad := func() (Passphrase, error) {
		return Passphrase{}, fault.WithHint(fault.Errorf(fault.Usage, "read passphrase: it is mistyped"),
			"it has nine groups of four letters and digits; compare each with what was written down")
	}
	data, err := spoken.Decode(text, passphraseCharacters+checkCharacters)
	if err != nil {
		return bad()
	}
	p := Passphrase(data[:passphraseSize])
	sum := label.Recovery.Hash(p[:])
	if spoken.Encode(data[passphraseSize:], checkCharacters) != spoken.Encode(sum[:], checkCharacters) {
		return bad()
	}
	return p, nil
}

const redactedPassphrase = "[passphrase]"

// String returns a mark instead of the passphrase.
func (Passphrase) String() string { return redactedPassphrase }

// GoString returns a mark instead of the passphrase.
func (Passphrase) GoString() string { return redactedPassphrase }

// MarshalText returns a mark instead of the passphrase.
func (Passphrase) MarshalText() ([]byte, error) { return []byte(redactedPassphrase), nil }

// LogValue returns a mark instead of the passphrase.
func (Passphrase) LogValue() slog.Value { return slog.StringValue(redactedPassphrase) }
