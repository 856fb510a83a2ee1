package record_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/golden"
	"parsec/internal/format/label"
	"parsec/internal/format/record"
)

func key(first byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(golden.Fill(32, first)) }

func public(first byte) ed25519.PublicKey { return key(first).Public().(ed25519.PublicKey) }

func digest(first byte) record.Digest { return record.Digest(golden.Fill(32, first)) }

func hpkeKey(first byte) record.PublicKey { return golden.Fill(record.PublicKeySize, first) }

func user(n byte) id.User           { return id.User(golden.Fill(16, n)) }
func device(n byte) id.Device       { return id.Device(golden.Fill(16, n)) }
func workspace(n byte) id.Workspace { return id.Workspace(golden.Fill(16, n)) }
func entry(n byte) id.Entry         { return id.Entry(golden.Fill(16, n)) }
func service(n byte) id.Service     { return id.Service(golden.Fill(16, n)) }

func fingerprint() id.Fingerprint { return id.Fingerprint(golden.Fill(32, 0xf0)) }

func newDevice(n byte) record.DeviceKeys {
	return record.DeviceKeys{Device: device(n), Verify: public(n), Encrypt: hpkeKey(n)}
}

func newUser(n byte) record.NewUser {
	return record.NewUser{User: user(n), Identity: digest(n), Key: hpkeKey(n), Device: newDevice(n + 1)}
}

func replacement() record.Replacement {
	return record.Replacement{Key: hpkeKey(9), Deliveries: []record.Delivery{
		{Device: device(1), Sealed: digest(1)}, {Device: device(2), Sealed: digest(2)},
	}}
}

func grant(n byte) record.Grant {
	return record.Grant{Recipient: user(n), Key: digest(n), Sealed: digest(n + 1)}
}

func rotation(generation uint64) record.Rotation {
	r := record.Rotation{Generation: generation, Commitment: digest(3), Grants: []record.Grant{grant(1), grant(2)}}
	if generation > 1 {
		r.Links, r.Backlink = generation-1, golden.Fill(record.BacklinkSize, 7)
	}
	return r
}

// payloads returns a payload of every kind, in every shape that matters.
func payloads() []record.Payload {
	put := record.Change{Entry: entry(1), Version: 3, Base: 2, Manifest: golden.Fill(32, 5)}
	gone := record.Change{Entry: entry(2), Version: 2}
	return []record.Payload{
		record.Genesis{Root: public(1), Name: "Ville de Nantes", First: newUser(2), Sequester: public(8)},
		record.Genesis{Root: public(1), Name: "no sequester", First: newUser(2)},
		record.UserAdded{New: newUser(4), Profile: record.ProfileStandard},
		record.DeviceAdded{New: newDevice(6)},
		record.ProfileChanged{User: user(4), Profile: record.ProfileAdmin},
		record.UserRevoked{User: user(4)},
		record.DeviceRevoked{Device: device(6)},
		record.DeviceRevoked{Device: device(6), Replacement: []record.Replacement{replacement()}},
		record.UserKeyReplaced{Replacement: replacement()},
		record.SequesterAdded{Service: service(1), Key: hpkeKey(3)},
		record.SequesterRevoked{Service: service(1)},
		record.WorkspaceCreated{Rotation: rotation(1), Name: golden.Fill(60, 1)},
		record.RoleChanged{User: user(4), Role: record.RoleManager},
		record.RoleChanged{User: user(4), Role: record.RoleReader, Grant: []record.Grant{grant(4)}},
		record.RoleChanged{User: user(4), Rotation: []record.Rotation{rotation(2)}},
		record.KeyRotated{Rotation: rotation(3)},
		record.Renamed{Generation: 3, Name: golden.Fill(60, 2)},
		record.ArchivingChanged{State: record.ArchivingArchived},
		record.Heartbeat{},
		record.Commit{Generation: 3, Restructures: true, Changes: []record.Change{put, gone}},
	}
}

// body returns a body around a payload, with every field set.
func body(p record.Payload) record.Body {
	b := record.Body{
		Author: device(1), Seq: 7, Time: 1_700_000_000_000_000_001,
		Seen: record.Seen{Organization: record.Position{Index: 11, Head: record.Head(golden.Fill(32, 0x40))}},
		Kind: p.Kind(), Payload: record.Encode(p),
	}
	if p.Kind().Organization() {
		b.Log = record.OrganizationLog(public(1))
		return b
	}
	b.Log = record.WorkspaceLog(fingerprint(), workspace(3))
	b.Seen.Workspace = record.Position{Index: 300, Head: record.Head(golden.Fill(32, 0x60))}
	return b
}

func sign(p record.Payload) []byte {
	if p.Kind() == record.KindGenesis {
		return record.SignGenesis(body(p), key(1), key(3))
	}
	return record.Sign(body(p), fingerprint(), key(1))
}

func TestRecordsKeepTheirBytes(t *testing.T) {
	var vectors []golden.Vector
	for i, p := range payloads() {
		vectors = append(vectors,
			golden.Vector{Name: fmt.Sprintf("%d: payload of %s", i, p.Kind()), Bytes: record.Encode(p)},
			golden.Vector{Name: fmt.Sprintf("%d: signed record of %s", i, p.Kind()), Bytes: sign(p)})
	}
	opening := record.Opening{User: user(4), Salt: [32]byte(golden.Fill(32, 9)), Email: "bob@example.com", Name: "Bob"}
	identity := opening.Commit(fingerprint())
	commitment := record.CommitToKey(fingerprint(), workspace(3), 2, [32]byte(golden.Fill(32, 1)))
	keyDigest := hpkeKey(3).Digest()
	start := record.WorkspaceLog(fingerprint(), workspace(3)).Start()
	next := start.Next(digest(1))
	golden.Compare(t, append(vectors,
		golden.Vector{Name: "opening", Bytes: canon.Marshal(opening)},
		golden.Vector{Name: "commitment to the opening", Bytes: identity[:]},
		golden.Vector{Name: "commitment to a workspace key", Bytes: commitment[:]},
		golden.Vector{Name: "digest of a public key", Bytes: keyDigest[:]},
		golden.Vector{Name: "head 0 of a workspace's log", Bytes: start.Head[:]},
		golden.Vector{Name: "head 1 of a workspace's log", Bytes: next.Head[:]}))
}

func TestARecordParsesToWhatWasSigned(t *testing.T) {
	for _, p := range payloads() {
		raw := sign(p)
		r, err := record.Parse(raw)
		if err != nil {
			t.Fatalf("%s: %v", p.Kind(), err)
		}
		got, err := r.Decode()
		if err != nil {
			t.Fatalf("%s: %v", p.Kind(), err)
		}
		if !bytes.Equal(record.Encode(got), record.Encode(p)) || got.Kind() != p.Kind() {
			t.Errorf("%s: got %v, want %v", p.Kind(), got, p)
		}
		if diff := cmp.Diff(canon.Marshal(body(p)), canon.Marshal(r.Body)); diff != "" {
			t.Errorf("%s: %s", p.Kind(), diff)
		}
	}
}

func TestASignatureHoldsForOneOrganizationOneKeyAndTheseBytes(t *testing.T) {
	raw := record.Sign(body(record.Heartbeat{}), fingerprint(), key(1))
	r := parse(t, raw)
	elsewhere := fingerprint()
	elsewhere[31]++
	for _, c := range []struct {
		name string
		got  bool
		want bool
	}{
		{"as signed", r.Signed(fingerprint(), public(1)), true},
		{"in another organization", r.Signed(elsewhere, public(1)), false},
		{"by another key", r.Signed(fingerprint(), public(2)), false},
		{"by a key of the wrong size", r.Signed(fingerprint(), public(1)[:31]), false},
		{"as a genesis", r.SignedGenesis(public(1), public(1)), false},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		if r, err := record.Parse(changed); err == nil && r.Signed(fingerprint(), public(1)) {
			t.Errorf("byte %d may change", i)
		}
	}
}

func TestAGenesisNeedsBothSignaturesInTheirPlaces(t *testing.T) {
	raw := sign(payloads()[0])
	r := parse(t, raw)
	if !r.SignedGenesis(public(1), public(3)) {
		t.Error("as signed: false, want true")
	}
	if r.SignedGenesis(public(1), public(1)) || r.SignedGenesis(public(3), public(3)) || r.SignedGenesis(public(3), public(1)) {
		t.Error("one key counts as both")
	}
	if r.Signed(fingerprint(), public(1)) {
		t.Error("a genesis counts as another record")
	}
	swapped := bytes.Clone(raw)
	n := len(raw)
	copy(swapped[n-128:], raw[n-64:])
	copy(swapped[n-64:], raw[n-128:n-64])
	if parse(t, swapped).SignedGenesis(public(1), public(3)) {
		t.Error("swapped signatures count")
	}
}

func parse(t *testing.T, raw []byte) *record.Record {
	t.Helper()
	r, err := record.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The envelope's two fields, for tests that build it by hand.
type envelope struct {
	_         struct{} `cbor:",toarray"`
	Body      []byte
	Signature []byte
}

func TestParsingRefuses(t *testing.T) {
	good := body(record.Heartbeat{})
	wrap := func(body []byte, signature int) []byte {
		return canon.Marshal(envelope{Body: body, Signature: make([]byte, signature)})
	}
	unknown := good
	unknown.Kind = 99
	longer := canon.Marshal(good)
	longer[0]++
	for _, c := range []struct {
		name string
		raw  []byte
		want fault.Kind
	}{
		{"nothing", nil, fault.Invalid},
		{"an unknown kind", wrap(canon.Marshal(unknown), 64), fault.Upgrade},
		{"a field that is unknown in the body", wrap(append(longer, 0), 64), fault.Upgrade},
		{"a field that is unknown in the envelope", append([]byte{0x83}, append(wrap(canon.Marshal(good), 64)[1:], 0)...), fault.Upgrade},
		{"a body with something behind it", wrap(append(canon.Marshal(good), 0), 64), fault.Invalid},
		{"a record with something behind it", append(wrap(canon.Marshal(good), 64), 0), fault.Invalid},
		{"a signature that is too short", wrap(canon.Marshal(good), 63), fault.Invalid},
		{"two signatures where one is due", wrap(canon.Marshal(good), 128), fault.Invalid},
		{"one signature on a genesis", wrap(canon.Marshal(body(payloads()[0])), 64), fault.Invalid},
		{"a record beyond the limit", make([]byte, record.MaxSize+1), fault.TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := record.Parse(c.raw); !fault.Is(err, c.want) {
				t.Errorf("got %v, want an error of kind %q", err, c.want)
			}
		})
	}
}

// with returns a copy of v that change has altered.
func with[T any](v T, change func(*T)) T {
	change(&v)
	return v
}

func TestDecodingRefusesContentThatIsNeverRight(t *testing.T) {
	commit := func(restructures bool, changes ...record.Change) record.Payload {
		return record.Commit{Generation: 1, Restructures: restructures, Changes: changes}
	}
	put := record.Change{Entry: entry(1), Version: 3, Base: 2, Manifest: golden.Fill(32, 5)}
	gone := record.Change{Entry: entry(2), Version: 2}
	genesis := payloads()[0].(record.Genesis)
	added := payloads()[2].(record.UserAdded)
	created := payloads()[11].(record.WorkspaceCreated)
	for _, c := range []struct {
		name    string
		payload record.Payload
	}{
		{"a root key of the wrong size", with(genesis, func(g *record.Genesis) { g.Root = g.Root[:31] })},
		{"an organization without a name", with(genesis, func(g *record.Genesis) { g.Name = "" })},
		{"an organization's name with a line end", with(genesis, func(g *record.Genesis) { g.Name = "a\nb" })},
		{"an organization's name that turns the text around", with(genesis, func(g *record.Genesis) { g.Name = "a\u202eb" })},
		{"an organization's name beyond its limit", with(genesis, func(g *record.Genesis) { g.Name = strings.Repeat("n", 129) })},
		{"a sequester authority's key of the wrong size", with(genesis, func(g *record.Genesis) { g.Sequester = []byte{1} })},
		{"a user without an id", with(added, func(p *record.UserAdded) { p.New.User = id.User{} })},
		{"a user's key of the wrong size", with(added, func(p *record.UserAdded) { p.New.Key = p.New.Key[1:] })},
		{"a first device without an id", with(added, func(p *record.UserAdded) { p.New.Device.Device = id.Device{} })},
		{"a device's verify key of the wrong size", with(added, func(p *record.UserAdded) { p.New.Device.Verify = make([]byte, 33) })},
		{"a device's encryption key of the wrong size", with(added, func(p *record.UserAdded) { p.New.Device.Encrypt = nil })},
		{"a user without a profile", with(added, func(p *record.UserAdded) { p.Profile = 0 })},
		{"a profile that does not exist", record.ProfileChanged{User: user(1), Profile: 4}},
		{"two replacements of one key", record.DeviceRevoked{Device: device(1), Replacement: []record.Replacement{replacement(), replacement()}}},
		{"a replacing key of the wrong size", record.UserKeyReplaced{Replacement: with(replacement(), func(r *record.Replacement) { r.Key = nil })}},
		{"deliveries out of order", record.UserKeyReplaced{Replacement: with(replacement(), func(r *record.Replacement) {
			r.Deliveries[0], r.Deliveries[1] = r.Deliveries[1], r.Deliveries[0]
		})}},
		{"two deliveries to one device", record.UserKeyReplaced{Replacement: with(replacement(), func(r *record.Replacement) { r.Deliveries[1] = r.Deliveries[0] })}},
		{"a sequester service without an id", record.SequesterAdded{Key: hpkeKey(1)}},
		{"a sequester service's key of the wrong size", record.SequesterAdded{Service: service(1), Key: make([]byte, 32)}},
		{"a workspace that starts at generation 2", with(created, func(p *record.WorkspaceCreated) { p.Rotation = rotation(2) })},
		{"a workspace without a name", with(created, func(p *record.WorkspaceCreated) { p.Name = nil })},
		{"a sealed name beyond its limit", with(created, func(p *record.WorkspaceCreated) { p.Name = make([]byte, 1025) })},
		{"a first generation with a backlink", with(created, func(p *record.WorkspaceCreated) { p.Rotation.Backlink = make([]byte, record.BacklinkSize) })},
		{"a rotation to generation 0", record.KeyRotated{Rotation: rotation(0)}},
		{"a rotation to generation 1", record.KeyRotated{Rotation: rotation(1)}},
		{"a rotation without a backlink", record.KeyRotated{Rotation: with(rotation(3), func(r *record.Rotation) { r.Backlink = nil })}},
		{"a rotation that links to nothing", record.KeyRotated{Rotation: with(rotation(3), func(r *record.Rotation) { r.Links = 0 })}},
		{"a rotation that links to itself", record.KeyRotated{Rotation: with(rotation(3), func(r *record.Rotation) { r.Links = 3 })}},
		{"grants out of order", record.KeyRotated{Rotation: with(rotation(3), func(r *record.Rotation) { r.Grants = []record.Grant{grant(2), grant(1)} })}},
		{"two grants to one recipient", record.KeyRotated{Rotation: with(rotation(3), func(r *record.Rotation) { r.Grants = []record.Grant{grant(1), grant(1)} })}},
		{"a role that does not exist", record.RoleChanged{User: user(1), Role: 5}},
		{"a removal without a rotation", record.RoleChanged{User: user(1)}},
		{"a removal with a grant", record.RoleChanged{User: user(1), Grant: []record.Grant{grant(1)}, Rotation: []record.Rotation{rotation(2)}}},
		{"a role with a rotation", record.RoleChanged{User: user(1), Role: record.RoleReader, Rotation: []record.Rotation{rotation(2)}}},
		{"a role with two grants", record.RoleChanged{User: user(1), Role: record.RoleReader, Grant: []record.Grant{grant(1), grant(2)}}},
		{"a new name of no bytes", record.Renamed{Generation: 1}},
		{"a state of archiving that does not exist", record.ArchivingChanged{State: 2}},
		{"a commit without a change", commit(false)},
		{"a commit of too many changes", commit(false, make([]record.Change, record.MaxChanges+1)...)},
		{"two changes of one entry", commit(false, put, put)},
		{"a change of no entry", commit(false, with(put, func(c *record.Change) { c.Entry = id.Entry{} }))},
		{"a change to version 0", commit(false, with(put, func(c *record.Change) { c.Version, c.Base = 0, 0 }))},
		{"a base beyond the version", commit(false, with(put, func(c *record.Change) { c.Base = 4 }))},
		{"a put without a digest", commit(false, with(put, func(c *record.Change) { c.Manifest = nil }))},
		{"a put with a digest of the wrong size", commit(false, with(put, func(c *record.Change) { c.Manifest = make([]byte, 31) }))},
		{"gone in a commit that does not restructure", commit(false, gone)},
		{"gone with a digest", commit(true, with(gone, func(c *record.Change) { c.Manifest = make([]byte, 32) }))},
		{"gone as an entry's first version", commit(true, with(gone, func(c *record.Change) { c.Version = 1 }))},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := parse(t, sign(c.payload)).Decode(); !fault.Is(err, fault.Invalid) {
				t.Errorf("got %v, want an error of kind invalid", err)
			}
		})
	}
}

func TestDecodingRefusesAPayloadOfAnotherShape(t *testing.T) {
	for _, c := range []struct {
		name    string
		payload []byte
		want    fault.Kind
	}{
		{"of another kind", record.Encode(record.UserRevoked{User: user(1)}), fault.Upgrade},
		{"with an unknown field", []byte{0x81, 0}, fault.Upgrade},
		{"with something behind it", []byte{0x80, 0}, fault.Invalid},
		{"of no bytes", nil, fault.Invalid},
		{"as a map", []byte{0xa0}, fault.Invalid},
	} {
		b := body(record.Heartbeat{})
		b.Payload = c.payload
		if _, err := parse(t, record.Sign(b, fingerprint(), key(1))).Decode(); !fault.Is(err, c.want) {
			t.Errorf("%s: got %v, want an error of kind %q", c.name, err, c.want)
		}
	}
}

func TestOpeningsAreHeldToTheirBounds(t *testing.T) {
	opening := func(email, name string) record.Opening { return record.Opening{Email: email, Name: name} }
	for _, c := range []struct {
		name    string
		opening record.Opening
		ok      bool
	}{
		{"as people have them", opening("zoë.o'hara+x@example.org", "Zoë O'Hara"), true},
		{"no name", opening("a@b", ""), false},
		{"a name that moves the cursor", opening("a@b", "\x1b[2J"), false},
		{"a name that is not UTF-8", opening("a@b", "\xff"), false},
		{"no address", opening("", "A"), false},
		{"an address without a domain", opening("a@", "A"), false},
		{"an address without a person", opening("@b", "A"), false},
		{"an address with two domains", opening("a@b@c", "A"), false},
		{"an address with a space", opening("a b@c", "A"), false},
		{"an address in brackets", opening("<a@b>", "A"), false},
		{"an address beyond its limit", opening(strings.Repeat("a", 254)+"@b", "A"), false},
	} {
		if err := c.opening.Check(); (err == nil) != c.ok {
			t.Errorf("%s: got %v, want accepted %v", c.name, err, c.ok)
		}
	}
}

func TestACommitmentBindsEveryFieldOfItsOpening(t *testing.T) {
	base := record.Opening{User: user(1), Email: "ab@c", Name: "d"}
	others := map[string]record.Opening{
		"another user":           with(base, func(o *record.Opening) { o.User[0]++ }),
		"another salt":           with(base, func(o *record.Opening) { o.Salt[0]++ }),
		"another address":        with(base, func(o *record.Opening) { o.Email = "a@bc" }),
		"a letter that moved on": with(base, func(o *record.Opening) { o.Email, o.Name = "ab@", "cd" }),
	}
	for name, o := range others {
		if o.Commit(fingerprint()) == base.Commit(fingerprint()) {
			t.Errorf("%s: the commitment is the same", name)
		}
	}
	if base.Commit(fingerprint()) == base.Commit([32]byte{}) {
		t.Error("another organization: the commitment is the same")
	}
}

func TestTheLargestRotationThatFitsIsLarge(t *testing.T) {
	r := rotation(2)
	r.Grants = make([]record.Grant, 12_000)
	for i := range r.Grants {
		copy(r.Grants[i].Recipient[:], label.Uint(uint64(i)))
	}
	if n := len(record.Sign(body(record.KeyRotated{Rotation: r}), fingerprint(), key(1))); n > record.MaxSize {
		t.Errorf("a rotation for %d members takes %d bytes, more than the %d that a record may", len(r.Grants), n, record.MaxSize)
	}
}

func TestNamesOfRolesAndProfilesParseBack(t *testing.T) {
	for p := record.ProfileOutsider; p <= record.ProfileAdmin; p++ {
		if got, err := record.ParseProfile(p.String()); err != nil || got != p {
			t.Errorf("profile %s: got %v, %v", p, got, err)
		}
	}
	for r := record.RoleReader; r <= record.RoleOwner; r++ {
		if got, err := record.ParseRole(r.String()); err != nil || got != r {
			t.Errorf("role %s: got %v, %v", r, got, err)
		}
	}
	if _, err := record.ParseRole("none"); !fault.Is(err, fault.Usage) {
		t.Errorf("role none: %v, want a usage error", err)
	}
	if _, err := record.ParseProfile("owner"); !fault.Is(err, fault.Usage) {
		t.Errorf("profile owner: %v, want a usage error", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, p := range payloads() {
		f.Add(sign(p))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := record.Parse(raw)
		if err != nil {
			return
		}
		if p, err := r.Decode(); err == nil && !bytes.Equal(record.Encode(p), r.Payload) {
			t.Errorf("a %s decodes from %x and encodes as %x", r.Kind, r.Payload, record.Encode(p))
		}
		r.Signed(fingerprint(), public(1))
		r.SignedGenesis(public(1), public(3))
	})
}

func FuzzDecode(f *testing.F) {
	for _, p := range payloads() {
		f.Add(byte(p.Kind()), record.Encode(p))
	}
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		r := &record.Record{Body: record.Body{Kind: record.Kind(kind), Payload: payload}}
		if p, err := r.Decode(); err == nil && (!bytes.Equal(record.Encode(p), payload) || p.Kind() != r.Kind) {
			t.Errorf("a %s decodes from %x and encodes as %x", r.Kind, payload, record.Encode(p))
		}
	})
}
