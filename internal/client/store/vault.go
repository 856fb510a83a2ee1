package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/format/label"
)

// A table names a kind of value; each has its own key.
type table string

// The length of what stands in a row's key in place of a name.
const macSize = 16

// saltSize is the length of the random salt that each database starts with.
const saltSize = 32

// vault seals the values of one database and hides its names. The salt makes
// every key new with each new database, so that the 2^32 values that AES-GCM
// with random nonces allows a key are counted per table and database.
type vault struct {
	device id.Device
	aead   map[table]cipher.AEAD
	names  []byte
}

func newVault(key secret.Key, device id.Device, database string, salt []byte, tables []table) (*vault, error) {
	v := &vault{device: device, aead: make(map[table]cipher.AEAD, len(tables))}
	for _, t := range tables {
		sub, err := hkdf.Key(sha256.New, key[:], salt, string(label.LocalValue.Join([]byte(database), []byte(t))), 32)
		if err != nil {
			return nil, fmt.Errorf("derive local key: %w", err)
		}
		block, err := aes.NewCipher(sub)
		if err != nil {
			return nil, fmt.Errorf("derive local key: %w", err)
		}
		if v.aead[t], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, fmt.Errorf("derive local key: %w", err)
		}
	}
	var err error
	v.names, err = hkdf.Key(sha256.New, key[:], salt, string(label.LocalName.Join([]byte(database))), 32)
	if err != nil {
		return nil, fmt.Errorf("derive local key: %w", err)
	}
	return v, nil
}

// seal returns the sealed form of plain for the row of t with this key. The
// parts of a table's keys have fixed lengths, so they are simply joined.
func (v *vault) seal(t table, key, plain []byte) []byte {
	return v.aead[t].Seal(nil, nil, plain, v.place(t, key))
}

// What a database must not say, whoever changed it.
var (
	errForeign = errors.New("a value is not the one that this device wrote there")
	errLost    = errors.New("what this device wrote is gone")
)

// open returns what was sealed for the row of t with this key.
func (v *vault) open(t table, key, sealed []byte) ([]byte, error) {
	plain, err := v.aead[t].Open(nil, nil, sealed, v.place(t, key))
	if err != nil {
		return nil, fmt.Errorf("open value of table %s: %w", t, errForeign)
	}
	return plain, nil
}

func (v *vault) place(t table, key []byte) []byte {
	return label.LocalValue.Join([]byte(t), key, v.device[:])
}

// hide returns what stands in a row's key in place of the fields, which
// nobody without the device's key can tell from random bytes.
func (v *vault) hide(t table, fields ...[]byte) [macSize]byte {
	h := hmac.New(sha256.New, v.names)
	h.Write(label.LocalName.Join(append([][]byte{[]byte(t)}, fields...)...))
	var sum [sha256.Size]byte
	return [macSize]byte(h.Sum(sum[:0])[:macSize])
}
