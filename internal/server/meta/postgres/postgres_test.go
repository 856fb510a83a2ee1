package postgres_test

import (
	"context"
	"testing"

	"parsec/internal/server/meta"
	"parsec/internal/server/meta/metatest"
	"parsec/internal/server/meta/postgres"
)

func open(ctx context.Context, place string) (meta.Store, error) {
	return postgres.Open(ctx, postgres.Config{URL: place})
}

func TestMain(m *testing.M) { metatest.Main(m, open) }
