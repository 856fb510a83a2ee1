package seal_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/seal"
	"parsec/internal/format/canon"
	"parsec/internal/format/label"
	"parsec/internal/format/manifest"
	"parsec/internal/format/padding"
	"parsec/internal/format/record"
)

func key() seal.WorkspaceKey {
	return seal.WorkspaceKey{Place: place(), Generation: 3, Key: secret.Key{4}}
}

// otherKeys differ from key in one field.
func otherKeys() map[string]seal.WorkspaceKey {
	all := make(map[string]seal.WorkspaceKey)
	for name, p := range otherPlaces() {
		k := key()
		k.Place = p
		all[name] = k
	}
	generation, other := key(), key()
	generation.Generation++
	other.Key[31] ^= 1
	all["another generation"], all["another key"] = generation, other
	return all
}

// file returns a manifest, its body, and the change of the commit that wrote it.
func file() (manifest.Manifest, manifest.FileBody, record.Change) {
	body := manifest.FileBody{Size: 5, Executable: true, Blocks: manifest.List{
		Items: manifest.EncodeItems([]manifest.Ref{{ID: id.Block{9}, Key: secret.Key{8}, Size: 5, Digest: [32]byte{7}}}),
		Pages: []manifest.Page{},
	}}
	m := manifest.Manifest{
		Entry: id.Entry{5}, Version: 6, Author: id.Device{7}, Parent: id.Entry{8},
		Name: "notes.txt", Created: 9, Modified: 10,
	}
	return m, body, record.Change{Entry: m.Entry, Version: m.Version, Base: m.Version}
}

func TestAManifestComesBack(t *testing.T) {
	want, body, change := file()
	sealed, digest := key().SealManifest(want, body)
	change.Manifest = digest[:]
	got, gotBody, err := key().OpenManifest(change, want.Author, sealed)
	if err != nil {
		t.Fatal(err)
	}
	want.Kind, want.Body = got.Kind, got.Body
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(manifest.Body(body), gotBody); diff != "" {
		t.Error(diff)
	}
}

func TestADamagedManifestIsABrokenPromise(t *testing.T) {
	m, body, change := file()
	sealed, digest := key().SealManifest(m, body)
	change.Manifest = digest[:]
	for name, data := range damaged(sealed) {
		t.Run(name, func(t *testing.T) {
			_, got, err := key().OpenManifest(change, m.Author, data)
			wantBroken(t, err, seal.PromiseContent)
			if got != nil {
				t.Error("content came out")
			}
		})
	}
	t.Run("a change that names no manifest", func(t *testing.T) {
		change.Manifest = nil
		_, _, err := key().OpenManifest(change, m.Author, sealed)
		wantBroken(t, err, seal.PromiseContent)
	})
}

func TestAManifestOfAnotherPlaceIsTheAuthorsFault(t *testing.T) {
	m, body, change := file()
	sealed, digest := key().SealManifest(m, body)
	change.Manifest = digest[:]
	for name, k := range otherKeys() {
		t.Run(name, func(t *testing.T) {
			_, _, err := k.OpenManifest(change, m.Author, sealed)
			wantInvalid(t, err)
		})
	}
}

func TestAManifestThatContradictsItsCommitIsTheAuthorsFault(t *testing.T) {
	m, body, honest := file()
	sealed, digest := key().SealManifest(m, body)
	honest.Manifest = digest[:]
	for name, lie := range map[string]func(*record.Change, *id.Device){
		"another entry":           func(c *record.Change, _ *id.Device) { c.Entry[0] ^= 1 },
		"another version":         func(c *record.Change, _ *id.Device) { c.Version, c.Base = 7, 7 },
		"a base for a snapshot":   func(c *record.Change, _ *id.Device) { c.Base = 5 },
		"another device's commit": func(_ *record.Change, d *id.Device) { d[0] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			change, author := honest, m.Author
			lie(&change, &author)
			_, _, err := key().OpenManifest(change, author, sealed)
			wantInvalid(t, err)
			if err != nil && !strings.Contains(err.Error(), author.String()) {
				t.Errorf("%v does not name its author", err)
			}
		})
	}
}

// sealPlain seals what an honest client never would.
func sealPlain(t *testing.T, k seal.WorkspaceKey, entry id.Entry, version uint64, plain []byte) ([]byte, []byte) {
	t.Helper()
	derived, err := hkdf.Key(sha256.New, k.Key[:], nil, string(label.Manifest.Join(k.Workspace[:], entry[:])), 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	c := manifest.Context{
		Organization: k.Organization, Workspace: k.Workspace,
		Entry: entry, Version: version, Generation: k.Generation,
	}
	sealed := aead.Seal(nil, nil, plain, c.AssociatedData())
	digest := sha256.Sum256(sealed)
	return sealed, digest[:]
}

func TestContentThatLiesWithinItsSealIsTheAuthorsFault(t *testing.T) {
	m, body, honest := file()
	with := func(change func(*manifest.Manifest)) []byte {
		m := m
		change(&m)
		return manifest.Encode(m, body)
	}
	unpadded := manifest.Encode(m, body)
	unpadded[len(unpadded)-1] = 1
	items := manifest.EncodeItems([]manifest.Child{{Name: "a", Entry: id.Entry{1}, Kind: manifest.File}})
	delta := manifest.FolderBody{Delta: true, Children: manifest.List{Items: items}}
	for name, plain := range map[string][]byte{
		"another entry inside":     with(func(m *manifest.Manifest) { m.Entry[0] ^= 1 }),
		"another version inside":   with(func(m *manifest.Manifest) { m.Version++ }),
		"another author inside":    with(func(m *manifest.Manifest) { m.Author[0] ^= 1 }),
		"a name with a slash":      with(func(m *manifest.Manifest) { m.Name = "../../etc/passwd" }),
		"padding that is not zero": unpadded,
		"a delta for a snapshot":   manifest.Encode(m, delta),
		"nothing":                  nil,
		"zeros":                    make([]byte, 256),
		"more than is allowed":     make([]byte, manifest.MaxSealed),
	} {
		t.Run(name, func(t *testing.T) {
			change := honest
			sealed, digest := sealPlain(t, key(), change.Entry, change.Version, plain)
			change.Manifest = digest
			_, got, err := key().OpenManifest(change, m.Author, sealed)
			wantInvalid(t, err)
			if got != nil {
				t.Error("content came out")
			}
			if err != nil && strings.Contains(err.Error(), "passwd") {
				t.Errorf("the error shows a name: %v", err)
			}
		})
	}
}

func TestADeltaNeedsAnEarlierBase(t *testing.T) {
	m, _, change := file()
	items := manifest.EncodeItems([]manifest.Child{{Name: "a", Entry: id.Entry{1}, Kind: manifest.File}})
	delta := manifest.FolderBody{Delta: true, Children: manifest.List{Items: items}}
	sealed, digest := key().SealManifest(m, delta)
	change.Manifest, change.Base = digest[:], 5
	if _, _, err := key().OpenManifest(change, m.Author, sealed); err != nil {
		t.Error(err)
	}
}

func TestAManifestOfANewerVersionAsksForAnUpgrade(t *testing.T) {
	m, _, change := file()
	plain := padding.Frame(canon.Marshal([]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})) // two fields more than today
	sealed, digest := sealPlain(t, key(), change.Entry, change.Version, plain)
	change.Manifest = digest
	_, _, err := key().OpenManifest(change, m.Author, sealed)
	if !fault.Is(err, fault.Upgrade) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkSealManifest(b *testing.B) {
	m, body, _ := file()
	for b.Loop() {
		key().SealManifest(m, body)
	}
}

func BenchmarkOpenManifest(b *testing.B) {
	m, body, change := file()
	sealed, digest := key().SealManifest(m, body)
	change.Manifest = digest[:]
	for b.Loop() {
		if _, _, err := key().OpenManifest(change, m.Author, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
