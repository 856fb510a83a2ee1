package device

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/format/label"
)

// Method is how a device file is protected.
type Method uint8

// The methods.
const (
	// ByPassword derives the file's key from a password with Argon2id.
	ByPassword Method = 1
	// ByKeyring has the operating system's keyring keep a random key.
	ByKeyring Method = 2
	// ByPassphrase derives the file's key from a recovery passphrase, which
	// has too many bits to be guessed and needs no stretching.
	ByPassphrase Method = 3
)

// String returns the method's name.
func (m Method) String() string {
	switch m {
	case ByPassword:
		return "password"
	case ByKeyring:
		return "keyring"
	case ByPassphrase:
		return "recovery passphrase"
	}
	return fmt.Sprintf("method %d", uint8(m))
}

// Floors and ceilings of Argon2id's parameters, both enforced before memory
// is taken: a forged file may make guessing no cheaper, and unlocking no
// dearer than a workstation bears. New files take the floors, the second
// choice of RFC 9106.
const (
	minMemory  = 64 << 10 // in KiB
	maxMemory  = 1 << 20
	minPasses  = 3
	maxPasses  = 16
	newThreads = 4
	maxThreads = 16
)

const (
	saltSize = 32
	// maxPassword is the longest password in bytes.
	maxPassword = 1024
)

// Protection says how a device file's key comes about.
type Protection struct {
	_      struct{} `cbor:",toarray"`
	Method Method
	// Salt is random, and new with every password.
	Salt [saltSize]byte
	// Memory in KiB, Passes and Threads are Argon2id's, and zero elsewhere.
	Memory  uint32
	Passes  uint32
	Threads uint8
}

func (p Protection) check() error {
	switch p.Method {
	case ByPassword:
		if p.Memory < minMemory || p.Passes < minPasses || p.Threads == 0 {
			return fault.Broken(PromiseProtection, "Argon2id with %d KiB and %d passes is weaker than %d KiB and %d",
				p.Memory, p.Passes, minMemory, minPasses)
		}
		if p.Memory > maxMemory || p.Passes > maxPasses || p.Threads > maxThreads {
			return fault.Broken(PromiseProtection, "Argon2id with %d KiB, %d passes and %d threads is more than %d, %d and %d",
				p.Memory, p.Passes, p.Threads, maxMemory, maxPasses, maxThreads)
		}
		return nil
	case ByKeyring, ByPassphrase:
		if p.Memory != 0 || p.Passes != 0 || p.Threads != 0 {
			return fault.Errorf(fault.Invalid, "a %s with the parameters of a password", p.Method)
		}
		return nil
	}
	return fault.Errorf(fault.Upgrade, "protection %d is unknown to this version", uint8(p.Method))
}

// Lock is what opens and closes a device file: one method, with its secret.
type Lock struct {
	method Method
	secret secret.Bytes
	ring   Keyring
}

// Password returns the lock of a password.
func Password(password secret.Bytes) (Lock, error) {
	if n := len(password); n == 0 || n > maxPassword {
		return Lock{}, fault.Errorf(fault.Usage, "use password: it has %d bytes, between 1 and %d are allowed", n, maxPassword)
	}
	return Lock{method: ByPassword, secret: password}, nil
}

// WithKeyring returns the lock whose key the keyring keeps.
func WithKeyring(ring Keyring) Lock { return Lock{method: ByKeyring, ring: ring} }

// WithPassphrase returns the lock of a recovery passphrase.
func WithPassphrase(p Passphrase) Lock { return Lock{method: ByPassphrase, secret: secret.Bytes(p[:])} }

// Method returns the lock's method.
func (l Lock) Method() Method { return l.method }

// newProtection returns the protection of a file that l closes.
func (l Lock) newProtection() Protection {
	p := Protection{Method: l.method}
	rand.Read(p.Salt[:])
	if l.method == ByPassword {
		p.Memory, p.Passes, p.Threads = minMemory, minPasses, newThreads
	}
	return p
}

// unlocked is what a lock and a protection give: enough to open a file, and
// to seal it again without asking for the password.
type unlocked struct {
	protection Protection
	ring       Keyring
	key        secret.Key
	// check tells a wrong password from a damaged or forged file. It derives
	// from the same secret as key and says nothing about it.
	check secret.Key
}

// unlock derives the key of a file. A keyring that has none for the device is
// given one where create says so.
func (l Lock) unlock(p Protection, d id.Device, create bool) (*unlocked, error) {
	if p.Method != l.method {
		return nil, fault.WithHint(
			fault.Errorf(fault.Usage, "unlock device %s: it is protected by a %s, not by a %s", d, p.Method, l.method),
			"give the %s", p.Method)
	}
	input, err := l.input(p, d, create)
	if err != nil {
		return nil, err
	}
	both, err := hkdf.Key(sha256.New, input, p.Salt[:], string(label.DeviceFileKey.Join([]byte{byte(p.Method)})), 64)
	if err != nil {
		panic("device: " + err.Error()) // 64 bytes are always within HKDF's limit
	}
	return &unlocked{protection: p, ring: l.ring, key: secret.Key(both[:32]), check: secret.Key(both[32:])}, nil
}

func (l Lock) input(p Protection, d id.Device, create bool) (secret.Bytes, error) {
	switch l.method {
	case ByPassword:
		return argon2.IDKey(l.secret, p.Salt[:], p.Passes, p.Memory, p.Threads, 32), nil
	case ByKeyring:
		return keyOf(l.ring, d, create)
	}
	return l.secret, nil
}

// Keyring keeps short texts for the person who is logged in. Get and Delete
// fail with [ErrNoKey] where there is none under the name.
type Keyring interface {
	Get(name string) (string, error)
	Set(name, value string) error
	Delete(name string) error
}

// ErrNoKey is a keyring that has nothing under a name.
var ErrNoKey = errors.New("no key under this name")

// keyOf returns the device's key in the keyring. A key that is there is never
// overwritten: a file may need it.
func keyOf(ring Keyring, d id.Device, create bool) (secret.Bytes, error) {
	text, err := ring.Get(d.String())
	switch {
	case errors.Is(err, ErrNoKey) && create:
		return newKey(ring, d)
	case errors.Is(err, ErrNoKey):
		return nil, fault.WithHint(fault.Errorf(fault.Denied, "unlock device %s: the keyring does not hold its key", d),
			"log in as the person and on the machine that made the device")
	case err != nil:
		return nil, noKeyring(err)
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != len(secret.Key{}) {
		return nil, fault.Errorf(fault.Invalid, "unlock device %s: what the keyring holds is not its key", d)
	}
	return key, nil
}

func newKey(ring Keyring, d id.Device) (secret.Bytes, error) {
	key := make(secret.Bytes, len(secret.Key{}))
	rand.Read(key)
	if err := ring.Set(d.String(), base64.StdEncoding.EncodeToString(key)); err != nil {
		return nil, noKeyring(err)
	}
	return key, nil
}

func noKeyring(err error) error {
	return fault.WithHint(fault.Errorf(fault.Failed, "use the keyring: %w", err),
		"where no keyring runs, as on a server, protect the device with --password-file or at the prompt")
}
