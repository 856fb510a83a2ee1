package sqlite

import (
	"database/sql"

	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

type invitations struct{ *conn }

func (c invitations) Create(o meta.OrganizationKey, i meta.Invitation) error {
	_, err := c.exec("create invitation", `
		INSERT INTO invitations (organization, token, inviter, state, created, expires, statement) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		o, i.Token[:], i.Inviter[:], i.State, i.Created, i.Expires, blob(i.Statement))
	return err
}

const selectInvitation = `SELECT token, inviter, state, created, expires, statement FROM invitations `

func scanInvitation(i *meta.Invitation) []any {
	return []any{into(i.Token[:]), into(i.Inviter[:]), &i.State, &i.Created, &i.Expires, &i.Statement}
}

func (c invitations) Lock(o meta.OrganizationKey, t meta.Token) (i meta.Invitation, err error) {
	err = c.one("find invitation", selectInvitation+`WHERE organization = ? AND token = ?`, []any{o, t[:]}, scanInvitation(&i)...)
	return i, err
}

func (c invitations) SetState(o meta.OrganizationKey, t meta.Token, state meta.InvitationState) error {
	return c.change("change invitation", `UPDATE invitations SET state = ? WHERE organization = ? AND token = ?`, state, o, t[:])
}

func (c invitations) Pending(o meta.OrganizationKey, inviter id.User, after meta.Invitation, limit int) (found []meta.Invitation, err error) {
	// state = 1 is spelled out, so that the index of those serves.
	err = c.each("list invitations", selectInvitation+`
		WHERE organization = ? AND inviter = ? AND state = 1 AND (created, token) > (?, ?)
		ORDER BY created, token LIMIT ?`,
		[]any{o, inviter[:], after.Created, after.Token[:], limit},
		func(rows *sql.Rows) (bool, error) {
			var i meta.Invitation
			err := rows.Scan(scanInvitation(&i)...)
			found = append(found, i)
			return true, err
		})
	return found, err
}

func (c invitations) Attempts(o meta.OrganizationKey, t meta.Token) (found []meta.AttemptState, err error) {
	err = c.each("list attempts", `SELECT attempt, aborted FROM attempts WHERE organization = ? AND token = ? ORDER BY number`,
		[]any{o, t[:]}, func(rows *sql.Rows) (bool, error) {
			var s meta.AttemptState
			err := rows.Scan(into(s.Attempt[:]), &s.Aborted)
			found = append(found, s)
			return true, err
		})
	return found, err
}

func (c invitations) SetAttempt(o meta.OrganizationKey, t meta.Token, s meta.AttemptState) error {
	_, err := c.exec("set attempt", `
		INSERT INTO attempts (organization, token, attempt, aborted) VALUES (?, ?, ?, ?)
		ON CONFLICT (organization, token, attempt) DO UPDATE SET aborted = excluded.aborted`,
		o, t[:], s.Attempt[:], s.Aborted)
	return err
}

func (c invitations) Leave(o meta.OrganizationKey, t meta.Token, a meta.Attempt, step uint32, message []byte) error {
	_, err := c.exec("leave message", `INSERT INTO messages (organization, token, attempt, step, message) VALUES (?, ?, ?, ?, ?)`,
		o, t[:], a[:], step, blob(message))
	return err
}

func (c invitations) Message(o meta.OrganizationKey, t meta.Token, a meta.Attempt, step uint32) (message []byte, err error) {
	err = c.one("get message", `SELECT message FROM messages WHERE organization = ? AND token = ? AND attempt = ? AND step = ?`,
		[]any{o, t[:], a[:], step}, &message)
	return message, err
}
