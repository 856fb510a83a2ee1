package device

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"

	"parsec/internal/base/fault"
	"parsec/internal/base/secret"
	"parsec/internal/format/canon"
	"parsec/internal/format/label"
)

// The promises whose breach unlocking finds.
const (
	// PromiseFile is that a device file is as the device left it.
	PromiseFile = "authentic device file"
	// PromiseProtection is that a password is not made cheap to guess.
	PromiseProtection = "well-protected device file"
)

// ErrWrongSecret is a password or passphrase that does not open the file; a
// person may try again.
var ErrWrongSecret = errors.New("it does not open the device")

// MaxSize is the longest device file in bytes.
const MaxSize = 4 << 20

// version is the only one so far.
const version = 1

// file is a device file as it stands on the disk. Versions differ in their
// head and content; this frame stays.
type file struct {
	_ struct{} `cbor:",toarray"`
	// Head is the encoding of head, as it is authenticated.
	Head []byte
	// Check is compared with what the secret derives to.
	Check [32]byte
	// Sealed is nonce and ciphertext of the content.
	Sealed []byte
	// Sum finds accidents, and nothing else.
	Sum [32]byte
}

// head is the readable part.
type head struct {
	_          struct{} `cbor:",toarray"`
	Version    uint64
	Header     Header
	Protection Protection
}

func (f file) sum() [32]byte { return label.DeviceFileDigest.Hash(f.Head, f.Check[:], f.Sealed) }

func (f file) data() []byte { return label.DeviceFile.Join(f.Head, f.Check[:]) }

// parse splits a device file. It trusts nothing in it, but that it is within
// its bounds.
func parse(data []byte) (file, head, error) {
	var f file
	var h head
	err := parseInto(data, &f, &h)
	switch kind := fault.KindOf(err); {
	case err == nil:
		return f, h, nil
	case kind == fault.Upgrade:
		err = fault.WithHint(fault.Errorf(kind, "read device file: %w", err), "a newer parsec made it: install that")
	case kind == fault.Integrity:
		err = fault.WithHint(fault.Errorf(kind, "read device file: %w", err), "somebody changed it: restore it from a copy you trust")
	default:
		err = fault.WithHint(fault.Errorf(fault.Invalid, "read device file: it is damaged: %w", err),
			"restore it from a copy, or enroll this device anew from another one")
	}
	return file{}, head{}, err
}

func parseInto(data []byte, f *file, h *head) error {
	if len(data) > MaxSize {
		return fault.Errorf(fault.Invalid, "it is longer than %d bytes", MaxSize)
	}
	if err := canon.Unmarshal(data, f); err != nil {
		return fault.Errorf(fault.Invalid, "%w", err)
	}
	if f.sum() != f.Sum {
		return fault.Errorf(fault.Invalid, "its checksum does not match")
	}
	if err := canon.Unmarshal(f.Head, h); err != nil {
		return err
	}
	if h.Version != version {
		return fault.Errorf(fault.Upgrade, "version %d is unknown to this version", h.Version)
	}
	if err := h.Protection.check(); err != nil {
		return err
	}
	return h.Header.check()
}

// Parse returns the readable part of a device file. Nothing vouches for it.
func Parse(data []byte) (Header, Method, error) {
	_, h, err := parse(data)
	return h.Header, h.Protection.Method, err
}

// Unlock opens a device file's bytes. It fails with [ErrWrongSecret] where
// the password or passphrase is wrong.
func Unlock(data []byte, l Lock) (*Device, error) {
	f, h, err := parse(data)
	if err != nil {
		return nil, err
	}
	u, err := l.unlock(h.Protection, h.Header.Device, false)
	if err != nil {
		return nil, err
	}
	if !u.check.Equal(secret.Key(f.Check)) {
		return nil, fault.WithHint(fault.Errorf(fault.Denied, "unlock device %q: wrong %s: %w", h.Header.Label, l.method, ErrWrongSecret),
			"try again; upper and lower case matter in a password")
	}
	d := &Device{Header: h.Header, opened: u}
	plain, err := u.aead().Open(nil, nil, f.Sealed, f.data())
	if err == nil {
		err = d.decode(plain)
		clear(plain)
	}
	if fault.Is(err, fault.Upgrade) {
		return nil, fault.WithHint(fault.Errorf(fault.Upgrade, "unlock device %q: %w", h.Header.Label, err),
			"a newer parsec made it: install that")
	}
	if err != nil {
		return nil, fault.WithHint(fault.Broken(PromiseFile, "unlock device %q: its file was changed by somebody else", h.Header.Label),
			"restore it from a copy you trust, or enroll this device anew from another one")
	}
	return d, nil
}

// seal returns the device file's bytes.
func (d *Device) seal(u *unlocked) ([]byte, error) {
	if err := d.Header.check(); err != nil {
		return nil, fault.Errorf(fault.KindOf(err), "seal device: %w", err)
	}
	plain, err := d.encode()
	if err != nil {
		return nil, fault.Errorf(fault.KindOf(err), "seal device: %w", err)
	}
	f := file{Head: canon.Marshal(head{Version: version, Header: d.Header, Protection: u.protection}), Check: u.check}
	f.Sealed = u.aead().Seal(nil, nil, plain, f.data())
	clear(plain)
	f.Sum = f.sum()
	data := canon.Marshal(f)
	if len(data) > MaxSize {
		return nil, fault.Errorf(fault.TooLarge, "seal device: %d bytes, at most %d are allowed", len(data), MaxSize)
	}
	return data, nil
}

// aead puts a random nonce before each message; a file is sealed a few times
// in its life under one key.
func (u *unlocked) aead() cipher.AEAD {
	block, err := aes.NewCipher(u.key[:])
	if err != nil {
		panic("device: " + err.Error()) // a key of 32 bytes is always valid
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("device: " + err.Error()) // AES always has blocks of 16 bytes
	}
	return aead
}
