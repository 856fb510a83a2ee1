// Package verify holds the rules of the two logs: who may say what, and
// where. It is pure: no clock, no storage, no network. The server runs it
// before it accepts a record, and every client runs the same code again over
// everything that the server sends, so that neither has to trust the other.
//
// An [Organization] or [Workspace] is the state at one position of a log. It
// changes only by a record that passed every rule; a record that fails one
// leaves it as it was. What is checked never depends on secrets, so that all
// who hold the log agree.
package verify

import (
	"errors"
	"fmt"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
)

// Rule names what a record broke. Its text is the promise that a server broke
// when it served the record.
type Rule uint8

// The rules.
const (
	// RuleForm: the record is well-formed and belongs to this log.
	RuleForm Rule = iota
	// RuleSignature: the device that it names signed it.
	RuleSignature
	// RulePlace: it stands where its author saw that it would.
	RulePlace
	// RuleSequence: no record of a device is dropped, repeated or reordered.
	RuleSequence
	// RuleTime: time never goes back in a log.
	RuleTime
	// RuleKnown: it refers only to parts of the organization log that are given.
	RuleKnown
	// RuleAuthority: its author had the right, at what anyone in the log knew.
	RuleAuthority
	// RuleVersion: versions of an entry follow each other.
	RuleVersion
	// RuleRotation: nothing is written under a key that a revoked device holds.
	RuleRotation

	rules
)

var ruleMeanings = [rules]struct {
	promise string
	kind    fault.Kind
}{
	RuleForm:      {"only well-formed records", fault.Invalid},
	RuleSignature: {"signed by its author", fault.Denied},
	RulePlace:     {"append-only history", fault.Stale},
	RuleSequence:  {"no record dropped, repeated or reordered", fault.Stale},
	RuleTime:      {"time never goes back", fault.Stale},
	RuleKnown:     {"no part of the organization's log withheld", fault.Stale},
	RuleAuthority: {"only authorized authors", fault.Denied},
	RuleVersion:   {"versions follow each other", fault.Stale},
	RuleRotation:  {"a fresh key after each revocation", fault.Stale},
}

// String returns the promise that stands on the rule.
func (r Rule) String() string { return ruleMeanings[r].promise }

// Violation is why a record may not stand where it stands. As a [fault.Error]
// it has the kind with which a server refuses the record.
type Violation struct {
	Rule Rule
	// Entries are those whose version was taken, under [RuleVersion].
	Entries []id.Entry
	Err     error
}

// Error returns what the record broke.
func (v *Violation) Error() string { return v.Err.Error() }

// Unwrap returns the error with the kind of the refusal.
func (v *Violation) Unwrap() error { return v.Err }

func violation(r Rule, format string, args ...any) error {
	return &Violation{Rule: r, Err: &fault.Error{Kind: ruleMeanings[r].kind, Err: fmt.Errorf(format, args...)}}
}

// malformed turns an error of parsing into a violation, except that a record
// of a newer version stays [fault.Upgrade].
func malformed(err error) error {
	if fault.Is(err, fault.Upgrade) {
		return fault.WithHint(err, "install a newer version of parsec")
	}
	return &Violation{Rule: RuleForm, Err: err}
}

// Broken returns err as what it is for a client that got the record from a
// server: an [fault.Integrity] error that names the broken promise. Errors
// that are not violations are returned as they are.
func Broken(err error) error {
	var v *Violation
	if !errors.As(err, &v) {
		return err
	}
	return fault.Broken(v.Rule.String(), "%w", err)
}

// Step is one record that passed all rules.
type Step struct {
	// Position is that behind the record.
	Position record.Position
	Record   *record.Record
	Payload  record.Payload
}

// Signed is a record whose author's signature was checked, but not its place.
type Signed struct {
	Record  *record.Record
	Payload record.Payload
	// User is the author's; zero for the sequester authority.
	User id.User
}

// Authenticate parses a record and checks its author's signature. It is the
// expensive part of verifying, and needs the state of no workspace.
func Authenticate(o *Organization, raw []byte) (*Signed, error) {
	r, err := record.Parse(raw)
	if err != nil {
		return nil, malformed(err)
	}
	s := &Signed{Record: r}
	key := o.s.Sequester
	if !r.Author.IsZero() {
		d, known := o.Device(r.Author)
		if !known {
			// A workspace's author may be new; in its own log nothing is new but the record itself.
			rule := RuleKnown
			if r.Kind.Organization() {
				rule = RuleAuthority
			}
			return nil, violation(rule, "%s record by device %s, which the organization does not know", r.Kind, r.Author)
		}
		s.User, key = d.User, d.Verify
	}
	if !r.Signed(o.s.Fingerprint, key) {
		return nil, violation(RuleSignature, "%s record is not signed by device %s", r.Kind, r.Author)
	}
	if s.Payload, err = r.Decode(); err != nil {
		return nil, malformed(err)
	}
	return s, nil
}
