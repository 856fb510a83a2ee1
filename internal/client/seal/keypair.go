package seal

import (
	"bytes"
	"crypto/hpke"
	"crypto/sha256"
	"log/slog"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/format/label"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
)

// Overhead is what sealing to a public key adds: the encapsulation and a tag.
const Overhead = 1120 + 16

// PrivateKeySize is the length of a private key's encoding.
const PrivateKeySize = 32

// KeyPair is an HPKE key with both halves: a user's, or a device's encryption
// key. It prints and marshals as a mark in its place.
type KeyPair struct {
	private hpke.PrivateKey
	public  record.PublicKey
	digest  record.Digest
}

// NewKeyPair makes a key.
func NewKeyPair() *KeyPair {
	private, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		panic("seal: " + err.Error()) // only without randomness, which panics before
	}
	return newKeyPair(private)
}

// ParseKeyPair returns the key with this private half, as [KeyPair.Private] gave it.
func ParseKeyPair(private secret.Bytes) (*KeyPair, error) {
	if len(private) != PrivateKeySize {
		return nil, fault.Errorf(fault.Invalid, "parse private key: %d bytes", len(private))
	}
	key, err := hpke.MLKEM768X25519().NewPrivateKey(private)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "parse private key: it is none of the suite's")
	}
	return newKeyPair(key), nil
}

func newKeyPair(private hpke.PrivateKey) *KeyPair {
	public := record.PublicKey(private.PublicKey().Bytes())
	return &KeyPair{private: private, public: public, digest: public.Digest()}
}

// Public returns the half that others seal to.
func (k *KeyPair) Public() record.PublicKey { return bytes.Clone(k.public) }

// Digest identifies the key in records.
func (k *KeyPair) Digest() record.Digest { return k.digest }

// Private returns the private half, for [ParseKeyPair].
func (k *KeyPair) Private() secret.Bytes {
	b, err := k.private.Bytes()
	if err != nil {
		panic("seal: " + err.Error()) // keys of this package always have their bytes
	}
	return b
}

const redacted = "[key pair]"

// String returns a mark instead of the key.
func (*KeyPair) String() string { return redacted }

// GoString returns a mark instead of the key.
func (*KeyPair) GoString() string { return redacted }

// MarshalText returns a mark instead of the key.
func (*KeyPair) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns a mark instead of the key.
func (*KeyPair) LogValue() slog.Value { return slog.StringValue(redacted) }

// CheckPublicKey refuses bytes to which nothing can be sealed.
func CheckPublicKey(key record.PublicKey) error {
	_, err := parsePublic(key)
	return err
}

func parsePublic(key record.PublicKey) (hpke.PublicKey, error) {
	if len(key) != record.PublicKeySize {
		return nil, fault.Errorf(fault.Invalid, "a public key of %d bytes", len(key))
	}
	public, err := hpke.MLKEM768X25519().NewPublicKey(key)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "a public key that is none of the suite's")
	}
	return public, nil
}

// sealTo returns encapsulation and ciphertext of plain, bound to info.
func sealTo(to record.PublicKey, info, plain []byte) ([]byte, error) {
	public, err := parsePublic(to)
	if err != nil {
		return nil, err
	}
	sealed, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES256GCM(), info, plain)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "a public key to which nothing can be sealed")
	}
	return sealed, nil
}

// open opens what [sealTo] sealed to this key under the same info.
func (k *KeyPair) open(info, sealed []byte) ([]byte, error) {
	plain, err := hpke.Open(k.private, hpke.HKDFSHA256(), hpke.AES256GCM(), info, sealed)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "it was sealed to another key or for another purpose")
	}
	return plain, nil
}

// SealUserKey seals the private half of a user's new key to one of the user's
// devices. It returns what the record says of the delivery, and the sealed
// bytes that travel beside it.
func SealUserKey(f id.Fingerprint, user id.User, key *KeyPair, device id.Device, to record.PublicKey) (record.Delivery, []byte, error) {
	sealed, err := sealTo(to, deliveryInfo(f, user, key.digest, device), key.Private())
	if err != nil {
		return record.Delivery{}, nil, fault.Errorf(fault.KindOf(err), "seal user key: %w", err)
	}
	return record.Delivery{Device: device, Sealed: sha256.Sum256(sealed)}, sealed, nil
}

func deliveryInfo(f id.Fingerprint, user id.User, key record.Digest, device id.Device) []byte {
	return label.UserKeyDelivery.Join(f[:], user[:], key[:], device[:])
}

// OpenUserKey opens a delivery of the user key whose public half a verified
// record names; own is the device's encryption key. Sealed bytes other than
// those the record names are a broken promise of the server; a delivery that
// does not open to the key is [fault.Invalid], and the author's fault.
func OpenUserKey(own *KeyPair, f id.Fingerprint, user id.User, public record.PublicKey, d record.Delivery, sealed []byte) (*KeyPair, error) {
	if sha256.Sum256(sealed) != d.Sealed {
		return nil, fault.Broken(PromiseKeys, "the user key for device %s is not the one that was signed", d.Device)
	}
	private, err := own.open(deliveryInfo(f, user, public.Digest(), d.Device), sealed)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "open user key: %w", err)
	}
	key, err := ParseKeyPair(private)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "open user key: %w", err)
	}
	if !bytes.Equal(key.public, public) {
		return nil, fault.Errorf(fault.Invalid, "open user key: it is not the private half of the key in the record")
	}
	return key, nil
}

// SealUserManifest returns the envelope e, complete but for key and content,
// with the content sealed to the user's own key.
func SealUserManifest(f id.Fingerprint, e usermanifest.Envelope, c usermanifest.Content, own *KeyPair) (usermanifest.Envelope, error) {
	e.Key = own.digest
	sealed, err := sealTo(own.public, e.SealingInfo(f), usermanifest.Encode(c))
	if err != nil {
		return usermanifest.Envelope{}, fault.Errorf(fault.KindOf(err), "seal user manifest: %w", err)
	}
	e.Sealed = sealed
	return e, nil
}

// OpenUserManifest opens the content of an envelope whose signature was
// checked. What does not open is [fault.Invalid], and the author's fault.
func OpenUserManifest(f id.Fingerprint, e usermanifest.Envelope, own *KeyPair) (usermanifest.Content, error) {
	if e.Key != own.digest {
		return usermanifest.Content{}, fault.Errorf(fault.Invalid, "open user manifest: it is sealed to another key")
	}
	plain, err := own.open(e.SealingInfo(f), e.Sealed)
	if err != nil {
		return usermanifest.Content{}, fault.Errorf(fault.Invalid, "open user manifest: %w", err)
	}
	return usermanifest.Decode(plain)
}
