package enroll

import (
	"crypto/aes"
	"crypto/cipher"

	"parsec/internal/base/fault"
	"parsec/internal/base/secret"
	"parsec/internal/format/canon"
	"parsec/internal/format/label"
)

// Each direction has a key of its own, with random nonces for its few
// messages; the step is associated data, so that none passes for another.

func aead(key secret.Key) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("enroll: " + err.Error()) // a key of 32 bytes is always valid
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("enroll: " + err.Error()) // AES always has blocks of 16 bytes
	}
	return gcm
}

// direction is the purpose of the key for what from sends.
func direction(from side) label.Label {
	if from == claimer {
		return label.EnrollmentToGreeter
	}
	return label.EnrollmentToClaimer
}

func (x *exchange) data(from side, step uint32) []byte {
	return direction(from).Join(x.transcript[:], label.Uint(uint64(step)))
}

// sealed returns this side's message for a step, with plain sealed in it.
func (x *exchange) sealed(step uint32, plain []byte) Message {
	return x.message(step, aead(x.sending).Seal(nil, nil, plain, x.data(x.self, step)))
}

// open returns what the other side sealed in the body of a step.
func (x *exchange) open(step uint32, body []byte) ([]byte, error) {
	plain, err := aead(x.receiving).Open(nil, nil, body, x.data(x.self.other(), step))
	if err != nil {
		return nil, x.suspect("the message for step %d does not open", step)
	}
	return plain, nil
}

// part is a piece of a long message.
type part struct {
	_    struct{} `cbor:",toarray"`
	Last bool
	Data []byte
}

// cut returns the encoded parts of a long message.
func cut(plain []byte) ([][]byte, error) {
	if len(plain) > maxParts*partSize {
		return nil, fault.Errorf(fault.TooLarge, "enroll: %d bytes to hand over, at most %d are allowed", len(plain), maxParts*partSize)
	}
	var parts [][]byte
	for {
		n := min(len(plain), partSize)
		last := n == len(plain)
		parts = append(parts, canon.Marshal(part{Last: last, Data: plain[:n]}))
		if plain = plain[n:]; last {
			return parts, nil
		}
	}
}
