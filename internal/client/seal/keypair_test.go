package seal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/seal"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
)

func TestAKeyPairSurvivesItsEncoding(t *testing.T) {
	want := seal.NewKeyPair()
	got, err := seal.ParseKeyPair(want.Private())
	if err != nil || got.Digest() != want.Digest() || !bytes.Equal(got.Public(), want.Public()) {
		t.Errorf("another key came back, %v", err)
	}
	if len(want.Public()) != record.PublicKeySize || len(want.Private()) != seal.PrivateKeySize {
		t.Errorf("halves of %d and %d bytes", len(want.Public()), len(want.Private()))
	}
	if err := seal.CheckPublicKey(want.Public()); err != nil {
		t.Error(err)
	}
	for _, n := range []int{0, 31, 33, 64} {
		_, err := seal.ParseKeyPair(make(secret.Bytes, n))
		wantInvalid(t, err)
	}
}

func TestAKeyPairDoesNotPrint(t *testing.T) {
	k := recipient(t, 0x5a)
	j, err := json.Marshal(map[string]any{"k": k})
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %s %v", k, k, k, k, struct{ K *seal.KeyPair }{k}) + string(j)
	if strings.Contains(all, "90 90 90") || strings.Contains(all, hex.EncodeToString(k.Private())) {
		t.Errorf("a key shows in %s", all)
	}
}

func TestAUserKeyReachesADevice(t *testing.T) {
	f, user, device := id.Fingerprint{1}, id.User{2}, id.Device{3}
	own, fresh := recipient(t, 1), recipient(t, 2)
	d, sealed, err := seal.SealUserKey(f, user, fresh, device, own.Public())
	if err != nil {
		t.Fatal(err)
	}
	got, err := seal.OpenUserKey(own, f, user, fresh.Public(), d, sealed)
	if err != nil || got.Digest() != fresh.Digest() {
		t.Fatalf("another key came back, %v", err)
	}
	for name, data := range damaged(sealed) {
		t.Run(name, func(t *testing.T) {
			_, err := seal.OpenUserKey(own, f, user, fresh.Public(), d, data)
			wantBroken(t, err, seal.PromiseKeys)
			signed := record.Delivery{Device: d.Device, Sealed: sha256.Sum256(data)}
			_, err = seal.OpenUserKey(own, f, user, fresh.Public(), signed, data)
			wantInvalid(t, err)
		})
	}
	for name, open := range map[string]func() (*seal.KeyPair, error){
		"another organization": func() (*seal.KeyPair, error) {
			return seal.OpenUserKey(own, id.Fingerprint{2}, user, fresh.Public(), d, sealed)
		},
		"another user": func() (*seal.KeyPair, error) {
			return seal.OpenUserKey(own, f, id.User{3}, fresh.Public(), d, sealed)
		},
		"another key announced": func() (*seal.KeyPair, error) {
			return seal.OpenUserKey(own, f, user, own.Public(), d, sealed)
		},
		"another device named": func() (*seal.KeyPair, error) {
			return seal.OpenUserKey(own, f, user, fresh.Public(), record.Delivery{Device: id.Device{4}, Sealed: d.Sealed}, sealed)
		},
		"another device's key": func() (*seal.KeyPair, error) {
			return seal.OpenUserKey(fresh, f, user, fresh.Public(), d, sealed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open()
			wantInvalid(t, err)
		})
	}
}

func TestAUserManifestComesBack(t *testing.T) {
	f, own := id.Fingerprint{1}, recipient(t, 1)
	want := userContent()
	e, err := seal.SealUserManifest(f, envelope(), want, own)
	if err != nil {
		t.Fatal(err)
	}
	got, err := seal.OpenUserManifest(f, e, own)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	cases := map[string]func(*usermanifest.Envelope){
		"another user":        func(e *usermanifest.Envelope) { e.User[0] ^= 1 },
		"another version":     func(e *usermanifest.Envelope) { e.Version++ },
		"another predecessor": func(e *usermanifest.Envelope) { e.Previous[0] ^= 1 },
		"another key":         func(e *usermanifest.Envelope) { e.Key[0] ^= 1 },
	}
	for name, data := range damaged(e.Sealed) {
		cases[name] = func(e *usermanifest.Envelope) { e.Sealed = data }
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			changed := e
			change(&changed)
			_, err := seal.OpenUserManifest(f, changed, own)
			wantInvalid(t, err)
		})
	}
	_, err = seal.OpenUserManifest(id.Fingerprint{2}, e, own)
	wantInvalid(t, err)
	_, err = seal.OpenUserManifest(f, e, recipient(t, 2))
	wantInvalid(t, err)
}
