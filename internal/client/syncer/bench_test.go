package syncer_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// An edit at one device, from the close of the file until the other device shows
// it; both run, and the server is on this machine.
func BenchmarkEditIsVisibleElsewhere(b *testing.B) {
	alice, bob, _ := pair(b)
	alice.sync()
	bob.sync()
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	for _, d := range []*desk{alice, bob} {
		running.Go(func() { _ = d.all.Run(ctx) })
	}
	defer running.Wait()
	defer cancel()
	seen := make(chan struct{}, 1)
	bob.over().Watch(func([]id.Entry) {
		select {
		case seen <- struct{}{}:
		default:
		}
	})
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		name := fmt.Sprintf("edit %d", i)
		begin := time.Now()
		alice.write(name, 0, []byte(name))
		for there := false; !there; {
			<-seen
			_, found, err := bob.over().Child(ctx, bob.over().Root, name)
			bob.ok(err)
			there = found
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/median")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms/p99")
}

// What 4 KiB within a large file cost on the wire.
func BenchmarkUploadOfAChangeWithin(b *testing.B) {
	const size = 320 << 20 // its list of blocks is in pages
	alice, _, _ := pair(b)
	for at := int64(0); at < size; at += 8 << 20 {
		alice.write("large", at, random(8<<20))
	}
	alice.sync()
	meter := alice.Server().Meter()
	before := meter.Sent()
	n := 0
	for b.Loop() {
		n++
		alice.write("large", int64(n)*1_000_003%size, random(4096))
		alice.sync()
	}
	b.ReportMetric(float64(meter.Sent()-before)/float64(n)/1024, "KiB-sent/op")
}

// What one more file costs on the wire in a folder of many.
func BenchmarkUploadOfOneMoreFile(b *testing.B) {
	for _, many := range []int{100, 100_000} {
		b.Run(fmt.Sprint(many), func(b *testing.B) {
			alice, _, _ := pair(b)
			o := alice.over()
			for i := range many {
				_, err := o.Create(b.Context(), merge.Place{Folder: o.Root, Name: fmt.Sprintf("folder %d", i)}, merge.Node{Kind: manifest.Folder})
				alice.ok(err)
			}
			alice.sync()
			meter := alice.Server().Meter()
			before := meter.Sent()
			n := 0
			for b.Loop() {
				n++
				alice.write(fmt.Sprintf("more %d", n), 0, []byte("a thousand bytes would do too"))
				alice.ok(alice.plans().Finish(b.Context()))
			}
			b.ReportMetric(float64(meter.Sent()-before)/float64(n), "bytes-sent/op")
		})
	}
}
