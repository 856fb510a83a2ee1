//go:build !unix

package terminal

import (
	"os"
	"time"
)

// readable leaves it to the read to wait: on this system no process runs
// commands of others.
func readable(*os.File, time.Duration) (bool, error) { return true, nil }
