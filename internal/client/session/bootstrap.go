package session

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/device"
	"parsec/internal/client/seal"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
	"parsec/internal/verify"
)

// Founder is who bootstraps an organization.
type Founder struct {
	Name, Email, Label string
}

// Foundation is an organization that is signed but not sent yet.
type Foundation struct {
	Device *device.Device
	// Genesis and Opening are what the server is sent.
	Genesis, Opening []byte
}

// Found makes the first device and the genesis record of an organization. The
// root key signs that one record and is forgotten.
func Found(link invitation.Link, f Founder, now time.Time) (Foundation, error) {
	if !link.Organization.IsZero() {
		return Foundation{}, fault.WithHint(fault.Errorf(fault.Usage, "bootstrap organization: this link is an invitation"),
			"use `parsec invite claim` with it")
	}
	public, root, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Foundation{}, err
	}
	user, key := id.New[id.User](), seal.NewKeyPair()
	opening, err := NewOpening(user, f.Email, f.Name)
	if err != nil {
		return Foundation{}, fault.Errorf(fault.Usage, "bootstrap organization: %w", err)
	}
	d := device.New()
	log := record.OrganizationLog(public)
	genesis := record.SignGenesis(record.Body{
		Log: log, Author: d.Device, Seq: 1, Time: now.UnixNano(),
		Seen: record.Seen{Organization: log.Start()}, Kind: record.KindGenesis,
		Payload: record.Encode(record.Genesis{
			Root: public, Name: link.Name,
			First: record.NewUser{User: user, Identity: opening.Commit([32]byte(public)), Key: key.Public(), Device: d.Keys()},
		}),
	}, root, d.Signing)
	clear(root)

	org := verify.NewOrganization(sha256.Sum256(genesis))
	if _, err := org.Append(genesis); err != nil {
		return Foundation{}, err
	}
	d.User, d.Organization, d.OrganizationName = user, org.Fingerprint(), link.Name
	d.Server, d.Email, d.Label = link.Server, f.Email, f.Label
	d.UserKeys = []*seal.KeyPair{key}
	d.Enrolled = device.Enrolled{Root: public, Organization: org.Position()}
	return Foundation{Device: d, Genesis: genesis, Opening: canon.Marshal(opening)}, nil
}
