package verify_test

import (
	"crypto/sha256"
	"math"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/verify"
	"parsec/internal/verify/verifytest"
)

// organizationCase is a record at the end of the cast's organization log.
type organizationCase struct {
	name string
	make func(c *cast) []byte
	want outcome
}

func runOrganization(t *testing.T, cases []organizationCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := newCast(t)
			raw := tc.make(c)
			tryOrganization(t, c.Kit, raw, tc.want)
		})
	}
}

func (c *cast) newUser() record.UserAdded {
	n, _ := c.NewUser([32]byte(c.Fingerprint()))
	return record.UserAdded{New: n, Profile: record.ProfileStandard}
}

func genesis(k *verifytest.Kit) record.Genesis {
	r, err := record.Parse(k.Records[0])
	if err != nil {
		panic(err)
	}
	p, err := r.Decode()
	if err != nil {
		panic(err)
	}
	return p.(record.Genesis)
}

func TestTheGenesisIsTheOrganization(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(k *verifytest.Kit) []byte
		want outcome
	}{
		{"the genesis as it was signed is accepted", func(k *verifytest.Kit) []byte {
			return k.SignGenesis(genesis(k))
		}, accepted},
		{"a root key that did not sign is refused", func(k *verifytest.Kit) []byte {
			g := genesis(k)
			g.Root = verifytest.New(t).Org.Root()
			return k.SignGenesis(g)
		}, forged},
		{"a first device that did not sign is refused", func(k *verifytest.Kit) []byte {
			g := genesis(k)
			g.First.Device.Verify = verifytest.New(t).Admin.Keys().Verify
			return k.SignGenesis(g)
		}, forged},
		{"another author than the first device is refused", func(k *verifytest.Kit) []byte {
			return k.SignGenesis(genesis(k), func(b *record.Body) { b.Author = id.New[id.Device]() })
		}, place},
		{"another sequence number than one is refused", func(k *verifytest.Kit) []byte {
			return k.SignGenesis(genesis(k), func(b *record.Body) { b.Seq = 2 })
		}, place},
		{"another log than the root key's is refused", func(k *verifytest.Kit) []byte {
			return k.SignGenesis(genesis(k), func(b *record.Body) { b.Log[0]++ })
		}, place},
		{"a genesis that saw something before is refused", func(k *verifytest.Kit) []byte {
			return k.SignGenesis(genesis(k), func(b *record.Body) { b.Seen.Workspace.Index = 1 })
		}, place},
		{"another kind of record is refused", func(k *verifytest.Kit) []byte {
			return k.Sign(k.Admin, record.UserRevoked{User: k.Admin.User})
		}, form},
		{"bytes that are no record are refused", func(*verifytest.Kit) []byte { return []byte("genesis") }, form},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := verifytest.New(t)
			raw := tc.make(k)
			// The fingerprint is that of the record itself, so that only the rules stand in its way.
			k.Org = verify.NewOrganization(sha256.Sum256(raw))
			tryOrganization(t, k, raw, tc.want)
		})
	}
}

func TestAnotherGenesisIsNotThisOrganization(t *testing.T) {
	k, other := verifytest.New(t), verifytest.New(t)
	real := k.Records[0]
	again := k.SignGenesis(genesis(k), func(b *record.Body) { b.Time++ })
	k.Org = verify.NewOrganization(k.Fingerprint())
	for name, raw := range map[string][]byte{
		"another organization's":       other.Records[0],
		"one signed twice by the root": again,
		"one with a bit flipped":       flipped(real, 99),
	} {
		t.Run(name, func(t *testing.T) { tryOrganization(t, k, raw, form) })
	}
	tryOrganization(t, k, real, accepted)
	tryOrganization(t, k, real, forged)
}

func TestAnOrganizationRecordStandsWhereItWasSigned(t *testing.T) {
	runOrganization(t, []organizationCase{
		{"at the end of the log it is accepted", func(c *cast) []byte {
			return c.Sign(c.alice, c.newUser())
		}, accepted},
		{"one that had not seen the newest record is refused", func(c *cast) []byte {
			raw := c.Sign(c.alice, c.newUser())
			c.AddUser(record.ProfileStandard)
			return raw
		}, place},
		{"one by another author that had not seen the newest record is refused", func(c *cast) []byte {
			raw := c.Sign(c.bob, record.DeviceAdded{New: c.NewDevice(c.bob).Keys()})
			c.AddUser(record.ProfileStandard)
			return raw
		}, place},
		{"one that has seen what is not there yet is refused", func(c *cast) []byte {
			return c.Sign(c.alice, c.newUser(), func(b *record.Body) { b.Seen.Organization.Index++ })
		}, place},
		{"one that has seen another history is refused", func(c *cast) []byte {
			return c.Sign(c.alice, c.newUser(), func(b *record.Body) { b.Seen.Organization.Head[0]++ })
		}, place},
		{"one that has seen a workspace is refused", func(c *cast) []byte {
			return c.Sign(c.alice, c.newUser(), func(b *record.Body) { b.Seen.Workspace.Index = 1 })
		}, place},
		{"one of another log is refused", func(c *cast) []byte {
			return c.Sign(c.alice, c.newUser(), func(b *record.Body) { b.Log[0]++ })
		}, form},
		{"one of another organization is refused", func(c *cast) []byte {
			other := verifytest.New(t)
			return other.Sign(c.alice, c.newUser(), func(b *record.Body) {
				b.Log, b.Seen, b.Seq = record.OrganizationLog(c.Org.Root()), record.Seen{Organization: c.Org.Position()}, c.Org.Sequence(c.alice.ID)+1
			})
		}, forged},
		{"one of a workspace is refused", func(c *cast) []byte {
			return c.CreateWorkspace(c.alice).Sign(c.alice, record.Heartbeat{})
		}, form},
		{"a workspace's kind in the organization's log is refused", func(c *cast) []byte {
			return c.Sign(c.alice, record.Heartbeat{})
		}, form},
		{"a second genesis is refused", func(c *cast) []byte { return c.SignGenesis(genesis(c.Kit)) }, forged},
		{"a genesis signed like any other record is refused", func(c *cast) []byte {
			return c.Sign(c.alice, genesis(c.Kit))
		}, form},
	})
}

func TestADeviceCountsItsOrganizationRecords(t *testing.T) {
	seq := func(n uint64) func(*record.Body) { return func(b *record.Body) { b.Seq = n } }
	runOrganization(t, []organizationCase{
		{"the first record of a device is number one", func(c *cast) []byte {
			return c.Sign(c.phone, record.DeviceAdded{New: c.NewDevice(c.bob).Keys()}, seq(1))
		}, accepted},
		{"a number that was used is refused", func(c *cast) []byte {
			return c.Sign(c.alice, c.newUser(), seq(c.Org.Sequence(c.alice.ID)))
		}, sequence},
		{"a number left out is refused", func(c *cast) []byte {
			return c.Sign(c.alice, c.newUser(), seq(c.Org.Sequence(c.alice.ID)+2))
		}, sequence},
		{"number zero is refused", func(c *cast) []byte { return c.Sign(c.carol, c.newUser(), seq(0)) }, sequence},
		{"the sequester authority counts too", func(c *cast) []byte {
			c.AddService()
			return c.Sign(c.Authority, record.SequesterAdded{Service: id.New[id.Service](), Key: c.alice.Encrypt}, seq(1))
		}, sequence},
		{"a record that was accepted is refused the second time", func(c *cast) []byte {
			raw := c.Sign(c.alice, c.newUser())
			c.Must(raw)
			return raw
		}, place},
	})
}

func TestTimeNeverGoesBackInAnOrganization(t *testing.T) {
	runOrganization(t, []organizationCase{
		{"the time of the record before is accepted", func(c *cast) []byte {
			return c.Sign(c.alice, c.newUser(), func(b *record.Body) { b.Time = c.Org.Time() })
		}, accepted},
		{"a time before that is refused", func(c *cast) []byte {
			return c.Sign(c.alice, c.newUser(), func(b *record.Body) { b.Time = c.Org.Time() - 1 })
		}, backwards},
		{"the beginning of time is refused", func(c *cast) []byte {
			return c.Sign(c.alice, c.newUser(), func(b *record.Body) { b.Time = math.MinInt64 })
		}, backwards},
	})
}

func TestOnlyTheDeviceItselfSigns(t *testing.T) {
	runOrganization(t, []organizationCase{
		{"another device of the same user in its name is refused", func(c *cast) []byte {
			return c.Sign(&verifytest.Device{User: c.alice.User, ID: c.desk.ID, Signing: c.alice.Signing}, c.newUser())
		}, forged},
		{"a device that the organization does not know is refused", func(c *cast) []byte {
			return c.Sign(c.NewDevice(c.alice), c.newUser())
		}, denied},
		{"a stranger in the name of the sequester authority is refused", func(c *cast) []byte {
			return c.Sign(&verifytest.Device{Signing: c.alice.Signing}, record.SequesterAdded{Service: id.New[id.Service](), Key: c.alice.Encrypt})
		}, forged},
	})
}

func TestAdministratorsAddUsers(t *testing.T) {
	add := func(by func(*cast) *verifytest.Device, edits ...func(*cast, *record.UserAdded)) func(*cast) []byte {
		return func(c *cast) []byte {
			p := c.newUser()
			for _, edit := range edits {
				edit(c, &p)
			}
			return c.Sign(by(c), p)
		}
	}
	alice := func(c *cast) *verifytest.Device { return c.alice }
	runOrganization(t, []organizationCase{
		{"the first administrator may", add(alice), accepted},
		{"any device of an administrator may", add(func(c *cast) *verifytest.Device { return c.desk }), accepted},
		{"a user added as an administrator may", add(func(c *cast) *verifytest.Device { return c.carol }), accepted},
		{"a user made an administrator may", add(func(c *cast) *verifytest.Device {
			c.SetProfile(c.alice, c.bob, record.ProfileAdmin)
			return c.phone
		}), accepted},
		{"an administrator of before may not", add(func(c *cast) *verifytest.Device {
			c.SetProfile(c.alice, c.carol, record.ProfileStandard)
			return c.carol
		}), denied},
		{"a standard user may not", add(func(c *cast) *verifytest.Device { return c.bob }), denied},
		{"an outsider may not", add(func(c *cast) *verifytest.Device { return c.guest }), denied},
		{"a revoked administrator may not", add(func(c *cast) *verifytest.Device { return c.gone }), denied},
		{"a revoked device of an administrator may not", add(func(c *cast) *verifytest.Device {
			c.RevokeDevice(c.alice, c.desk)
			return c.desk
		}), denied},
		{"the sequester authority may not", add(func(c *cast) *verifytest.Device { return c.Authority }), denied},
		{"a user who exists is refused", add(alice, func(c *cast, p *record.UserAdded) { p.New.User = c.bob.User }), denied},
		{"a user who was revoked is refused", add(alice, func(c *cast, p *record.UserAdded) { p.New.User = c.gone.User }), denied},
		{"a device that exists is refused", add(alice, func(c *cast, p *record.UserAdded) { p.New.Device.Device = c.phone.ID }), denied},
		{"a device that was revoked is refused", add(alice, func(c *cast, p *record.UserAdded) { p.New.Device.Device = c.lost.ID }), denied},
		{"the id of a sequester service is refused", add(alice, func(c *cast, p *record.UserAdded) {
			p.New.User = id.User(c.AddService())
		}), denied},
		{"a user without an id is refused", add(alice, func(_ *cast, p *record.UserAdded) { p.New.User = id.User{} }), form},
		{"a profile that does not exist is refused", add(alice, func(_ *cast, p *record.UserAdded) { p.Profile = 4 }), form},
		{"a short key is refused", add(alice, func(_ *cast, p *record.UserAdded) { p.New.Key = p.New.Key[1:] }), form},
	})
}

func TestADeviceIsAddedByItsOwnUser(t *testing.T) {
	runOrganization(t, []organizationCase{
		{"a user may add a device", func(c *cast) []byte {
			return c.Sign(c.phone, record.DeviceAdded{New: c.NewDevice(c.bob).Keys()})
		}, accepted},
		{"an outsider may add a device", func(c *cast) []byte {
			return c.Sign(c.guest, record.DeviceAdded{New: c.NewDevice(c.guest).Keys()})
		}, accepted},
		{"a revoked user may not", func(c *cast) []byte {
			return c.Sign(c.gone, record.DeviceAdded{New: c.NewDevice(c.gone).Keys()})
		}, denied},
		{"a revoked device may not", func(c *cast) []byte {
			return c.Sign(c.lost, record.DeviceAdded{New: c.NewDevice(c.dave).Keys()})
		}, denied},
		{"the sequester authority may not", func(c *cast) []byte {
			return c.Sign(c.Authority, record.DeviceAdded{New: c.NewDevice(c.dave).Keys()})
		}, denied},
		{"another user's device is refused", func(c *cast) []byte {
			return c.Sign(c.alice, record.DeviceAdded{New: c.phone.Keys()})
		}, denied},
		{"a revoked device is refused", func(c *cast) []byte {
			return c.Sign(c.dave, record.DeviceAdded{New: c.lost.Keys()})
		}, denied},
		{"a device without an id is refused", func(c *cast) []byte {
			d := c.NewDevice(c.bob)
			d.ID = id.Device{}
			return c.Sign(c.bob, record.DeviceAdded{New: d.Keys()})
		}, form},
	})
}

func TestAnAddedDeviceBelongsToTheAuthorsUser(t *testing.T) {
	c := newCast(t)
	d := c.AddDevice(c.phone)
	if got, ok := c.Org.Device(d.ID); !ok || got.User != c.bob.User || got.Added != c.Org.Position().Index {
		t.Errorf("the device is %+v", got)
	}
}

func TestAdministratorsChangeTheProfilesOfOthers(t *testing.T) {
	change := func(by, of func(*cast) *verifytest.Device, p record.Profile) func(*cast) []byte {
		return func(c *cast) []byte { return c.Sign(by(c), record.ProfileChanged{User: of(c).User, Profile: p}) }
	}
	alice, desk := func(c *cast) *verifytest.Device { return c.alice }, func(c *cast) *verifytest.Device { return c.desk }
	bob, carol := func(c *cast) *verifytest.Device { return c.bob }, func(c *cast) *verifytest.Device { return c.carol }
	runOrganization(t, []organizationCase{
		{"a standard user becomes an administrator", change(alice, bob, record.ProfileAdmin), accepted},
		{"a standard user becomes an outsider", change(alice, bob, record.ProfileOutsider), accepted},
		{"an administrator becomes a standard user", change(alice, carol, record.ProfileStandard), accepted},
		{"the first administrator can be demoted", change(carol, alice, record.ProfileOutsider), accepted},
		{"a standard user may not", change(bob, carol, record.ProfileStandard), denied},
		{"nobody may change their own", change(alice, alice, record.ProfileStandard), denied},
		{"nobody may change their own from another device", change(desk, alice, record.ProfileStandard), denied},
		{"a change to the same profile is refused", change(alice, bob, record.ProfileStandard), denied},
		{"a revoked user has no profile", change(alice, func(c *cast) *verifytest.Device { return c.gone }, record.ProfileStandard), denied},
		{"an unknown user has no profile", change(alice, func(*cast) *verifytest.Device {
			return &verifytest.Device{User: id.New[id.User]()}
		}, record.ProfileStandard), denied},
		{"a profile that does not exist is refused", change(alice, bob, 0), form},
	})
}

func TestAdministratorsRevokeOthers(t *testing.T) {
	revoke := func(by, of func(*cast) *verifytest.Device) func(*cast) []byte {
		return func(c *cast) []byte { return c.Sign(by(c), record.UserRevoked{User: of(c).User}) }
	}
	alice, desk := func(c *cast) *verifytest.Device { return c.alice }, func(c *cast) *verifytest.Device { return c.desk }
	bob, carol := func(c *cast) *verifytest.Device { return c.bob }, func(c *cast) *verifytest.Device { return c.carol }
	gone := func(c *cast) *verifytest.Device { return c.gone }
	runOrganization(t, []organizationCase{
		{"a user can be revoked", revoke(alice, bob), accepted},
		{"another administrator can be revoked", revoke(alice, carol), accepted},
		{"the last but one administrator can be revoked", revoke(carol, alice), accepted},
		{"nobody revokes themselves, so an administrator always stays", revoke(alice, alice), denied},
		{"nobody revokes themselves from another device", revoke(desk, alice), denied},
		{"a standard user may not", revoke(bob, carol), denied},
		{"a revoked administrator may not", revoke(gone, alice), denied},
		{"a revoked user is not revoked again", revoke(alice, gone), denied},
	})
}

func TestADeviceIsRevokedByItsUserOrAnAdministrator(t *testing.T) {
	revoke := func(by, of func(*cast) *verifytest.Device) func(*cast) []byte {
		return func(c *cast) []byte { return c.Sign(by(c), record.DeviceRevoked{Device: of(c).ID}) }
	}
	alice, desk := func(c *cast) *verifytest.Device { return c.alice }, func(c *cast) *verifytest.Device { return c.desk }
	bob, phone := func(c *cast) *verifytest.Device { return c.bob }, func(c *cast) *verifytest.Device { return c.phone }
	dave, lost := func(c *cast) *verifytest.Device { return c.dave }, func(c *cast) *verifytest.Device { return c.lost }
	runOrganization(t, []organizationCase{
		{"by another device of the same user", revoke(bob, phone), accepted},
		{"the first device by the second", revoke(phone, bob), accepted},
		{"by an administrator", revoke(alice, phone), accepted},
		{"the user's only device by an administrator", revoke(alice, dave), accepted},
		{"an administrator's by another device of theirs", revoke(desk, alice), accepted},
		{"by itself is refused", revoke(bob, bob), denied},
		{"an administrator's device by itself is refused", revoke(alice, alice), denied},
		{"by another user is refused", revoke(dave, phone), denied},
		{"a revoked device is not revoked again", revoke(dave, lost), denied},
		{"a revoked device may not", revoke(lost, dave), denied},
		{"the device of a revoked user is not in use", revoke(alice, func(c *cast) *verifytest.Device { return c.gone }), denied},
		{"an unknown device is refused", revoke(alice, func(c *cast) *verifytest.Device { return c.NewDevice(c.bob) }), denied},
	})
}

func TestAReplacedKeyIsDeliveredToEveryDeviceThatStays(t *testing.T) {
	revoke := func(by, of func(*cast) *verifytest.Device, edits ...func(*cast, *record.Replacement)) func(*cast) []byte {
		return func(c *cast) []byte {
			r := c.Replacement(by(c), of(c).ID)
			for _, edit := range edits {
				edit(c, &r)
			}
			return c.Sign(by(c), record.DeviceRevoked{Device: of(c).ID, Replacement: []record.Replacement{r}})
		}
	}
	replace := func(by func(*cast) *verifytest.Device, edits ...func(*cast, *record.Replacement)) func(*cast) []byte {
		return func(c *cast) []byte {
			r := c.Replacement(by(c))
			for _, edit := range edits {
				edit(c, &r)
			}
			return c.Sign(by(c), record.UserKeyReplaced{Replacement: r})
		}
	}
	alice := func(c *cast) *verifytest.Device { return c.alice }
	bob, phone := func(c *cast) *verifytest.Device { return c.bob }, func(c *cast) *verifytest.Device { return c.phone }
	runOrganization(t, []organizationCase{
		{"with the revocation, to the others", revoke(bob, phone), accepted},
		{"by itself, to all", replace(phone), accepted},
		{"after an administrator revoked the device, to the others", func(c *cast) []byte {
			c.RevokeDevice(c.alice, c.phone)
			return replace(bob)(c)
		}, accepted},
		{"a device left out is refused", replace(bob, func(_ *cast, r *record.Replacement) { r.Deliveries = r.Deliveries[1:] }), denied},
		{"nobody at all is refused", replace(bob, func(_ *cast, r *record.Replacement) { r.Deliveries = nil }), denied},
		{"the device that is revoked is refused", revoke(bob, phone, func(c *cast, r *record.Replacement) {
			*r = c.Replacement(c.bob)
		}), denied},
		{"somebody else's device is refused", replace(bob, func(c *cast, r *record.Replacement) {
			r.Deliveries[0].Device = c.alice.ID
			if r.Deliveries[1].Device.String() < c.alice.ID.String() {
				r.Deliveries[0], r.Deliveries[1] = r.Deliveries[1], r.Deliveries[0]
			}
		}), denied},
		{"a device revoked before is refused", func(c *cast) []byte {
			r := c.Replacement(c.bob)
			c.RevokeDevice(c.alice, c.phone)
			return c.Sign(c.bob, record.UserKeyReplaced{Replacement: r})
		}, denied},
		{"one device twice is refused", replace(bob, func(_ *cast, r *record.Replacement) {
			r.Deliveries[1] = r.Deliveries[0]
		}), form},
		{"a key that the user had before is refused", replace(bob, func(c *cast, r *record.Replacement) {
			u, _ := c.Org.User(c.bob.User)
			r.Key = u.Key()
		}), denied},
		{"an administrator does not replace the key of another", func(c *cast) []byte {
			return c.Sign(c.alice, record.DeviceRevoked{Device: c.phone.ID, Replacement: []record.Replacement{c.Replacement(c.bob, c.phone.ID)}})
		}, denied},
		{"an administrator revoking another's device replaces no own key in passing", revoke(alice, phone), denied},
		{"the sequester authority has no key to replace", func(c *cast) []byte {
			return c.Sign(c.Authority, record.UserKeyReplaced{Replacement: c.Replacement(c.bob)})
		}, denied},
		{"two replacements are refused", func(c *cast) []byte {
			r := c.Replacement(c.bob, c.phone.ID)
			return c.Sign(c.bob, record.DeviceRevoked{Device: c.phone.ID, Replacement: []record.Replacement{r, r}})
		}, form},
	})
}

func TestAKeyAwaitsReplacementWhileARevokedDeviceHoldsIt(t *testing.T) {
	c := newCast(t)
	sealable := func() bool {
		_, ok := c.Org.KeyAt(c.bob.User, c.Org.Position().Index)
		return ok
	}
	before := c.Org.Position().Index
	if !sealable() {
		t.Error("bob has no key")
	}
	c.RevokeDevice(c.alice, c.phone)
	revoked := c.Org.Position().Index
	if sealable() {
		t.Error("the key that a lost device holds is in use")
	}
	c.AddDevice(c.bob)
	if sealable() {
		t.Error("a new device mends the key")
	}
	c.ReplaceKey(c.bob)
	if !sealable() {
		t.Error("the replaced key is not in use")
	}
	if _, ok := c.Org.KeyAt(c.bob.User, revoked); ok {
		t.Error("at the revocation the key was in use")
	}
	old, _ := c.Org.KeyAt(c.bob.User, before)
	now, _ := c.Org.KeyAt(c.bob.User, c.Org.Position().Index)
	if old.Digest() == now.Digest() {
		t.Error("the key is the same")
	}
	c.RevokeAndReplace(c.bob, c.AddDevice(c.bob))
	if !sealable() {
		t.Error("a key replaced in the revocation is not in use")
	}
	c.RevokeUser(c.alice, c.bob)
	if sealable() {
		t.Error("a revoked user has a key")
	}
}

func TestTheSequesterAuthorityAloneKeepsItsServices(t *testing.T) {
	added := func(c *cast) record.SequesterAdded {
		return record.SequesterAdded{Service: id.New[id.Service](), Key: c.alice.Encrypt}
	}
	runOrganization(t, []organizationCase{
		{"the authority adds a service", func(c *cast) []byte { return c.Sign(c.Authority, added(c)) }, accepted},
		{"an administrator does not", func(c *cast) []byte { return c.Sign(c.alice, added(c)) }, denied},
		{"the authority revokes a service", func(c *cast) []byte {
			return c.Sign(c.Authority, record.SequesterRevoked{Service: c.AddService()})
		}, accepted},
		{"an administrator does not revoke one", func(c *cast) []byte {
			return c.Sign(c.alice, record.SequesterRevoked{Service: c.AddService()})
		}, denied},
		{"a service that exists is refused", func(c *cast) []byte {
			p := added(c)
			c.Append(c.Authority, p)
			return c.Sign(c.Authority, p)
		}, denied},
		{"the id of a user is refused", func(c *cast) []byte {
			p := added(c)
			p.Service = id.Service(c.gone.User)
			return c.Sign(c.Authority, p)
		}, denied},
		{"a service is not revoked twice", func(c *cast) []byte {
			p := record.SequesterRevoked{Service: c.AddService()}
			c.Append(c.Authority, p)
			return c.Sign(c.Authority, p)
		}, denied},
		{"an unknown service is refused", func(c *cast) []byte {
			return c.Sign(c.Authority, record.SequesterRevoked{Service: id.New[id.Service]()})
		}, denied},
		{"a service without an id is refused", func(c *cast) []byte {
			return c.Sign(c.Authority, record.SequesterAdded{Key: c.alice.Encrypt})
		}, form},
		{"the authority revokes nobody", func(c *cast) []byte { return c.Sign(c.Authority, record.UserRevoked{User: c.bob.User}) }, denied},
	})
}

func TestAnOrganizationWithoutAuthorityHasNoServices(t *testing.T) {
	k := verifytest.New(t)
	p := record.SequesterAdded{Service: id.New[id.Service](), Key: k.Admin.Encrypt}
	tryOrganization(t, k, k.Sign(k.Admin, p), denied)
	tryOrganization(t, k, k.Sign(&verifytest.Device{Signing: k.Admin.Signing}, p), forged)
}

func TestARecordOfALaterVersionAsksForAnUpgrade(t *testing.T) {
	c := newCast(t)
	for _, kind := range []record.Kind{0, 10, 31, 39, 255} {
		raw := c.Sign(c.alice, record.Heartbeat{}, func(b *record.Body) { b.Kind = kind })
		before := c.Org.Snapshot()
		if _, err := c.Try(raw); !fault.Is(err, fault.Upgrade) || fault.HintOf(err) == "" {
			t.Errorf("kind %d: %v, want an upgrade with a hint", kind, err)
		}
		if string(before) != string(c.Org.Snapshot()) {
			t.Errorf("kind %d changed the state", kind)
		}
	}
}

func TestAPayloadOfAnotherKindIsRefused(t *testing.T) {
	c := newCast(t)
	raw := c.Sign(c.alice, record.UserRevoked{User: c.bob.User}, func(b *record.Body) { b.Kind = record.KindDeviceAdded })
	tryOrganization(t, c.Kit, raw, form)
}
