package seal_test

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/seal"
	"parsec/internal/format/record"
)

// A fixed place, and others that differ from it in one field.
func place() seal.Place {
	return seal.Place{Organization: id.Fingerprint{1}, Workspace: id.Workspace{2}}
}

func otherPlaces() map[string]seal.Place {
	organization, workspace := place(), place()
	organization.Organization[31] ^= 1
	workspace.Workspace[15] ^= 1
	return map[string]seal.Place{"another organization": organization, "another workspace": workspace}
}

// damaged returns copies of data, each wrong in its own way.
func damaged(data []byte) map[string][]byte {
	all := map[string][]byte{
		"nothing":           nil,
		"without its end":   data[:len(data)-1],
		"without its start": data[1:],
		"with a byte more":  append(bytes.Clone(data), 0),
		"half of it":        data[:len(data)/2],
	}
	for name, at := range map[string]int{
		"a bit of the start flipped":  0,
		"a bit of the nonce flipped":  11,
		"a bit of the middle flipped": len(data) / 2,
		"a bit of the tag flipped":    len(data) - 16,
		"the last bit flipped":        len(data) - 1,
	} {
		flipped := bytes.Clone(data)
		flipped[at] ^= 1
		all[name] = flipped
	}
	return all
}

func digest(data []byte) record.Digest { return sha256.Sum256(data) }

// wantBroken fails the test unless err names the promise.
func wantBroken(t *testing.T, err error, promise string) {
	t.Helper()
	if !fault.Is(err, fault.Integrity) || fault.PromiseOf(err) != promise {
		t.Errorf("got %v, want the broken promise of %s", err, promise)
	}
}

// wantInvalid fails the test unless err blames the author and not the server.
func wantInvalid(t *testing.T, err error) {
	t.Helper()
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want invalid content", err)
	}
}
