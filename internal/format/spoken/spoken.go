// Package spoken writes bits as text that people read out, copy by hand and
// type: in capital letters and digits without I, L, O and U, five bits a
// character. Reading is forgiving: case does not matter, spaces and hyphens
// are skipped, and the letters that are left out count as the digits they
// look like.
package spoken

import (
	"strings"

	"parsec/internal/base/fault"
)

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// bitsPerCharacter is what one of 32 characters says.
const bitsPerCharacter = 5

// Encode returns the first 5*characters bits of data, which must hold them.
func Encode(data []byte, characters int) string {
	var text strings.Builder
	for i := range characters {
		text.WriteByte(alphabet[bitsAt(data, i*bitsPerCharacter)])
	}
	return text.String()
}

// bitsAt returns the five bits of data from bit offset on.
func bitsAt(data []byte, offset int) byte {
	window := uint16(data[offset/8]) << 8
	if offset/8+1 < len(data) {
		window |= uint16(data[offset/8+1])
	}
	return byte(window>>(16-bitsPerCharacter-offset%8)) & 31
}

// Decode returns the bits that text spells, in whole bytes with zeros behind
// them. It fails with [fault.Usage] unless these are exactly that many
// characters of the alphabet. The error does not quote the text.
func Decode(text string, characters int) ([]byte, error) {
	data := make([]byte, (characters*bitsPerCharacter+7)/8)
	n := 0
	for _, r := range strings.ToUpper(text) {
		if r == ' ' || r == '-' || r == '\t' {
			continue
		}
		v := value(r)
		if v < 0 || n == characters {
			return nil, fault.Errorf(fault.Usage, "read characters: want %d letters or digits", characters)
		}
		for b := range bitsPerCharacter {
			offset := n*bitsPerCharacter + b
			data[offset/8] |= byte(v) >> (bitsPerCharacter - 1 - b) & 1 << (7 - offset%8)
		}
		n++
	}
	if n != characters {
		return nil, fault.Errorf(fault.Usage, "read characters: want %d letters or digits, got %d", characters, n)
	}
	return data, nil
}

// value returns what a character stands for, or -1.
func value(r rune) int {
	switch r {
	case 'O':
		r = '0'
	case 'I', 'L':
		r = '1'
	}
	return strings.IndexRune(alphabet, r)
}
