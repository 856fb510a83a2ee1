package s3_test

import (
	"context"
	"testing"

	"parsec/internal/server/blob"
	"parsec/internal/server/blob/blobtest"
	"parsec/internal/server/blob/s3"
	"parsec/internal/services"
)

func open(ctx context.Context, place string) (blob.Store, error) {
	c, err := s3.ParseURL(place)
	if err != nil {
		return nil, err
	}
	return s3.Open(ctx, c)
}

func TestMain(m *testing.M) { blobtest.Main(m, open) }

func TestABucketKeepsTheContract(t *testing.T) {
	blobtest.Run(t, blobtest.Adapter{New: func(t *testing.T) string { return services.S3(t) }, Open: open})
}

// The S3 interface of Swift does not honour the condition of a Put.
func TestABucketOfSwiftKeepsTheContract(t *testing.T) {
	blobtest.Run(t, blobtest.Adapter{New: func(t *testing.T) string { return services.SwiftS3(t) }, Open: open})
}
