package syncer

import (
	"context"
	"time"

	"parsec/internal/client/overlay"
)

// Yielding returns how a syncer of an overlay waits after a batch that took a time.
func Yielding(over *overlay.Overlay) (yield func(context.Context, time.Duration), heard func()) {
	s := &Syncer{cfg: Config{}.withDefaults(), over: over, heard: make(chan struct{}, 1)}
	return s.yield, s.Heard
}
