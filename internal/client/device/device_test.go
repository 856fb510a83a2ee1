package device_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/device"
	"parsec/internal/client/seal"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
)

// alice returns a complete device with new keys.
func alice(t *testing.T) *device.Device {
	t.Helper()
	d := device.New()
	d.User, d.Organization = id.New[id.User](), id.Fingerprint{1}
	d.OrganizationName, d.Server = "Acme", "https://parsec.example:6770"
	d.Email, d.Label = "alice@example.com", "laptop"
	d.UserKeys = []*seal.KeyPair{seal.NewKeyPair(), seal.NewKeyPair()}
	root, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	d.Enrolled = device.Enrolled{
		Root:         root,
		Organization: record.Position{Index: 7, Head: record.Head{8}},
		UserManifest: usermanifest.Pin{Version: 9, Digest: [32]byte{10}},
		Workspaces: []usermanifest.Workspace{
			{Workspace: id.Workspace{1}, Head: record.Position{Index: 2}, Organization: 3},
			{Workspace: id.Workspace{2}, Head: record.Position{Index: 4}, Organization: 5},
		},
	}
	return d
}

// same fails the test unless two devices hold the same.
func same(t *testing.T, got, want *device.Device) {
	t.Helper()
	if diff := cmp.Diff(want.Header, got.Header); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Enrolled, got.Enrolled); diff != "" {
		t.Error(diff)
	}
	if !got.Signing.Equal(want.Signing) || !got.Storage.Equal(want.Storage) ||
		got.Encryption.Digest() != want.Encryption.Digest() || len(got.UserKeys) != len(want.UserKeys) {
		t.Fatal("a key differs")
	}
	for i, k := range want.UserKeys {
		if got.UserKeys[i].Digest() != k.Digest() {
			t.Errorf("the user's key %d differs", i)
		}
	}
}

func password(t *testing.T, text string) device.Lock {
	t.Helper()
	l, err := device.Password(secret.Bytes(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ring is a keyring in memory.
type ring map[string]string

func (r ring) Get(name string) (string, error) {
	if value, ok := r[name]; ok {
		return value, nil
	}
	return "", device.ErrNoKey
}

func (r ring) Set(name, value string) error {
	r[name] = value
	return nil
}

func (r ring) Delete(name string) error {
	delete(r, name)
	return nil
}

// noRing is a machine without a keyring.
type noRing struct{}

var errNoRing = errors.New("no message bus")

func (noRing) Get(string) (string, error) { return "", errNoRing }
func (noRing) Set(string, string) error   { return errNoRing }
func (noRing) Delete(string) error        { return errNoRing }

func TestADeviceDoesNotPrint(t *testing.T) {
	d := alice(t)
	j, err := json.Marshal(map[string]any{"d": d})
	if err != nil {
		t.Fatal(err)
	}
	p := device.NewPassphrase()
	all := fmt.Sprintf("%v %+v %#v %v %+v %v %+v", d, d, d, *d, struct{ D *device.Device }{d}, p, p) + string(j)
	seed := []byte(d.Signing)
	for _, form := range []string{hex.EncodeToString(seed[:8]), strings.Trim(fmt.Sprint(seed[:8]), "[]"), strings.Trim(fmt.Sprint(p[:4]), "[]")} {
		if strings.Contains(all, form) {
			t.Errorf("a secret shows in %s", all)
		}
	}
}

func TestTheKeysOfADeviceAreItsOwn(t *testing.T) {
	d, other := alice(t), alice(t)
	keys := d.Keys()
	if keys.Device != d.Device || !bytes.Equal(keys.Encrypt, d.Encryption.Public()) ||
		!ed25519.Verify(keys.Verify, []byte("x"), ed25519.Sign(d.Signing, []byte("x"))) {
		t.Error("the public half does not fit")
	}
	if d.Device == other.Device || d.Signing.Equal(other.Signing) || d.Storage.Equal(other.Storage) {
		t.Error("two devices share a key")
	}
	for _, k := range d.UserKeys {
		if got, ok := d.UserKey(k.Digest()); !ok || got != k {
			t.Error("a key of the user is not found")
		}
	}
	if _, ok := d.UserKey(record.Digest{}); ok {
		t.Error("a key is found that the user never had")
	}
}

func TestAPassphraseSurvivesWritingDownAndTyping(t *testing.T) {
	want := device.NewPassphrase()
	text := want.Spell()
	if len(text) != 9*4+8 {
		t.Errorf("it is spelt %q", text)
	}
	for _, typed := range []string{text, strings.ToLower(text), strings.ReplaceAll(text, "-", " "), strings.ReplaceAll(text, "0", "o")} {
		if got, err := device.ParsePassphrase(typed); err != nil || got != want {
			t.Errorf("%q is not read, %v", typed, err)
		}
	}
}

func TestAMistypedPassphraseIsNoticed(t *testing.T) {
	text := device.NewPassphrase().Spell()
	cases := []string{"", "hunter2", text[:len(text)-1], text + "0", text[5:] + "-" + text[:4]}
	for i, c := range text {
		if c != '-' {
			other := "Z"
			if c == 'Z' {
				other = "2"
			}
			cases = append(cases, text[:i]+other+text[i+1:])
		}
	}
	for _, typed := range cases {
		_, err := device.ParsePassphrase(typed)
		if !fault.Is(err, fault.Usage) || fault.HintOf(err) == "" {
			t.Errorf("%q: got %v", typed, err)
		}
		if err != nil && typed != "" && strings.Contains(err.Error(), typed) {
			t.Errorf("the error shows it: %v", err)
		}
	}
}
