package admin

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/call"
	"parsec/internal/server/meta"
)

// begun is the outcome of an act that has not ended yet, or of which nobody
// knows how it ended, because the server did.
const begun = "begun"

// deedsPage is how many entries of the trail are answered at once.
const deedsPage = 1000

// Audited is the API with a trail of what is done through it: each call that
// may change something has an entry before it is begun, without which it is
// not, and another with its outcome.
type Audited struct {
	*API
	store meta.Store
	now   func() time.Time
}

// NewAudited returns an API that keeps its trail in a store.
func NewAudited(api *API, store meta.Store, now func() time.Time) *Audited {
	return &Audited{api, store, now}
}

// audited does an act between the two entries.
func audited[Q, A any](ctx context.Context, a *Audited, what, subject string, q Q, act func(context.Context, Q) (A, error)) (answer A, err error) {
	d := meta.Deed{Act: id.New[id.Act](), Token: call.Operator(ctx), What: what, Subject: subject, Outcome: begun}
	if err := a.note(ctx, d); err != nil {
		return answer, err
	}
	answer, err = act(ctx, q)
	if d.Outcome = "ok"; err != nil {
		d.Outcome = fault.KindOf(err).String()
	}
	// Also where the caller has left: the act is done or not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if noted := a.note(ctx, d); err == nil {
		err = noted
	}
	return answer, err
}

func (a *Audited) note(ctx context.Context, d meta.Deed) error {
	d.At = a.now().UnixNano()
	if err := a.store.Write(ctx, func(tx meta.Tx) error { return tx.Audit().Append(d) }); err != nil {
		return fault.Errorf(fault.KindOf(err), "write to the audit trail: %w", err)
	}
	return nil
}

// ListDeeds lists the trail.
func (a *Audited) ListDeeds(ctx context.Context, q *parsecv1.ListDeedsRequest) (*parsecv1.ListDeedsResponse, error) {
	var deeds []meta.Deed
	if err := a.store.Read(ctx, func(tx meta.Tx) (err error) {
		deeds, err = tx.Audit().List(q.GetSince(), q.GetAfter(), deedsPage)
		return err
	}); err != nil {
		return nil, err
	}
	m := new(parsecv1.ListDeedsResponse)
	for _, d := range deeds {
		m.Deeds = append(m.Deeds, &parsecv1.Deed{
			Number: d.Number, At: d.At, Act: d.Act.Bytes(), Token: d.Token.Bytes(), What: d.What, Subject: d.Subject, Outcome: d.Outcome,
		})
	}
	return m, nil
}

// RotateToken is in the trail under the old token.
func (a *Audited) RotateToken(ctx context.Context, q *parsecv1.RotateTokenRequest) (*parsecv1.RotateTokenResponse, error) {
	return audited(ctx, a, "rotate token", "", q, a.API.RotateToken)
}

// CreateOrganization is in the trail.
func (a *Audited) CreateOrganization(ctx context.Context, q *parsecv1.CreateOrganizationRequest) (*parsecv1.CreateOrganizationResponse, error) {
	return audited(ctx, a, "create organization", q.GetName(), q, a.API.CreateOrganization)
}

// SetOrganization is in the trail, with what is to be changed.
func (a *Audited) SetOrganization(ctx context.Context, q *parsecv1.SetOrganizationRequest) (*parsecv1.SetOrganizationResponse, error) {
	return audited(ctx, a, "set organization", q.GetName()+settings(q), q, a.API.SetOrganization)
}

// DeleteOrganization is in the trail. The end of the work has an entry too.
func (a *Audited) DeleteOrganization(ctx context.Context, q *parsecv1.DeleteOrganizationRequest) (*parsecv1.DeleteOrganizationResponse, error) {
	return audited(ctx, a, "delete organization", q.GetName(), q, a.API.DeleteOrganization)
}

// SetUser is in the trail.
func (a *Audited) SetUser(ctx context.Context, q *parsecv1.SetUserRequest) (*parsecv1.SetUserResponse, error) {
	what := "unfreeze user"
	if q.GetFrozen() {
		what = "freeze user"
	}
	return audited(ctx, a, what, q.GetOrganization()+" "+q.GetEmail(), q, a.API.SetUser)
}

// ScrubStores is in the trail.
func (a *Audited) ScrubStores(ctx context.Context, q *parsecv1.ScrubStoresRequest) (*parsecv1.ScrubStoresResponse, error) {
	return audited(ctx, a, "scrub stores", "", q, a.API.ScrubStores)
}

// AddStore is in the trail, without the credentials of the store.
func (a *Audited) AddStore(ctx context.Context, q *parsecv1.AddStoreRequest) (*parsecv1.AddStoreResponse, error) {
	return audited(ctx, a, "add store", bare(q.GetUrl()), q, a.API.AddStore)
}

// DrainStore is in the trail.
func (a *Audited) DrainStore(ctx context.Context, q *parsecv1.DrainStoreRequest) (*parsecv1.DrainStoreResponse, error) {
	return audited(ctx, a, "drain store", strings.TrimSpace(bare(q.GetUrl())+" "+bare(q.GetInto())), q, a.API.DrainStore)
}

// settings says what a request changes.
func settings(q *parsecv1.SetOrganizationRequest) string {
	var text strings.Builder
	if q.ActiveUsersLimit != nil {
		fmt.Fprintf(&text, " active-users-limit=%d", q.GetActiveUsersLimit())
	}
	if q.StorageLimit != nil {
		fmt.Fprintf(&text, " storage-limit=%d", q.GetStorageLimit())
	}
	if q.Outsiders != nil {
		fmt.Fprintf(&text, " outsiders=%t", q.GetOutsiders())
	}
	if q.Expired != nil {
		fmt.Fprintf(&text, " expired=%t", q.GetExpired())
	}
	return text.String()
}

// bare returns the URL of a store without what may be secret in it.
func bare(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
