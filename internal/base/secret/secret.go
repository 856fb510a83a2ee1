// Package secret holds bytes that must not be seen: keys, passwords, tokens.
// A [Bytes] prints, logs and marshals as a mark in its place, so that it
// leaks only where code takes the bytes out on purpose.
package secret

import (
	"crypto/subtle"
	"log/slog"
)

const redacted = "[secret]"

// Bytes is a secret. Take the bytes out with a conversion, []byte(b).
type Bytes []byte

// String returns a mark instead of the secret.
func (Bytes) String() string { return redacted }

// GoString returns a mark instead of the secret.
func (Bytes) GoString() string { return redacted }

// MarshalText returns a mark instead of the secret.
func (Bytes) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns a mark instead of the secret.
func (Bytes) LogValue() slog.Value { return slog.StringValue(redacted) }

// Equal compares in a time that depends only on the lengths.
func (b Bytes) Equal(other Bytes) bool { return subtle.ConstantTimeCompare(b, other) == 1 }

// Wipe overwrites the secret with zeros. Copies that the runtime or the
// operating system made are out of its reach.
func (b Bytes) Wipe() { clear(b) }

// Key is a symmetric key of 256 bits.
type Key [32]byte

// String returns a mark instead of the key.
func (Key) String() string { return redacted }

// GoString returns a mark instead of the key.
func (Key) GoString() string { return redacted }

// MarshalText returns a mark instead of the key.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns a mark instead of the key.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// Equal compares in constant time.
func (k Key) Equal(other Key) bool { return subtle.ConstantTimeCompare(k[:], other[:]) == 1 }

// IsZero reports whether the key is all zeros, which stands for "no key".
func (k Key) IsZero() bool { return k.Equal(Key{}) }
