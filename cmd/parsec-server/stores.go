package main

import (
	"context"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/file"
)

// storeForms is how an object store is written.
const storeForms = "file:DIR"

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
// what is not understood is not shown.
func parseStore(text string) (opener, error) {
	scheme, rest, found := strings.Cut(text, ":")
	switch {
	case !found || rest == "":
		return nil, fault.Errorf(fault.Usage, "read --store: want %s", storeForms)
	case scheme == "file":
		return func(ctx context.Context) (blob.Store, error) {
			return file.Open(ctx, file.Config{Path: rest})
		}, nil
	}
	return nil, fault.Errorf(fault.Usage, "read --store: this version does not know %s:, only %s", scheme, storeForms)
}
