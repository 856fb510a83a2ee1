package session

import (
	"context"

	"parsec/internal/base/fault"
	"parsec/internal/client/remote"
	"parsec/internal/client/store"
	"parsec/internal/format/canon"
	"parsec/internal/format/record"
)

// checkNames fails unless the e-mail address and name of every user are here.
// Who was an outsider when users were added did not get them then, so what is
// lacking is asked for once; what is still lacking, the server withholds.
func (s *Session) checkNames(ctx context.Context) error {
	first, lacking := s.unnamed()
	if !lacking || s.Profile() == record.ProfileOutsider {
		return nil
	}
	err := s.server.PullOrganization(ctx, first.Added-1, func(b remote.Batch) error {
		return s.acceptNames(ctx, b.Openings)
	})
	if err != nil {
		return err
	}
	if first, lacking = s.unnamed(); lacking {
		return fault.Broken(PromiseIdentity, "the server withholds the name and e-mail address of user %s", first.ID)
	}
	return nil
}

// unnamed returns the first user whose name is not here, if there is one.
func (s *Session) unnamed() (Person, bool) {
	for _, p := range s.People() {
		if p.Email == "" {
			return p, true
		}
	}
	return Person{}, false
}

// acceptNames takes up the names of users whose records are here already.
func (s *Session) acceptNames(ctx context.Context, raw [][]byte) error {
	openings, err := checkOpenings(s.org.Load(), raw)
	if err != nil || len(openings) == 0 {
		return err
	}
	err = s.local.State.Update(ctx, func(tx *store.StateTx) error {
		for _, o := range openings {
			if err := tx.PutOpening(o.User, canon.Marshal(o)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.keepOpenings(openings)
	return nil
}
