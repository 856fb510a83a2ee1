package enroll

import "parsec/internal/format/invitation"

// DecodeClaim and DecodeWelcome are what an exchange opens from its sealed
// messages, for fuzzing.
func DecodeClaim(plain []byte, t invitation.Type) error {
	_, err := decodeClaim(plain, t)
	return err
}

// DecodeWelcome decodes a whole welcome.
func DecodeWelcome(plain []byte, s invitation.Statement) error {
	_, err := decodeWelcome(plain, s)
	return err
}
