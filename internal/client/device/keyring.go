package device

import (
	"errors"

	"github.com/zalando/go-keyring"
)

// service is the name under which keyrings list Parsec's keys.
const service = "parsec"

// SystemKeyring is the keyring of the operating system.
type SystemKeyring struct{}

var _ Keyring = SystemKeyring{}

// Get implements [Keyring].
func (SystemKeyring) Get(name string) (string, error) {
	value, err := keyring.Get(service, name)
	return value, known(err)
}

// Set implements [Keyring].
func (SystemKeyring) Set(name, value string) error { return keyring.Set(service, name, value) }

// Delete implements [Keyring].
func (SystemKeyring) Delete(name string) error { return known(keyring.Delete(service, name)) }

func known(err error) error {
	if errors.Is(err, keyring.ErrNotFound) {
		return ErrNoKey
	}
	return err
}
