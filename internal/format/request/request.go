// Package request holds the token with which a device signs each request to
// the server. A token is bound to one endpoint, one body and five minutes, so
// that it is worth nothing elsewhere or later.
package request

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/label"
)

// Validity is how far a token's time may be from the server's clock.
const Validity = 5 * time.Minute

// Header is the HTTP header that carries a token.
const Header = "Authorization"

// scheme stands before the token in the header.
const scheme = "Parsec "

// maxToken bounds the encoded token before it is decoded.
const maxToken = 512

// What is what a token vouches for.
type What struct {
	// Method is the HTTP method.
	Method string
	// Path is the URL's path with its query, as sent.
	Path string
	// Body is the SHA-256 of the raw body, or of an upload's header.
	Body [32]byte
}

// Token is a signed statement that a device makes a request now.
type Token struct {
	_            struct{} `cbor:",toarray"`
	Organization id.Fingerprint
	Device       id.Device
	// Time is in nanoseconds since the Unix epoch, by the device's clock
	// corrected by the server's.
	Time int64
	// Body is that of [What]. It stands here so that the signature can be
	// checked before the body is read.
	Body      [32]byte
	Signature []byte
}

func (t Token) signed(w What) []byte {
	return label.Request.Join(t.Organization[:], t.Device[:], []byte(w.Method), []byte(w.Path), label.Uint(uint64(t.Time)), w.Body[:])
}

// Sign returns the header's value for a request.
func Sign(f id.Fingerprint, d id.Device, now time.Time, w What, key ed25519.PrivateKey) string {
	t := Token{Organization: f, Device: d, Time: now.UnixNano(), Body: w.Body}
	t.Signature = ed25519.Sign(key, t.signed(w))
	return scheme + base64.RawURLEncoding.EncodeToString(canon.Marshal(t))
}

// Parse returns the token in a header's value. Its signature is not checked yet.
func Parse(header string) (Token, error) {
	var t Token
	text, ok := strings.CutPrefix(header, scheme)
	if !ok || len(text) > maxToken {
		return t, fault.Errorf(fault.Unauthenticated, "read request token: none in the request")
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || base64.RawURLEncoding.EncodeToString(data) != text {
		return t, fault.Errorf(fault.Unauthenticated, "read request token: its encoding is damaged")
	}
	if err := canon.Unmarshal(data, &t); err != nil {
		return Token{}, fault.Errorf(fault.Unauthenticated, "read request token: %w", err)
	}
	if n := len(t.Signature); n != ed25519.SignatureSize {
		return Token{}, fault.Errorf(fault.Unauthenticated, "read request token: a signature of %d bytes", n)
	}
	return t, nil
}

// Covers fails unless body is the digest that the token names.
func (t Token) Covers(body [32]byte) error {
	if body != t.Body {
		return fault.Errorf(fault.Unauthenticated, "check request token: not signed for this body")
	}
	return nil
}

// Check fails unless key signed the token for this request, at a time within
// [Validity] of now.
func (t Token) Check(w What, key ed25519.PublicKey, now time.Time) error {
	if w.Body != t.Body || len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, t.signed(w), t.Signature) {
		return fault.Errorf(fault.Unauthenticated, "check request token: not signed for this request by this device")
	}
	if off := now.Sub(time.Unix(0, t.Time)); off > Validity || off < -Validity {
		return fault.Errorf(fault.Clock, "check request token: its time is %s off the server's clock", off.Round(time.Second))
	}
	return nil
}
