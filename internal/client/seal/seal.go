// Package seal encrypts whatever a client hands to the server, and opens what
// comes back: blocks, manifests, workspace keys and names, user keys, user
// manifests. It does no input or output, keeps no state and decides nothing;
// who may seal what, and which key is the right one, is settled before.
//
// Invariants:
//   - Only the standard library's cryptography, in the one suite parsec/v1:
//     AES-256-GCM, SHA-256, HKDF-SHA256, and HPKE with MLKEM768-X25519.
//   - Every purpose has its own label, and what is sealed is bound to its
//     place by associated data or HPKE's info.
//   - AES-GCM does not commit to its key. So bytes that somebody else sealed
//     are first compared with the digest that a signature pins, and only then
//     opened, under one key and never by trying several.
//   - Two failures are told apart. Bytes that do not match their signed digest
//     are of kind Integrity: the server broke a promise. Bytes that match but
//     do not open, or hold nonsense, are of kind Invalid: their author made
//     them so, and only what they describe is hidden.
//   - No secret and no plaintext reaches an error.
//
// All functions are safe for concurrent use.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"

	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/format/label"
)

// The promises whose breach this package finds.
const (
	// PromiseContent is that blocks and manifests are those that a member signed.
	PromiseContent = "authentic content"
	// PromiseKeys is that sealed keys are those that a record names.
	PromiseKeys = "authentic keys"
)

// Place is the workspace that everything sealed for it is bound to.
type Place struct {
	Organization id.Fingerprint
	Workspace    id.Workspace
}

// derive returns the key that belongs to a purpose, by HKDF-SHA256.
func derive(from secret.Key, purpose label.Label, fields ...[]byte) secret.Key {
	key, err := hkdf.Key(sha256.New, from[:], nil, string(purpose.Join(fields...)), len(secret.Key{}))
	if err != nil {
		panic("seal: " + err.Error()) // 32 bytes are always within HKDF's limit
	}
	return secret.Key(key)
}

// oneTime returns AES-256-GCM for a key that seals a single message.
func oneTime(key secret.Key) cipher.AEAD {
	return must(cipher.NewGCM(block(key)))
}

// randomNonce returns AES-256-GCM that puts a random nonce before each message.
func randomNonce(key secret.Key) cipher.AEAD {
	return must(cipher.NewGCMWithRandomNonce(block(key)))
}

func block(key secret.Key) cipher.Block {
	b, err := aes.NewCipher(key[:])
	if err != nil {
		panic("seal: " + err.Error()) // a key of 32 bytes is always valid
	}
	return b
}

func must(aead cipher.AEAD, err error) cipher.AEAD {
	if err != nil {
		panic("seal: " + err.Error()) // AES always has blocks of 16 bytes
	}
	return aead
}
