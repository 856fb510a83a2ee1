package postgres

import (
	"github.com/jackc/pgx/v5"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type invitations struct{ *session }

func (s invitations) Create(o meta.OrganizationKey, i meta.Invitation) error {
	return s.change("create invitation", `
		INSERT INTO invitations (organization, token, inviter, state, created, expires, statement) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		[]any{o, i.Token[:], i.Inviter[:], int16(i.State), i.Created, i.Expires, blob(i.Statement)}, none)
}

const selectInvitation = `SELECT token, inviter, state, created, expires, statement FROM invitations `

func scanInvitation(i *meta.Invitation) []any {
	return []any{into(i.Token[:]), into(i.Inviter[:]), (*uint8)(&i.State), &i.Created, &i.Expires, &i.Statement}
}

func (s invitations) Lock(o meta.OrganizationKey, t meta.Token) (i meta.Invitation, err error) {
	query := selectInvitation + `WHERE organization = $1 AND token = $2 FOR UPDATE`
	if s.reads {
		query = selectInvitation + `WHERE organization = $1 AND token = $2`
	}
	err = s.one("find invitation", query, []any{o, t[:]}, scanInvitation(&i)...)
	return i, err
}

func (s invitations) SetState(o meta.OrganizationKey, t meta.Token, state meta.InvitationState) error {
	const what = "change invitation"
	found := false
	err := s.change(what, `UPDATE invitations SET state = $3 WHERE organization = $1 AND token = $2 RETURNING true`,
		[]any{o, t[:], int16(state)}, func(rows pgx.Rows) error { return rows.Scan(&found) })
	if err == nil && !found {
		return fault.Errorf(fault.NotFound, "%s: there is none", what)
	}
	return err
}

func (s invitations) Pending(o meta.OrganizationKey, inviter id.User, after meta.Invitation, limit int) (found []meta.Invitation, err error) {
	// state = 1 is spelled out, so that the index of those serves.
	err = s.ask("list invitations", selectInvitation+`
		WHERE organization = $1 AND inviter = $2 AND state = 1 AND (created, token) > ($3, $4)
		ORDER BY created, token LIMIT $5`,
		[]any{o, inviter[:], after.Created, after.Token[:], limit},
		func(rows pgx.Rows) error {
			var i meta.Invitation
			err := rows.Scan(scanInvitation(&i)...)
			found = append(found, i)
			return err
		})
	return found, err
}

func (s invitations) Attempts(o meta.OrganizationKey, t meta.Token) (found []meta.AttemptState, err error) {
	err = s.ask("list attempts", `SELECT attempt, aborted FROM attempts WHERE organization = $1 AND token = $2 ORDER BY number`,
		[]any{o, t[:]}, func(rows pgx.Rows) error {
			var a meta.AttemptState
			err := rows.Scan(into(a.Attempt[:]), &a.Aborted)
			found = append(found, a)
			return err
		})
	return found, err
}

func (s invitations) SetAttempt(o meta.OrganizationKey, t meta.Token, a meta.AttemptState) error {
	return s.put("set attempt", `
		INSERT INTO attempts (organization, token, attempt, aborted) VALUES ($1, $2, $3, $4)
		ON CONFLICT (organization, token, attempt) DO UPDATE SET aborted = excluded.aborted`,
		o, t[:], a.Attempt[:], a.Aborted)
}

func (s invitations) Leave(o meta.OrganizationKey, t meta.Token, a meta.Attempt, step uint32, message []byte) error {
	return s.change("leave message", `INSERT INTO messages (organization, token, attempt, step, message) VALUES ($1, $2, $3, $4, $5)`,
		[]any{o, t[:], a[:], int64(step), blob(message)}, none)
}

func (s invitations) Message(o meta.OrganizationKey, t meta.Token, a meta.Attempt, step uint32) (message []byte, err error) {
	err = s.one("get message", `SELECT message FROM messages WHERE organization = $1 AND token = $2 AND attempt = $3 AND step = $4`,
		[]any{o, t[:], a[:], int64(step)}, &message)
	return message, err
}
