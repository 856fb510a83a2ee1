package usermanifest_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/golden"
	"parsec/internal/format/padding"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
)

func key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(golden.Fill(32, 1)) }

func public() ed25519.PublicKey { return key().Public().(ed25519.PublicKey) }

func fingerprint() id.Fingerprint { return id.Fingerprint(golden.Fill(32, 2)) }

func position(n byte) record.Position {
	return record.Position{Index: uint64(n), Head: record.Head(golden.Fill(32, n))}
}

func workspace(n byte) usermanifest.Workspace {
	return usermanifest.Workspace{Workspace: id.Workspace(golden.Fill(16, n)), Head: position(n), Organization: 300}
}

func device(n byte, label string) usermanifest.Device {
	return usermanifest.Device{Device: id.Device(golden.Fill(16, n)), Label: label}
}

func content() usermanifest.Content {
	return usermanifest.Content{
		Workspaces: []usermanifest.Workspace{workspace(1), workspace(2)},
		Devices:    []usermanifest.Device{device(3, "laptop"), device(4, "téléphone")},
	}
}

func envelope() usermanifest.Envelope {
	return usermanifest.Envelope{
		User: id.User(golden.Fill(16, 5)), Author: id.Device(golden.Fill(16, 6)), Version: 7, Previous: [32]byte(golden.Fill(32, 8)),
		Organization: position(9), Key: record.Digest(golden.Fill(32, 10)), Sealed: golden.Fill(48, 11),
	}
}

func TestUserManifestsKeepTheirBytes(t *testing.T) {
	golden.Compare(t, []golden.Vector{
		{Name: "content", Bytes: usermanifest.Encode(content())},
		{Name: "signed user manifest", Bytes: usermanifest.Sign(envelope(), fingerprint(), key())},
		{Name: "what binds the seal to its place", Bytes: envelope().SealingInfo(fingerprint())},
	})
}

func TestAUserManifestIsReadBackAsWritten(t *testing.T) {
	s, err := usermanifest.Parse(usermanifest.Sign(envelope(), fingerprint(), key()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(envelope(), s.Envelope, cmpopts.IgnoreUnexported(usermanifest.Envelope{}, record.Position{})); diff != "" {
		t.Error(diff)
	}
	got, err := usermanifest.Decode(usermanifest.Encode(content()))
	if err != nil {
		t.Fatal(err)
	}
	unexported := cmpopts.IgnoreUnexported(usermanifest.Content{}, usermanifest.Workspace{}, usermanifest.Device{}, record.Position{})
	if diff := cmp.Diff(content(), got, unexported); diff != "" {
		t.Error(diff)
	}
}

func TestASignatureHoldsForOneOrganizationOneKeyAndTheseBytes(t *testing.T) {
	raw := usermanifest.Sign(envelope(), fingerprint(), key())
	s, err := usermanifest.Parse(raw)
	if err != nil || !s.Check(fingerprint(), public()) {
		t.Fatalf("%v; want it signed", err)
	}
	if s.Check(id.Fingerprint{}, public()) || s.Check(fingerprint(), public()[1:]) {
		t.Error("another organization or key counts")
	}
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		if s, err := usermanifest.Parse(changed); err == nil && s.Check(fingerprint(), public()) {
			t.Errorf("byte %d may change", i)
		}
	}
}

func TestParsingRefuses(t *testing.T) {
	sign := func(change func(*usermanifest.Envelope)) []byte {
		e := envelope()
		change(&e)
		return usermanifest.Sign(e, fingerprint(), key())
	}
	good := usermanifest.Sign(envelope(), fingerprint(), key())
	for _, c := range []struct {
		name string
		raw  []byte
		want fault.Kind
	}{
		{"nothing", nil, fault.Invalid},
		{"something behind it", append(bytes.Clone(good), 0), fault.Invalid},
		{"an unknown field", append(append([]byte{0x83}, good[1:]...), 0), fault.Upgrade},
		{"more than the limit", make([]byte, usermanifest.MaxSize+1), fault.TooLarge},
		{"version 0", sign(func(e *usermanifest.Envelope) { e.Version = 0 }), fault.Invalid},
		{"a first version with a predecessor", sign(func(e *usermanifest.Envelope) { e.Version = 1 }), fault.Invalid},
		{"a later version without a predecessor", sign(func(e *usermanifest.Envelope) { e.Previous = [32]byte{} }), fault.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := usermanifest.Parse(c.raw); !fault.Is(err, c.want) {
				t.Errorf("got %v, want an error of kind %q", err, c.want)
			}
		})
	}
}

func TestDecodingContentRefuses(t *testing.T) {
	encode := func(w []usermanifest.Workspace, d []usermanifest.Device) []byte {
		return usermanifest.Encode(usermanifest.Content{Workspaces: w, Devices: d})
	}
	good := canon.Marshal(content())
	for _, c := range []struct {
		name  string
		plain []byte
		want  fault.Kind
	}{
		{"nothing", nil, fault.Invalid},
		{"content without a frame", good, fault.Invalid},
		{"something behind the content", padding.Frame(append(bytes.Clone(good), 0)), fault.Invalid},
		{"an unknown field", padding.Frame(append(append([]byte{0x83}, good[1:]...), 0)), fault.Upgrade},
		{"workspaces out of order", encode([]usermanifest.Workspace{workspace(2), workspace(1)}, nil), fault.Invalid},
		{"a workspace twice", encode([]usermanifest.Workspace{workspace(1), workspace(1)}, nil), fault.Invalid},
		{"devices out of order", encode(nil, []usermanifest.Device{device(2, "a"), device(1, "b")}), fault.Invalid},
		{"a device twice", encode(nil, []usermanifest.Device{device(1, "a"), device(1, "b")}), fault.Invalid},
		{"a label that is not UTF-8", encode(nil, []usermanifest.Device{device(1, "\xff")}), fault.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := usermanifest.Decode(c.plain); !fault.Is(err, c.want) {
				t.Errorf("got %v, want an error of kind %q", err, c.want)
			}
		})
	}
}

func TestTheLengthOfALabelDoesNotShow(t *testing.T) {
	short := usermanifest.Encode(usermanifest.Content{Devices: []usermanifest.Device{device(1, "a")}})
	long := usermanifest.Encode(usermanifest.Content{Devices: []usermanifest.Device{device(1, "Alice's old laptop")}})
	if len(short) != len(long) {
		t.Errorf("%d and %d bytes", len(short), len(long))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(usermanifest.Sign(envelope(), fingerprint(), key()))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := usermanifest.Parse(raw)
		if err != nil {
			return
		}
		if !bytes.Contains(raw, canon.Marshal(s.Envelope)) {
			t.Errorf("%x parses, and its envelope encodes as %x", raw, canon.Marshal(s.Envelope))
		}
		s.Check(fingerprint(), public())
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(canon.Marshal(content()))
	f.Fuzz(func(t *testing.T, framed []byte) {
		plain := padding.Frame(framed)
		if c, err := usermanifest.Decode(plain); err == nil && !bytes.Equal(usermanifest.Encode(c), plain) {
			t.Errorf("%x decodes, and encodes as %x", plain, usermanifest.Encode(c))
		}
	})
}
