// Package blobtest is the conformance suite of package blob: what every
// adapter and every redundancy layer promises, checked against the real
// thing. Package faulty has a store that fails on command.
//
// An adapter's whole test is
//
//	func TestMain(m *testing.M) { blobtest.Main(m, open) }
//
//	func TestAdapterKeepsItsPromises(t *testing.T) {
//		blobtest.Run(t, blobtest.Adapter{New: newPlace, Open: open})
//	}
package blobtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
)

// Open opens the store at a place: a path, or the address of a bucket.
type Open func(ctx context.Context, place string) (blob.Store, error)

// Adapter is what the suite is run against.
type Adapter struct {
	// New returns a new place, where an empty store is, or will be once opened.
	New func(t *testing.T) string
	// Open opens the store there; of those that a test opened, one at a time
	// of each place.
	Open Open
}

// Run checks an adapter. What asks for no more shares a store, in scopes of
// its own.
func Run(t *testing.T, a Adapter) {
	shared := a.open(t, a.New(t))
	for name, run := range map[string]func(*testing.T, blob.Store){
		"an object is read as it was stored, in any range":       rangesAreRead,
		"a range that leaves the object is refused":              rangesAreChecked,
		"an object that is not there is not found":               missingIsNotFound,
		"the same content may be stored again":                   sameMayBeStored,
		"another content never takes an object's place":          nothingIsOverwritten,
		"of several that store one key at once one content wins": oneContentWins,
		"many objects are stored at once":                        manyAtOnce,
		"the parts stay the caller's":                            partsStay,
		"objects in another scope are other objects":             scopesAreApart,
		"what was deleted is gone, and may be stored again":      deletedIsGone,
		"objects are listed by ascending key, from any place":    listIsOrdered,
		"a context that has ended stops every call":              canceledStops,
	} {
		t.Run(name, func(t *testing.T) { run(t, shared) })
	}
	t.Run("what was stored is there after closing and opening", func(t *testing.T) {
		place := a.New(t)
		s := a.open(t, place)
		key := newKey()
		put(t, s, key, []byte("content"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		check(t, a.open(t, place), key, []byte("content"))
	})
	t.Run("what was acknowledged survives a kill, and is whole", func(t *testing.T) { kill(t, a) })
}

func (a Adapter) open(t *testing.T, place string) blob.Store {
	t.Helper()
	s, err := a.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newScope() blob.Scope {
	return blob.Scope{Organization: id.Fingerprint(noise(32)), Workspace: id.New[id.Workspace]()}
}

func newKey() blob.Key { return blob.Key{Scope: newScope(), Pack: id.New[id.Pack]()} }

// noise returns random bytes.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func put(t *testing.T, s blob.Store, key blob.Key, parts ...[]byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, parts); err != nil {
		t.Fatalf("put: %v", err)
	}
}

func get(s blob.Store, key blob.Key, offset, length int64) ([]byte, error) {
	r, err := s.Get(context.Background(), key, offset, length)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(r)
	return got, errors.Join(err, r.Close())
}

// check reads an object whole.
func check(t *testing.T, s blob.Store, key blob.Key, want []byte) {
	t.Helper()
	size, err := s.Size(t.Context(), key)
	if err != nil || size != int64(len(want)) {
		t.Fatalf("size: got %d, %v; want %d", size, err, len(want))
	}
	got, err := get(s, key, 0, size)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("get: got %d bytes, %v; want the %d stored", len(got), err, len(want))
	}
}

func fails(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%s: got %v, want an error of kind %v", what, err, kind)
	}
}

func rangesAreRead(t *testing.T, s blob.Store) {
	content := noise(700_000)
	var many [][]byte
	for part := range slices.Chunk(content, 1237) {
		many = append(many, part)
	}
	for _, parts := range [][][]byte{
		{content},
		{nil, content[:1], {}, content[1:300_000], content[300_000:], nil},
		many,
	} {
		key := newKey()
		put(t, s, key, parts...)
		check(t, s, key, content)
		for _, at := range [][2]int64{{0, 0}, {0, 1}, {1, 699_999}, {699_999, 1}, {700_000, 0}, {123_456, 333_333}, {131_072, 65_536}} {
			got, err := get(s, key, at[0], at[1])
			if err != nil || !bytes.Equal(got, content[at[0]:at[0]+at[1]]) {
				t.Errorf("%d bytes from %d: got %d bytes, %v", at[1], at[0], len(got), err)
			}
		}
		r, err := s.Get(t.Context(), key, 5, 60_000)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(r, content[5:60_005]); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	empty := newKey()
	put(t, s, empty)
	check(t, s, empty, nil)
}

func rangesAreChecked(t *testing.T, s blob.Store) {
	key := newKey()
	put(t, s, key, noise(10))
	const most = 1<<63 - 1
	for _, at := range [][2]int64{{-1, 2}, {0, -1}, {0, 11}, {10, 1}, {11, 0}, {5, most}, {most, most}} {
		_, err := get(s, key, at[0], at[1])
		fails(t, fmt.Sprintf("%d bytes from %d of 10", at[1], at[0]), err, fault.Invalid)
	}
}

func missingIsNotFound(t *testing.T, s blob.Store) {
	key := newKey()
	look := func() {
		t.Helper()
		_, err := get(s, key, 0, 0)
		fails(t, "get", err, fault.NotFound)
		_, err = s.Size(t.Context(), key)
		fails(t, "size", err, fault.NotFound)
	}
	look()
	put(t, s, blob.Key{Scope: key.Scope, Pack: id.New[id.Pack]()}, noise(10))
	look()
}

func sameMayBeStored(t *testing.T, s blob.Store) {
	key, content := newKey(), noise(300_000)
	put(t, s, key, content)
	put(t, s, key, content)
	put(t, s, key, content[:1000], nil, content[1000:])
	check(t, s, key, content)
	empty := newKey()
	put(t, s, empty)
	put(t, s, empty, nil)
}

func nothingIsOverwritten(t *testing.T, s blob.Store) {
	content := noise(300_000)
	changed := slices.Clone(content)
	changed[len(changed)-1]++
	for name, other := range map[string][]byte{
		"changed": changed, "shorter": content[:len(content)-1], "longer": append(slices.Clip(content), 0), "empty": nil,
	} {
		key := newKey()
		put(t, s, key, content)
		fails(t, name, s.Put(t.Context(), key, [][]byte{other}), fault.Conflict)
		check(t, s, key, content)
	}
	empty := newKey()
	put(t, s, empty)
	fails(t, "not empty", s.Put(t.Context(), empty, [][]byte{content}), fault.Conflict)
	check(t, s, empty, nil)
}

func oneContentWins(t *testing.T, s blob.Store) {
	key := newKey()
	contents := [][]byte{noise(50_000), noise(50_000)}
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = s.Put(context.Background(), key, [][]byte{contents[i%2]}) })
	}
	all.Wait()
	winner := 0
	if errs[0] != nil {
		winner = 1
	}
	check(t, s, key, contents[winner])
	for i, err := range errs {
		if i%2 == winner && err != nil || i%2 != winner && !fault.Is(err, fault.Conflict) {
			t.Errorf("put %d, where content %d won: %v", i, winner, err)
		}
	}
}

func manyAtOnce(t *testing.T, s blob.Store) {
	scope := newScope()
	keys := make([]blob.Key, 40)
	contents := make([][]byte, len(keys))
	var all sync.WaitGroup
	for i := range keys {
		keys[i] = blob.Key{Scope: scope, Pack: id.New[id.Pack]()}
		contents[i] = noise(1000 * i)
		all.Go(func() {
			if err := s.Put(context.Background(), keys[i], [][]byte{contents[i]}); err != nil {
				t.Errorf("put: %v", err)
			}
		})
	}
	all.Wait()
	for i, key := range keys {
		check(t, s, key, contents[i])
	}
}

func partsStay(t *testing.T, s blob.Store) {
	key, content := newKey(), noise(1000)
	parts := [][]byte{slices.Clone(content[:400]), slices.Clone(content[400:])}
	put(t, s, key, parts...)
	if !bytes.Equal(slices.Concat(parts...), content) {
		t.Error("put changed the parts")
	}
	for _, part := range parts {
		clear(part)
	}
	check(t, s, key, content)
}

func scopesAreApart(t *testing.T, s blob.Store) {
	first, second := newScope(), newScope()
	pack := id.New[id.Pack]()
	keys := []blob.Key{
		{Scope: first, Pack: pack},
		{Scope: blob.Scope{Organization: first.Organization, Workspace: second.Workspace}, Pack: pack},
		{Scope: blob.Scope{Organization: second.Organization, Workspace: first.Workspace}, Pack: pack},
	}
	for i, key := range keys {
		_, err := s.Size(t.Context(), key)
		fails(t, "size", err, fault.NotFound)
		put(t, s, key, []byte{byte(i)})
	}
	if err := s.Delete(t.Context(), keys[0]); err != nil {
		t.Fatal(err)
	}
	for i, key := range keys[1:] {
		check(t, s, key, []byte{byte(i + 1)})
	}
	if got := list(t, s, keys[0].Scope, id.Pack{}); len(got) != 0 {
		t.Errorf("listed %v of a scope that is empty", got)
	}
}

func deletedIsGone(t *testing.T, s blob.Store) {
	key := newKey()
	put(t, s, key, []byte("first"))
	for range 2 {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("delete: %v", err)
		}
		_, err := get(s, key, 0, 0)
		fails(t, "get", err, fault.NotFound)
	}
	if err := s.Delete(t.Context(), newKey()); err != nil {
		t.Errorf("delete what never was: %v", err)
	}
	put(t, s, key, []byte("second"))
	check(t, s, key, []byte("second"))
}

func list(t *testing.T, s blob.Store, scope blob.Scope, after id.Pack) (got []blob.Object) {
	t.Helper()
	for o, err := range s.List(t.Context(), scope, after) {
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		got = append(got, o)
	}
	return got
}

func listIsOrdered(t *testing.T, s blob.Store) {
	scope := newScope()
	if got := list(t, s, scope, id.Pack{}); len(got) != 0 {
		t.Errorf("listed %v of an empty store", got)
	}
	var want []blob.Object
	for i := range 30 {
		o := blob.Object{Key: blob.Key{Scope: scope, Pack: id.New[id.Pack]()}, Size: int64(i)}
		o.Key.Pack[0] %= 8 // so that some begin alike
		put(t, s, o.Key, make([]byte, i))
		want = append(want, o)
	}
	put(t, s, newKey(), noise(10))
	slices.SortFunc(want, func(a, b blob.Object) int { return a.Key.Compare(b.Key) })
	got := list(t, s, scope, id.Pack{})
	for i := range got {
		if age := time.Since(got[i].Modified); age < -time.Hour || age > time.Hour {
			t.Errorf("an object of just now is said to be from %v", got[i].Modified)
		}
		got[i].Modified = time.Time{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	for i, o := range want {
		if got := list(t, s, scope, o.Key.Pack); len(got) != len(want)-1-i {
			t.Errorf("listed %d behind number %d of %d", len(got), i, len(want))
		}
	}
	n := 0
	for range s.List(t.Context(), scope, id.Pack{}) {
		if n++; n == 3 {
			break
		}
	}
}

func canceledStops(t *testing.T, s blob.Store) {
	there, key := newKey(), newKey()
	put(t, s, there, noise(100))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.Get(ctx, there, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel()
	_, err = io.ReadAll(r)
	fails(t, "read", err, fault.Canceled)
	fails(t, "put", s.Put(ctx, key, [][]byte{{1}}), fault.Canceled)
	fails(t, "delete", s.Delete(ctx, there), fault.Canceled)
	_, err = s.Get(ctx, there, 0, 1)
	fails(t, "get", err, fault.Canceled)
	_, err = s.Size(ctx, there)
	fails(t, "size", err, fault.Canceled)
	err = nil
	for _, err = range s.List(ctx, there.Scope, id.Pack{}) {
	}
	fails(t, "list", err, fault.Canceled)
	_, err = s.Size(t.Context(), key)
	fails(t, "size of what was not stored", err, fault.NotFound)
	check(t, s, there, mustGet(t, s, there, 100))
}

func mustGet(t *testing.T, s blob.Store, key blob.Key, length int64) []byte {
	t.Helper()
	got, err := get(s, key, 0, length)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
