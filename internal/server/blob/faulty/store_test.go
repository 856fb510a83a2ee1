package faulty_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/blobtest"
	"parsec/internal/server/blob/faulty"
	"parsec/internal/server/blob/file"
)

var errBroken = errors.New("broken")

func open(ctx context.Context, place string) (blob.Store, error) {
	s, err := file.Open(ctx, file.Config{Path: place})
	if err != nil {
		return nil, err
	}
	return faulty.New(s), nil
}

func TestMain(m *testing.M) { blobtest.Main(m, open) }

func TestWithoutFaultsTheStoreKeepsTheContract(t *testing.T) {
	blobtest.Run(t, blobtest.Adapter{
		New:  func(t *testing.T) string { return filepath.Join(t.TempDir(), "blocks") },
		Open: open,
	})
}

func newStore(t *testing.T) *faulty.Store {
	t.Helper()
	s, err := file.Open(t.Context(), file.Config{Path: filepath.Join(t.TempDir(), "blocks")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return faulty.New(s)
}

func newKey() blob.Key {
	return blob.Key{Scope: blob.Scope{Workspace: id.New[id.Workspace]()}, Pack: id.New[id.Pack]()}
}

func put(t *testing.T, s blob.Store, key blob.Key, content string) {
	t.Helper()
	if err := s.Put(t.Context(), key, [][]byte{[]byte(content)}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s blob.Store, key blob.Key, offset, length int64) (string, error) {
	t.Helper()
	r, err := s.Get(t.Context(), key, offset, length)
	if err != nil {
		return "", err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	return string(got), err
}

// there reports whether an object is there.
func there(t *testing.T, s *faulty.Store, key blob.Key) bool {
	t.Helper()
	s.Heal()
	_, err := s.Size(t.Context(), key)
	if err != nil && !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func TestAChangeFailsInEachWay(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault faulty.Fault
		want  error
		done  bool
	}{
		{"failed and not persisted", faulty.Fault{Err: errBroken}, errBroken, false},
		{"failed but persisted", faulty.Fault{Err: errBroken, Persisted: true}, errBroken, true},
		{"acknowledged but not persisted", faulty.Fault{Lost: true}, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, key := newStore(t), newKey()
			s.Inject(faulty.Put, test.fault)
			if err := s.Put(t.Context(), key, nil); err != test.want {
				t.Errorf("put: got %v, want %v", err, test.want)
			}
			if got := there(t, s, key); got != test.done {
				t.Errorf("the object is there: %t, want %t", got, test.done)
			}
			put(t, s, key, "")
			s.Inject(faulty.Delete, test.fault)
			if err := s.Delete(t.Context(), key); err != test.want {
				t.Errorf("delete: got %v, want %v", err, test.want)
			}
			if got := there(t, s, key); got == test.done {
				t.Errorf("the object is there: %t, want %t", got, !test.done)
			}
		})
	}
}

func TestAFaultBefallsAsManyCallsAsAsked(t *testing.T) {
	s, key := newStore(t), newKey()
	put(t, s, key, "content")
	s.Inject(faulty.Size, faulty.Fault{Err: errBroken, Times: 2})
	for i, want := range []error{errBroken, errBroken, nil} {
		if _, err := s.Size(t.Context(), key); err != want {
			t.Errorf("call %d: got %v, want %v", i, err, want)
		}
	}
	if got := s.Calls(faulty.Size); got != 3 {
		t.Errorf("counted %d calls, want 3", got)
	}
}

func TestAFaultBefallsOnlyTheObjectsAskedFor(t *testing.T) {
	s, hit, other := newStore(t), newKey(), newKey()
	put(t, s, hit, "content")
	put(t, s, other, "content")
	s.Inject(faulty.Get, faulty.Fault{Err: errBroken, Only: func(k blob.Key) bool { return k == hit }})
	if _, err := get(t, s, hit, 0, 7); err != errBroken {
		t.Errorf("got %v, want %v", err, errBroken)
	}
	if got, err := get(t, s, other, 0, 7); got != "content" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAReadIsCutRotsOrBoth(t *testing.T) {
	s, key := newStore(t), newKey()
	put(t, s, key, "0123456789")
	for _, test := range []struct {
		name  string
		fault faulty.Fault
		want  string
		err   error
	}{
		{"cut", faulty.Fault{Err: errBroken, After: 3}, "456", errBroken},
		{"rotten", faulty.Fault{Rot: faulty.Flip(5)}, "44678", nil},
		{"rotten elsewhere", faulty.Fault{Rot: faulty.Flip(3)}, "45678", nil},
		{"both", faulty.Fault{Rot: faulty.Flip(4), Err: errBroken, After: 2}, "55", errBroken},
	} {
		s.Inject(faulty.Get, test.fault)
		if got, err := get(t, s, key, 4, 5); got != test.want || err != test.err {
			t.Errorf("%s: got %q, %v; want %q, %v", test.name, got, err, test.want, test.err)
		}
	}
}

func TestAStoreThatIsAwayFailsEveryCall(t *testing.T) {
	s, key := newStore(t), newKey()
	put(t, s, key, "content")
	s.Fail(errBroken)
	_, getErr := s.Get(t.Context(), key, 0, 1)
	_, sizeErr := s.Size(t.Context(), key)
	var listErr error
	for _, listErr = range s.List(t.Context(), key.Scope, id.Pack{}) {
	}
	for i, err := range []error{s.Put(t.Context(), newKey(), nil), getErr, sizeErr, s.Delete(t.Context(), key), listErr} {
		if err != errBroken {
			t.Errorf("call %d: got %v, want %v", i, err, errBroken)
		}
	}
	if !there(t, s, key) {
		t.Error("the object is gone")
	}
}

func TestAListIsCut(t *testing.T) {
	s, key := newStore(t), newKey()
	for range 5 {
		key.Pack = id.New[id.Pack]()
		put(t, s, key, "")
	}
	s.Inject(faulty.List, faulty.Fault{Err: errBroken, After: 3})
	n := 0
	var last error
	for _, err := range s.List(t.Context(), key.Scope, id.Pack{}) {
		if last = err; err == nil {
			n++
		}
	}
	if n != 3 || last != errBroken {
		t.Errorf("got %d objects and %v, want 3 and %v", n, last, errBroken)
	}
}

func TestACallWaitsUntilItIsLetGoOrItsContextEnds(t *testing.T) {
	s, key := newStore(t), newKey()
	put(t, s, key, "content")
	gate := make(chan struct{})
	s.Inject(faulty.Get, faulty.Fault{Wait: gate})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, key, 0, 1); !fault.Is(err, fault.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	close(gate)
	if got, err := get(t, s, key, 0, 7); got != "content" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestACallIsDelayed(t *testing.T) {
	s, key := newStore(t), newKey()
	synctest.Test(t, func(t *testing.T) {
		s.Inject(faulty.Put, faulty.Fault{Delay: time.Minute})
		begin := time.Now()
		if err := s.Put(context.Background(), key, [][]byte{bytes.Repeat([]byte{1}, 10)}); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(begin); got != time.Minute {
			t.Errorf("took %v of the bubble's time, want a minute", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Put(ctx, newKey(), nil); !fault.Is(err, fault.Unreachable) {
			t.Errorf("got %v, want unreachable", err)
		}
	})
}
