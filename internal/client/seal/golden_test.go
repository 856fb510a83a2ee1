package seal_test

import (
	"bytes"
	"testing"
	"testing/cryptotest"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/seal"
	"parsec/internal/format/golden"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
)

// vectors seals one thing of each kind under the randomness of the test.
func vectors(t *testing.T) []golden.Vector {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	k, own := seal.NewWorkspaceKey(place(), 3), seal.NewKeyPair()
	old, fresh := seal.NewWorkspaceKey(place(), 2), seal.NewKeyPair()
	ref, block := place().SealBlock(nil, []byte("hello"))
	m, body, _ := file()
	sealedManifest, _ := k.SealManifest(m, body)
	_, grant, err := k.SealGrant([16]byte{1}, own.Public())
	must(err)
	name, err := k.SealName("plans")
	must(err)
	_, delivery, err := seal.SealUserKey(id.Fingerprint{1}, id.User{2}, fresh, id.Device{3}, own.Public())
	must(err)
	e, err := seal.SealUserManifest(id.Fingerprint{1}, envelope(), userContent(), own)
	must(err)
	return []golden.Vector{
		{Name: "workspace key", Bytes: k.Key[:]},
		{Name: "earlier key", Bytes: old.Key[:]},
		{Name: "private key", Bytes: own.Private()},
		{Name: "other private key", Bytes: fresh.Private()},
		{Name: "block id", Bytes: ref.ID.Bytes()},
		{Name: "block key", Bytes: ref.Key[:]},
		{Name: "block", Bytes: block},
		{Name: "manifest", Bytes: sealedManifest},
		{Name: "grant", Bytes: grant},
		{Name: "backlink", Bytes: k.SealBacklink(old)},
		{Name: "name", Bytes: name},
		{Name: "user key delivered", Bytes: delivery},
		{Name: "user manifest", Bytes: e.Sealed},
	}
}

func envelope() usermanifest.Envelope {
	return usermanifest.Envelope{User: id.User{2}, Author: id.Device{3}, Version: 4, Previous: [32]byte{5}}
}

func userContent() usermanifest.Content {
	return usermanifest.Content{
		Workspaces: []usermanifest.Workspace{{Workspace: id.Workspace{1}, Head: record.Position{Index: 3}, Organization: 4}},
		Devices:    []usermanifest.Device{{Device: id.Device{1}, Label: "laptop"}},
	}
}

func TestSealingGivesTheGoldenBytes(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	golden.Compare(t, vectors(t))
}

// What was sealed once opens for ever, whatever randomness gives today.
func TestTheGoldenBytesOpen(t *testing.T) {
	v := golden.Read(t)
	k := seal.WorkspaceKey{Place: place(), Generation: 3, Key: secret.Key(v["workspace key"])}
	old := seal.WorkspaceKey{Place: place(), Generation: 2, Key: secret.Key(v["earlier key"])}
	own, err := seal.ParseKeyPair(v["private key"])
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := seal.ParseKeyPair(v["other private key"])
	if err != nil {
		t.Fatal(err)
	}

	ref := manifest.Ref{ID: id.Block(v["block id"]), Key: secret.Key(v["block key"]), Size: 5, Digest: digest(v["block"])}
	content, err := place().OpenBlock(nil, ref, v["block"])
	if err != nil || string(content) != "hello" {
		t.Errorf("block: %q, %v", content, err)
	}
	m, _, change := file()
	sum := digest(v["manifest"])
	change.Manifest = sum[:]
	if got, _, err := k.OpenManifest(change, m.Author, v["manifest"]); err != nil || got.Name != m.Name {
		t.Errorf("manifest: %v", err)
	}
	g := record.Grant{Recipient: [16]byte{1}, Key: own.Digest(), Sealed: digest(v["grant"])}
	if got, err := place().OpenGrant(own, 3, k.Commitment(), g, v["grant"]); err != nil || !got.Key.Equal(k.Key) {
		t.Errorf("grant: %v", err)
	}
	if got, err := k.OpenBacklink(2, old.Commitment(), v["backlink"]); err != nil || !got.Key.Equal(old.Key) {
		t.Errorf("backlink: %v", err)
	}
	if got, err := k.OpenName(v["name"]); err != nil || got != "plans" {
		t.Errorf("name: %q, %v", got, err)
	}
	d := record.Delivery{Device: id.Device{3}, Sealed: digest(v["user key delivered"])}
	got, err := seal.OpenUserKey(own, id.Fingerprint{1}, id.User{2}, fresh.Public(), d, v["user key delivered"])
	if err != nil || !bytes.Equal(got.Private(), fresh.Private()) {
		t.Errorf("user key: %v", err)
	}
	e := envelope()
	e.Key, e.Sealed = own.Digest(), v["user manifest"]
	user, err := seal.OpenUserManifest(id.Fingerprint{1}, e, own)
	if diff := cmp.Diff(userContent(), user); err != nil || diff != "" {
		t.Error(err, diff)
	}
}
