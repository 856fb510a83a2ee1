package postgres_test

import (
	"strings"
	"testing"

	"parsec/internal/server/meta"
	"parsec/internal/services"
)

func TestTheAuditTrailIsNotChangedInTheDatabaseEither(t *testing.T) {
	place := services.Postgres(t)
	s, err := open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	write(t, s, func(tx meta.Tx) error { return tx.Audit().Append(meta.Deed{What: "act"}) })
	c := sql(t, place)
	for _, statement := range []string{"DELETE FROM audit", "UPDATE audit SET what = 'nothing'", "TRUNCATE audit"} {
		if _, err := c.Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "can only be added to") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}
