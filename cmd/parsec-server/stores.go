package main

import (
	"context"
	"os"
	"strings"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/file"
	"parsec/internal/server/blob/s3"
	"parsec/internal/server/blob/swift"
)

// storeForms is how an object store is written.
const storeForms = "file:DIR, s3://KEY:SECRET@HOST/BUCKET or swift://USER:KEY@HOST/CONTAINER?auth=v1"

// opener opens one object store, whose URL was understood.
type opener func(context.Context) (blob.Store, error)

// openStore opens the object store that a URL names.
func openStore(ctx context.Context, text string) (blob.Store, error) {
	open, err := parseStore(text)
	if err != nil {
		return nil, err
	}
	return open(ctx)
}

// parseStore reads the URL of an object store. It may hold secrets, so that
// what is not understood is not shown; where it holds none, they are the
// environment's.
func parseStore(text string) (opener, error) {
	scheme, rest, found := strings.Cut(text, ":")
	switch {
	case !found || rest == "":
		return nil, fault.Errorf(fault.Usage, "read --store: want %s", storeForms)
	case scheme == "file":
		return func(ctx context.Context) (blob.Store, error) {
			return file.Open(ctx, file.Config{Path: rest})
		}, nil
	case scheme == "s3":
		c, err := s3.ParseURL(text)
		if err != nil {
			return nil, err
		}
		c = c.WithEnvironment(os.LookupEnv)
		return func(ctx context.Context) (blob.Store, error) { return s3.Open(ctx, c) }, c.Validate()
	case scheme == "swift":
		c, err := swift.ParseURL(text)
		if err != nil {
			return nil, err
		}
		c = c.WithEnvironment(os.LookupEnv)
		return func(ctx context.Context) (blob.Store, error) { return swift.Open(ctx, c) }, c.Validate()
	}
	return nil, fault.Errorf(fault.Usage, "read --store: this version does not know %s:, only %s", scheme, storeForms)
}

// answerTime is how long a start waits to hear whether a store answers.
const answerTime = 5 * time.Second

// answers returns why a store does not answer, if so. It asks for an object
// that is not there.
func answers(ctx context.Context, s blob.Store) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, err := s.Size(ctx, blob.Key{Pack: id.New[id.Pack]()})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
