package syncer_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/journal"
	"parsec/internal/client/merge"
	"parsec/internal/client/overlay"
	"parsec/internal/client/syncer"
	"parsec/internal/format/manifest"
)

// nothingThere is a tree of which nothing was ever committed.
type nothingThere struct{}

func (nothingThere) Entry(context.Context, id.Entry) (merge.State, error) { return merge.State{}, nil }

func (nothingThere) Entries(_ context.Context, entries []id.Entry) ([]merge.State, error) {
	return make([]merge.State, len(entries)), nil
}

func (nothingThere) Child(context.Context, id.Entry, string) (manifest.Child, bool, error) {
	return manifest.Child{}, false, nil
}

func (nothingThere) Children(context.Context, id.Entry) ([]manifest.Child, error) { return nil, nil }

func (nothingThere) Parent(context.Context, id.Entry) (merge.Place, bool, error) {
	return merge.Place{}, false, nil
}

// While a program makes files, a batch gives it twice the time that the batch took,
// two seconds at most, and no more once the program is done or the server is heard.
func TestABatchGivesProgramsTimeWhileTheyWork(t *testing.T) {
	tests := []struct {
		name        string
		files       int // one each ten milliseconds
		took        time.Duration
		heard       time.Duration
		least, most time.Duration
	}{
		{name: "nothing was done", took: time.Second},
		{name: "a program works on", files: 1000, took: 300 * time.Millisecond, least: 600 * time.Millisecond, most: 600 * time.Millisecond},
		{name: "a batch took long", files: 1000, took: time.Hour, least: 2 * time.Second, most: 2 * time.Second},
		{name: "a program is soon done", files: 20, took: time.Hour, least: 150 * time.Millisecond, most: 300 * time.Millisecond},
		{name: "the server is heard", files: 1000, took: time.Hour, heard: 400 * time.Millisecond, least: 400 * time.Millisecond, most: 400 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				root := id.New[id.Entry]()
				over, err := overlay.Open(overlay.Config{Journal: journal.Config{Dir: dir}, Root: root, Base: nothingThere{}})
				if err != nil {
					t.Fatal(err)
				}
				yield, heard := syncer.Yielding(over)
				file := func(i int) {
					f, _, err := over.CreateFile(t.Context(), merge.Place{Folder: root, Name: strconv.Itoa(i)}, false)
					if err == nil {
						err = f.Close()
					}
					if err != nil {
						t.Error(err)
					}
				}
				if test.files > 0 {
					file(-1)
				}
				begun := time.Now()
				ctx, cancel := context.WithCancel(t.Context())
				var program sync.WaitGroup
				program.Go(func() {
					for i := 0; i < test.files && ctx.Err() == nil; i++ {
						time.Sleep(10 * time.Millisecond)
						file(i)
					}
				})
				if test.heard > 0 {
					time.AfterFunc(test.heard, heard)
				}
				yield(ctx, test.took)
				if took := time.Since(begun); took < test.least || took > test.most {
					t.Errorf("it waited for %v, want %v to %v", took, test.least, test.most)
				}
				cancel()
				program.Wait()
				if err := over.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
