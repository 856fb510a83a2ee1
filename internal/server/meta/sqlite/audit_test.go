package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"parsec/internal/server/meta"
)

func TestTheAuditTrailIsNotChangedInTheDatabaseEither(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	s, err := open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Write(t.Context(), func(tx meta.Tx) error { return tx.Audit().Append(meta.Deed{What: "act"}) }); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{"DELETE FROM audit", "UPDATE audit SET what = 'nothing'"} {
		if _, err := db.ExecContext(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "can only be added to") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}
