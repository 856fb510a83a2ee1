// Package verifytest makes organizations, people and workspaces for tests:
// real records under real Ed25519 keys that pass the rules of package verify,
// in a few words each, and records that are wrong on purpose.
//
// What records only commit to by digest (grants, manifests, deliveries) is
// random bytes that the kit keeps in [Kit.Sealed]; encryption keys are random
// bytes too, unless [Config.NewKey] gives real ones. A kit is for one test and
// not safe for concurrent use. Whatever ought to succeed and does not ends the
// test.
package verifytest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/verify"
)

// TB is what the kit needs of a test; *testing.T, *testing.B and *rapid.T have it.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Config is how a kit differs from the usual one; the zero value is usual.
type Config struct {
	// Name is the organization's.
	Name string
	// Sequester makes an organization with a sequester authority, [Kit.Authority].
	Sequester bool
	// NewKey returns the public half of a new encryption key; nil for random bytes.
	NewKey func() record.PublicKey
	// Random is where all keys and ids come from; nil for the real source. With
	// the same bytes and the same Now, a kit makes the same records again.
	Random io.Reader
	// Now is the clock of all devices; nil for the real one.
	Now func() time.Time
}

// Device is an author: a user at one workstation.
type Device struct {
	// User is the device's user.
	User id.User
	// ID is zero for the sequester authority, and for nobody else.
	ID id.Device
	// Signing signs the device's records.
	Signing ed25519.PrivateKey
	// Encrypt is the device's own encryption key.
	Encrypt record.PublicKey
	// Opening opens the user's identity; a second device has that of the first.
	Opening record.Opening
}

// Keys returns the public half of the device.
func (d *Device) Keys() record.DeviceKeys {
	return record.DeviceKeys{Device: d.ID, Verify: d.Signing.Public().(ed25519.PublicKey), Encrypt: d.Encrypt}
}

// Kit is an organization with all its secrets.
type Kit struct {
	// Org is the state behind all of Records.
	Org *verify.Organization
	// Records is the organization's log, from genesis on.
	Records [][]byte
	// Positions are those behind each of Records.
	Positions []record.Position
	// Root is the root key, which a real organization destroys.
	Root ed25519.PrivateKey
	// Admin is the first device of the first user.
	Admin *Device
	// Authority is the sequester authority; nil without [Config.Sequester].
	Authority *Device
	// Sealed holds by digest what the kit's records commit to.
	Sealed map[record.Digest][]byte

	t      TB
	config Config
	people int
}

// New returns an organization with one administrator.
func New(t TB) *Kit {
	t.Helper()
	return NewWith(t, Config{})
}

// NewWith returns an organization with one administrator, made as c says.
func NewWith(t TB, c Config) *Kit {
	t.Helper()
	if c.Name == "" {
		c.Name = "Acme"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	k := &Kit{t: t, config: c, Sealed: map[record.Digest][]byte{}}
	if c.NewKey == nil {
		k.config.NewKey = func() record.PublicKey { return k.random(record.PublicKeySize) }
	}
	k.Root = k.newSigning()
	root := k.Root.Public().(ed25519.PublicKey)
	genesis := record.Genesis{Root: root, Name: c.Name}
	genesis.First, k.Admin = k.NewUser([32]byte(root))
	if c.Sequester {
		k.Authority = &Device{Signing: k.newSigning()}
		genesis.Sequester = k.Authority.Signing.Public().(ed25519.PublicKey)
	}
	raw := k.SignGenesis(genesis)
	k.Org = verify.NewOrganization(sha256.Sum256(raw))
	k.Must(raw)
	return k
}

// SignGenesis returns a genesis record by the kit's root key and administrator.
func (k *Kit) SignGenesis(g record.Genesis, edits ...func(*record.Body)) []byte {
	log := record.OrganizationLog(k.Root.Public().(ed25519.PublicKey))
	b := record.Body{
		Log: log, Author: k.Admin.ID, Seq: 1, Time: k.config.Now().UnixNano(),
		Seen: record.Seen{Organization: log.Start()}, Kind: g.Kind(), Payload: record.Encode(g),
	}
	for _, edit := range edits {
		edit(&b)
	}
	return record.SignGenesis(b, k.Root, k.Admin.Signing)
}

// Fingerprint returns the organization's identity.
func (k *Kit) Fingerprint() id.Fingerprint { return k.Org.Fingerprint() }

// NewUser returns a user who is not in any log yet, and the first device. The
// identity is committed to for an organization: its fingerprint or, in a
// genesis, its root key.
func (k *Kit) NewUser(organization [32]byte) (record.NewUser, *Device) {
	k.people++
	d := k.newDevice(id.User(k.newID()))
	d.Opening = record.Opening{
		User: d.User, Salt: [32]byte(k.random(32)),
		Email: fmt.Sprintf("user%d@example.com", k.people), Name: fmt.Sprintf("User %d", k.people),
	}
	return record.NewUser{
		User: d.User, Identity: d.Opening.Commit(organization), Key: k.config.NewKey(), Device: d.Keys(),
	}, d
}

func (k *Kit) newDevice(u id.User) *Device {
	return &Device{User: u, ID: id.Device(k.newID()), Signing: k.newSigning(), Encrypt: k.config.NewKey()}
}

// Sign returns the next record of the organization's log, without appending
// it. The edits change the body before it is signed.
func (k *Kit) Sign(by *Device, p record.Payload, edits ...func(*record.Body)) []byte {
	b := record.Body{
		Log: record.OrganizationLog(k.Org.Root()), Author: by.ID, Seq: k.nextSeq(by),
		Time: max(k.config.Now().UnixNano(), k.Org.Time()),
		Seen: record.Seen{Organization: k.Org.Position()}, Kind: p.Kind(), Payload: record.Encode(p),
	}
	return sign(b, k.Fingerprint(), by, edits)
}

func (k *Kit) nextSeq(by *Device) uint64 {
	if !by.ID.IsZero() {
		return k.Org.Sequence(by.ID) + 1
	}
	var seq uint64 = 1
	for _, raw := range k.Records {
		if r, err := record.Parse(raw); err == nil && r.Author.IsZero() {
			seq++
		}
	}
	return seq
}

func sign(b record.Body, f id.Fingerprint, by *Device, edits []func(*record.Body)) []byte {
	for _, edit := range edits {
		edit(&b)
	}
	return record.Sign(b, f, by.Signing)
}

// Try appends a record to the organization's log, or says why it may not stand there.
func (k *Kit) Try(raw []byte) (*verify.Step, error) {
	step, err := k.Org.Append(raw)
	if err == nil {
		k.Records, k.Positions = append(k.Records, raw), append(k.Positions, step.Position)
	}
	return step, err
}

// Must appends a record to the organization's log.
func (k *Kit) Must(raw []byte) *verify.Step {
	k.t.Helper()
	step, err := k.Try(raw)
	if err != nil {
		k.t.Fatalf("append to the organization's log: %v", err)
	}
	return step
}

// Append signs a record and appends it to the organization's log.
func (k *Kit) Append(by *Device, p record.Payload, edits ...func(*record.Body)) *verify.Step {
	k.t.Helper()
	return k.Must(k.Sign(by, p, edits...))
}

// AddUser adds a user through the administrator, and returns the first device.
func (k *Kit) AddUser(p record.Profile) *Device {
	k.t.Helper()
	n, d := k.NewUser([32]byte(k.Fingerprint()))
	k.Append(k.Admin, record.UserAdded{New: n, Profile: p})
	return d
}

// NewDevice returns another device of a device's user, in no log yet.
func (k *Kit) NewDevice(of *Device) *Device {
	d := k.newDevice(of.User)
	d.Opening = of.Opening
	return d
}

// AddDevice adds another device to a device's user.
func (k *Kit) AddDevice(by *Device) *Device {
	k.t.Helper()
	d := k.NewDevice(by)
	k.Append(by, record.DeviceAdded{New: d.Keys()})
	return d
}

// SetProfile gives a user another profile.
func (k *Kit) SetProfile(by, of *Device, p record.Profile) {
	k.t.Helper()
	k.Append(by, record.ProfileChanged{User: of.User, Profile: p})
}

// RevokeUser revokes a user.
func (k *Kit) RevokeUser(by, of *Device) {
	k.t.Helper()
	k.Append(by, record.UserRevoked{User: of.User})
}

// RevokeDevice revokes a device alone, so that its user's key awaits replacement.
func (k *Kit) RevokeDevice(by, of *Device) {
	k.t.Helper()
	k.Append(by, record.DeviceRevoked{Device: of.ID})
}

// RevokeAndReplace revokes another device of the author's user and replaces
// the user's key in the same record.
func (k *Kit) RevokeAndReplace(by, of *Device) {
	k.t.Helper()
	k.Append(by, record.DeviceRevoked{Device: of.ID, Replacement: []record.Replacement{k.Replacement(by, of.ID)}})
}

// ReplaceKey replaces the key of the author's user.
func (k *Kit) ReplaceKey(by *Device) {
	k.t.Helper()
	k.Append(by, record.UserKeyReplaced{Replacement: k.Replacement(by)})
}

// Replacement returns a new key for the author's user, delivered to all of the
// user's unrevoked devices but the named ones.
func (k *Kit) Replacement(by *Device, without ...id.Device) record.Replacement {
	r := record.Replacement{Key: k.config.NewKey()}
	user, _ := k.Org.User(by.User)
	for _, d := range user.Devices {
		if device, _ := k.Org.Device(d); device.Revoked == 0 && !slices.Contains(without, d) {
			r.Deliveries = append(r.Deliveries, record.Delivery{Device: d, Sealed: k.Seal()})
		}
	}
	slices.SortFunc(r.Deliveries, func(a, b record.Delivery) int { return bytes.Compare(a.Device[:], b.Device[:]) })
	return r
}

// AddService adds a sequester service.
func (k *Kit) AddService() id.Service {
	k.t.Helper()
	s := id.Service(k.newID())
	k.Append(k.Authority, record.SequesterAdded{Service: s, Key: k.config.NewKey()})
	return s
}

// Seal keeps some random bytes that stand for something sealed, and returns
// their digest.
func (k *Kit) Seal() record.Digest {
	sealed := k.random(64)
	d := record.Digest(sha256.Sum256(sealed))
	k.Sealed[d] = sealed
	return d
}

func (k *Kit) newSigning() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(k.random(ed25519.SeedSize))
}

func (k *Kit) newID() [id.Size]byte { return [id.Size]byte(k.random(id.Size)) }

func (k *Kit) random(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(k.config.Random, b); err != nil {
		k.t.Fatalf("read random bytes: %v", err)
	}
	return b
}
