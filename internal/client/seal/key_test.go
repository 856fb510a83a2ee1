package seal_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/client/seal"
	"parsec/internal/format/record"
)

// recipient returns a key pair that is the same in every test, so that tests stay quick.
func recipient(t *testing.T, seed byte) *seal.KeyPair {
	t.Helper()
	k, err := seal.ParseKeyPair(bytes.Repeat([]byte{seed}, seal.PrivateKeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAGrantOpensToTheKeyOfItsGeneration(t *testing.T) {
	own := recipient(t, 1)
	g, sealed, err := key().SealGrant([16]byte{1}, own.Public())
	if err != nil {
		t.Fatal(err)
	}
	if g.Key != own.Digest() || len(sealed) != seal.Overhead+32 {
		t.Errorf("a grant of %d bytes to key %x", len(sealed), g.Key)
	}
	got, err := place().OpenGrant(own, 3, key().Commitment(), g, sealed)
	if err != nil || got.Generation != 3 || !got.Key.Equal(key().Key) || got.Place != place() {
		t.Errorf("got generation %d, %v", got.Generation, err)
	}
}

func TestADamagedGrantIsABrokenPromise(t *testing.T) {
	own := recipient(t, 1)
	g, sealed, err := key().SealGrant([16]byte{1}, own.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range damaged(sealed) {
		t.Run(name, func(t *testing.T) {
			_, err := place().OpenGrant(own, 3, key().Commitment(), g, data)
			wantBroken(t, err, seal.PromiseKeys)
		})
	}
}

func TestAGrantThatDoesNotOpenIsTheAuthorsFault(t *testing.T) {
	type opening struct {
		place      seal.Place
		own        *seal.KeyPair
		generation uint64
		commitment record.Digest
		grant      record.Grant
		sealed     []byte
	}
	own := recipient(t, 1)
	grant, sealed, err := key().SealGrant([16]byte{1}, own.Public())
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]func(*opening){
		"another generation":   func(o *opening) { o.generation++ },
		"another commitment":   func(o *opening) { o.commitment[31] ^= 1 },
		"another recipient":    func(o *opening) { o.grant.Recipient[0] ^= 1 },
		"another user's key":   func(o *opening) { o.own = recipient(t, 2) },
		"another key's digest": func(o *opening) { o.grant.Key[0] ^= 1 },
		"another user's key under this one's digest": func(o *opening) {
			o.own = recipient(t, 2)
			o.grant.Key = o.own.Digest()
		},
	}
	for name, p := range otherPlaces() {
		cases[name] = func(o *opening) { o.place = p }
	}
	for name, data := range damaged(sealed) {
		cases["signed though damaged: "+name] = func(o *opening) {
			o.sealed, o.grant.Sealed = data, sha256.Sum256(data)
		}
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			o := opening{place(), own, 3, key().Commitment(), grant, sealed}
			change(&o)
			got, err := o.place.OpenGrant(o.own, o.generation, o.commitment, o.grant, o.sealed)
			wantInvalid(t, err)
			if !got.Key.IsZero() || fault.HintOf(err) == "" {
				t.Error("a key came out, or no hint")
			}
		})
	}
}

func TestNothingIsSealedToAKeyThatIsNone(t *testing.T) {
	for name, public := range map[string]record.PublicKey{
		"nothing":       nil,
		"a short one":   recipient(t, 1).Public()[1:],
		"one too long":  append(recipient(t, 1).Public(), 0),
		"no lattice's":  bytes.Repeat([]byte{0xff}, record.PublicKeySize),
		"a weak X25519": append(recipient(t, 1).Public()[:1184], make([]byte, 32)...),
	} {
		t.Run(name, func(t *testing.T) {
			_, sealed, err := key().SealGrant([16]byte{1}, public)
			wantInvalid(t, err)
			if sealed != nil {
				t.Error("something was sealed")
			}
		})
	}
}

func TestABacklinkOpensToTheEarlierKey(t *testing.T) {
	old := seal.NewWorkspaceKey(place(), 2)
	backlink := key().SealBacklink(old)
	if len(backlink) != record.BacklinkSize {
		t.Errorf("a backlink of %d bytes", len(backlink))
	}
	got, err := key().OpenBacklink(2, old.Commitment(), backlink)
	if err != nil || got.Generation != 2 || !got.Key.Equal(old.Key) {
		t.Errorf("got generation %d, %v", got.Generation, err)
	}
}

func TestABacklinkThatDoesNotOpenIsTheAuthorsFault(t *testing.T) {
	old := seal.NewWorkspaceKey(place(), 2)
	backlink := key().SealBacklink(old)
	for name, data := range damaged(backlink) {
		t.Run(name, func(t *testing.T) {
			_, err := key().OpenBacklink(2, old.Commitment(), data)
			wantInvalid(t, err)
		})
	}
	for name, k := range otherKeys() {
		t.Run(name, func(t *testing.T) {
			_, err := k.OpenBacklink(2, old.Commitment(), backlink)
			wantInvalid(t, err)
		})
	}
	t.Run("another generation linked", func(t *testing.T) {
		_, err := key().OpenBacklink(1, old.Commitment(), backlink)
		wantInvalid(t, err)
	})
	t.Run("another key linked", func(t *testing.T) {
		_, err := key().OpenBacklink(2, seal.NewWorkspaceKey(place(), 2).Commitment(), backlink)
		wantInvalid(t, err)
	})
}

func TestAWorkspacesNameComesBack(t *testing.T) {
	for _, want := range []string{"a", "Études", strings.Repeat("n", 255)} {
		sealed, err := key().SealName(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := key().OpenName(sealed); err != nil || got != want {
			t.Errorf("got %q, %v", got, err)
		}
	}
	short, err := key().SealName("a")
	if err != nil {
		t.Fatal(err)
	}
	long, err := key().SealName(strings.Repeat("n", 200))
	if err != nil || len(short) != len(long) {
		t.Errorf("a short name takes %d bytes, a long one %d, %v", len(short), len(long), err)
	}
}

func TestWhatCannotBeAWorkspacesNameIsRefused(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "a:b", "a\x00b", "a\nb", "\x1b[2J", "\xff", strings.Repeat("n", 256)} {
		if sealed, err := key().SealName(name); !fault.Is(err, fault.Usage) || sealed != nil {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func TestANameThatDoesNotOpenIsTheAuthorsFault(t *testing.T) {
	sealed, err := key().SealName("secret plans")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range damaged(sealed) {
		t.Run(name, func(t *testing.T) {
			_, err := key().OpenName(data)
			wantInvalid(t, err)
		})
	}
	for name, k := range otherKeys() {
		t.Run(name, func(t *testing.T) {
			_, err := k.OpenName(sealed)
			wantInvalid(t, err)
		})
	}
}
