package swift_test

import (
	"context"
	"testing"

	"parsec/internal/server/blob"
	"parsec/internal/server/blob/blobtest"
	"parsec/internal/server/blob/swift"
	"parsec/internal/services"
)

func open(ctx context.Context, place string) (blob.Store, error) {
	c, err := swift.ParseURL(place)
	if err != nil {
		return nil, err
	}
	return swift.Open(ctx, c)
}

func TestMain(m *testing.M) { blobtest.Main(m, open) }

func TestAContainerKeepsTheContract(t *testing.T) {
	blobtest.Run(t, blobtest.Adapter{New: func(t *testing.T) string { return services.Swift(t) }, Open: open})
}
