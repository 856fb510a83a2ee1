package httpstore_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/server/blob"
	"parsec/internal/server/httpstore"
)

var errAway = fault.Errorf(fault.Unreachable, "away")

func TestWhatMaySucceedIsTriedAgain(t *testing.T) {
	for _, test := range []struct {
		name string
		errs []error // of one attempt after the other; the last stays
		want error
		made int
	}{
		{"a success", []error{nil}, nil, 1},
		{"a success at the last attempt", []error{errAway, errAway, errAway, nil}, nil, 4},
		{"none", []error{errAway}, errAway, 4},
		{"a refusal", []error{io.ErrClosedPipe}, io.ErrClosedPipe, 1},
		{"a refusal after a failure", []error{errAway, io.ErrClosedPipe}, io.ErrClosedPipe, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			var at []time.Duration
			begin := time.Now()
			err := httpstore.Patience{}.Do(t.Context(), func(context.Context, func()) error {
				at = append(at, time.Since(begin))
				return test.errs[min(len(at), len(test.errs))-1]
			})
			if err != test.want || len(at) != test.made {
				t.Errorf("%s: got %v after %d attempts, want %v after %d", test.name, err, len(at), test.want, test.made)
			}
			pause := 200 * time.Millisecond
			for i := 1; i < len(at); i++ {
				if got := at[i] - at[i-1]; got < pause/2 || got > pause {
					t.Errorf("%s: paused for %v, want from half of %v to all of it", test.name, got, pause)
				}
				pause *= 2
			}
		})
	}
}

func TestAnAttemptWithoutProgressIsBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		err := httpstore.Patience{Attempts: 1}.Do(t.Context(), func(ctx context.Context, alive func()) error {
			for range 3 { // an attempt that is slow is not one that hangs
				time.Sleep(29 * time.Second)
				alive()
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if took := time.Since(begin); !fault.Is(err, fault.Unreachable) || took != (3*29+30)*time.Second {
			t.Errorf("got %v after %v", err, took)
		}
	})
}

func TestTheEndOfTheContextEndsAttemptsAndPauses(t *testing.T) {
	for name, attempt := range map[string]func(context.Context, func()) error{
		"an attempt": func(ctx context.Context, _ func()) error { <-ctx.Done(); return ctx.Err() },
		"a pause":    func(context.Context, func()) error { return errAway },
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			begin := time.Now()
			err := httpstore.Patience{}.Do(ctx, attempt)
			if took := time.Since(begin); !fault.Is(err, fault.Canceled) || took != 50*time.Millisecond {
				t.Errorf("%s: got %v after %v", name, err, took)
			}
		})
	}
}

func TestABodyIsItsPartsAndCanBeReadAgain(t *testing.T) {
	content := []byte("0123456789")
	for name, parts := range map[string][][]byte{
		"one": {content}, "with empty ones": {nil, content[:3], {}, {}, content[3:], nil}, "none": nil, "empty": {nil, {}},
	} {
		want := bytes.Join(parts, nil)
		b := httpstore.NewBody(parts, func() {})
		for range 2 {
			if err := iotest.TestReader(struct{ io.Reader }{b}, want); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := b.Seek(0, io.SeekStart); err != nil {
				t.Error(err)
			}
		}
		m, h := md5.Sum(want), sha256.Sum256(want)
		if httpstore.Size(parts) != int64(len(want)) || !bytes.Equal(httpstore.MD5(parts), m[:]) || !bytes.Equal(httpstore.SHA256(parts), h[:]) {
			t.Errorf("%s: other sums than those of the whole", name)
		}
	}
}

func TestAStoppedBodyReadsNoPart(t *testing.T) {
	alive := 0
	b := httpstore.NewBody([][]byte{[]byte("content")}, func() { alive++ })
	if n, err := b.Read(make([]byte, 3)); n != 3 || err != nil || alive != 1 {
		t.Errorf("got %d, %v, and was told of %d reads", n, err, alive)
	}
	b.Stop()
	if n, err := b.Read(make([]byte, 3)); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("got %d bytes and %v of a body that was stopped", n, err)
	}
}

// service is an object whose answers may end early.
type service struct {
	content string
	// ends are how many bytes the answers have, one after the other, and then
	// without end.
	ends  []int
	clean bool // an early end looks like the end
	asked []string
}

func (s *service) open(_ context.Context, from, to int64) (io.ReadCloser, error) {
	s.asked = append(s.asked, fmt.Sprintf("%d-%d", from, to))
	body := s.content[from:to]
	if len(s.ends) == 0 {
		return io.NopCloser(strings.NewReader(body)), nil
	}
	end := s.ends[0]
	s.ends = s.ends[1:]
	if end < 0 {
		return nil, errAway
	}
	if s.clean {
		return io.NopCloser(strings.NewReader(body[:end])), nil
	}
	return io.NopCloser(io.MultiReader(strings.NewReader(body[:end]), iotest.ErrReader(io.ErrUnexpectedEOF))), nil
}

func TestAReaderAsksForTheRestOfAnAnswerThatEndedEarly(t *testing.T) {
	for _, test := range []struct {
		name  string
		ends  []int
		asked []string
		want  string
		fails bool
	}{
		{"whole", nil, []string{"2-8"}, "234567", false},
		{"cut once", []int{2}, []string{"2-8", "4-8"}, "234567", false},
		{"cut, and away once", []int{2, -1}, []string{"2-8", "4-8", "4-8"}, "234567", false},
		{"cut at once", []int{0, 5}, []string{"2-8", "2-8", "7-8"}, "234567", false},
		{"cut too often", []int{1, 1, 1, 1}, []string{"2-8", "3-8", "4-8", "5-8"}, "2345", true},
	} {
		for _, clean := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := &service{content: "0123456789", ends: slices.Clone(test.ends), clean: clean}
				r, err := httpstore.NewReader(t.Context(), httpstore.Patience{}, 2, 6, s.open)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				if string(got) != test.want || fault.Is(err, fault.Unreachable) != test.fails || errors.Is(err, io.EOF) {
					t.Errorf("%s: got %q, %v; want %q", test.name, got, err, test.want)
				}
				if diff := cmp.Diff(test.asked, s.asked); diff != "" {
					t.Errorf("%s (-want +got):\n%s", test.name, diff)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				if _, err := r.Read(make([]byte, 1)); err == nil {
					t.Error("a closed reader read")
				}
			})
		}
	}
}

// stalling gives nothing until it is closed.
type stalling struct{ ctx context.Context }

func (s stalling) Read([]byte) (int, error) { <-s.ctx.Done(); return 0, s.ctx.Err() }
func (s stalling) Close() error             { return nil }

func TestAReaderWaitsForTheServiceAndNotForItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := httpstore.NewReader(t.Context(), httpstore.Patience{}, 0, 4, func(ctx context.Context, from, to int64) (io.ReadCloser, error) {
			if from == 0 {
				return io.NopCloser(io.MultiReader(strings.NewReader("01"), stalling{ctx})), nil
			}
			return io.NopCloser(strings.NewReader("23")), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b := make([]byte, 2)
		time.Sleep(time.Hour) // a caller that is slow
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		begin := time.Now()
		if _, err := io.ReadFull(r, b); string(b) != "23" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
		if took := time.Since(begin); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("gave the service up after %v, want 30 seconds", took)
		}
	})
}

func TestAnAnswerMustBeTheRangeThatWasAskedFor(t *testing.T) {
	for text, want := range map[string]error{
		"bytes 2-7/10":  nil,
		"bytes 2-7/8":   nil,
		"bytes 2-6/7":   fault.Errorf(fault.Invalid, ""),
		"bytes 2-6/10":  fault.Errorf(fault.Failed, ""),
		"bytes 1-7/10":  fault.Errorf(fault.Failed, ""),
		"":              fault.Errorf(fault.Failed, ""),
		"bytes 2-7/*":   fault.Errorf(fault.Failed, ""),
		"octets 2-7/10": fault.Errorf(fault.Failed, ""),
	} {
		err := httpstore.CheckRange(text, 2, 8)
		if (err == nil) != (want == nil) || err != nil && fault.KindOf(err) != fault.KindOf(want) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestOneCallerAtATimeHasAKey(t *testing.T) {
	var turns httpstore.Turns
	key := blob.Key{Pack: id.New[id.Pack]()}
	done, err := turns.Take(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := turns.Take(ctx, key); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v for a key that is taken", err)
	}
	free, err := turns.Take(t.Context(), blob.Key{Pack: id.New[id.Pack]()})
	if err != nil {
		t.Fatal(err)
	}
	free()
	done()
	n := 0 // with the race detector, one at a time or it fails
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			done, err := turns.Take(context.Background(), key)
			if err != nil {
				t.Error(err)
				return
			}
			n++
			done()
		})
	}
	all.Wait()
	if n != 100 {
		t.Errorf("counted %d of 100", n)
	}
}

func TestNamesAreInTheOrderOfKeys(t *testing.T) {
	scope := blob.Scope{Organization: id.Fingerprint{1}, Workspace: id.New[id.Workspace]()}
	one, other := blob.Key{Scope: scope, Pack: id.Pack{1}}, blob.Key{Scope: scope, Pack: id.Pack{0x10}}
	if a, b := httpstore.Name(one), httpstore.Name(other); a >= b || !strings.HasPrefix(a, httpstore.Prefix(scope)) {
		t.Errorf("got %q and %q", a, b)
	}
	if pack, err := httpstore.ParseName(scope, httpstore.Name(one)); pack != one.Pack || err != nil {
		t.Errorf("got %v, %v", pack, err)
	}
	for _, name := range []string{"", "x", httpstore.Prefix(scope), httpstore.Name(one) + "x", httpstore.Name(blob.Key{Pack: one.Pack})} {
		if _, err := httpstore.ParseName(scope, name); err == nil {
			t.Errorf("took %q for a pack", name)
		}
	}
}

func TestAStatusHasAKind(t *testing.T) {
	for status, want := range map[int]fault.Kind{
		404: fault.NotFound, 401: fault.Denied, 403: fault.Denied, 409: fault.Conflict, 412: fault.Conflict, 416: fault.Invalid,
		413: fault.Full, 507: fault.Full, 408: fault.Unreachable, 429: fault.Unreachable, 498: fault.Unreachable,
		500: fault.Unreachable, 503: fault.Unreachable, 504: fault.Unreachable, 501: fault.Failed, 400: fault.Failed, 302: fault.Failed,
	} {
		if got := httpstore.StatusKind(status); got != want {
			t.Errorf("%d: got %v, want %v", status, got, want)
		}
	}
}

func TestWhatAStoreDeniesTheServerIsNotDeniedItsCaller(t *testing.T) {
	err := httpstore.Wrap("store pack", fault.Errorf(fault.Denied, "403"))
	if !fault.Is(err, fault.Failed) || !strings.Contains(fault.HintOf(err), "credentials") {
		t.Errorf("got %v, %q", fault.KindOf(err), fault.HintOf(err))
	}
	if err := httpstore.Wrap("store pack", nil); err != nil {
		t.Errorf("got %v of no error", err)
	}
}

func TestAnAddressIsReadFromItsURL(t *testing.T) {
	a, err := httpstore.ParseAddress("s3://me%3Ayou:se%2Fc%40ret@example.com:9000/bucket?region=here&insecure=true", "s3", "region", "insecure", "ca")
	if err != nil {
		t.Fatal(err)
	}
	want := httpstore.Credentials{User: "me:you", Secret: secret.Bytes("se/c@ret")}
	if a.Host != "example.com:9000" || a.Name != "bucket" || !a.Credentials.Equal(want) || a.Value("region") != "here" || a.Has("ca") {
		t.Errorf("got %+v", a)
	}
	if insecure, err := a.Bool("insecure"); !insecure || err != nil {
		t.Errorf("insecure: %t, %v", insecure, err)
	}
	if v, err := a.Bool("ca"); v || err != nil {
		t.Errorf("a key that is not given: %t, %v", v, err)
	}
	if _, err := a.Bool("region"); !fault.Is(err, fault.Usage) {
		t.Errorf("region is no truth: %v", err)
	}
}

func TestWhatIsNoAddressIsRefusedAndNotShown(t *testing.T) {
	for _, text := range []string{
		"", "s3", "s3:", "s3://", "s3:opaquewhisper", "http://me:whisper@host/bucket", "s3://me:whisper%@host/bucket",
		"s3://me:whis per@host/bucket", "s3://me:whisper@/bucket", "s3://me:whisper@host/bucket#whisper",
		"s3://me:x@host/bucket?whisper=1", "s3://me:x@host/bucket?region=whisper&region=whisper", "s3://me:x@host/bucket?region=",
		"s3://me:x@host/bucket?region=%whisper", "s3://me:whisper@host:port/bucket",
	} {
		_, err := httpstore.ParseAddress(text, "s3", "region")
		if !fault.Is(err, fault.Usage) || strings.Contains(err.Error(), "whisper") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestCredentialsDoNotPrint(t *testing.T) {
	type holder struct {
		Named httpstore.Credentials
		Ref   *httpstore.Credentials
	}
	c := httpstore.Credentials{User: "whisper", Secret: secret.Bytes("whisper")}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "credentials", c, "within", holder{c, &c})
	for _, text := range []string{
		fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c, c), fmt.Sprintf("%v %+v %#v", holder{c, &c}, holder{c, &c}, holder{c, &c}), log.String(),
	} {
		if strings.Contains(text, "whisper") || strings.Contains(text, fmt.Sprint([]byte("whisper"))) {
			t.Errorf("printed %s", text)
		}
	}
}

func TestCredentialsOfTheEnvironmentAreForThoseWithoutTheirOwn(t *testing.T) {
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"USER": "u", "KEY": "k"}[name]
		return v, ok
	}
	own := httpstore.Credentials{User: "me", Secret: secret.Bytes("mine")}
	if got := own.OrFromEnvironment(lookup, "USER", "KEY"); !got.Equal(own) {
		t.Error("the environment's took the place of those given")
	}
	if got := (httpstore.Credentials{}).OrFromEnvironment(lookup, "USER", "KEY"); !got.Equal(httpstore.Credentials{User: "u", Secret: secret.Bytes("k")}) {
		t.Error("the environment's were not taken")
	}
	if got := (httpstore.Credentials{}).OrFromEnvironment(lookup, "NO", "NONE"); !got.IsZero() {
		t.Error("got some of nowhere")
	}
}

func TestAFileOfAuthoritiesMustHaveSome(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, empty + "-nowhere"} {
		if _, err := (httpstore.Network{CAFile: path}).Transport(); !fault.Is(err, fault.Usage) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	tr, err := httpstore.Network{}.Transport()
	if err != nil || tr.MaxConnsPerHost == 0 || tr.MaxIdleConnsPerHost == 0 {
		t.Errorf("connections without a bound, %v", err)
	}
}
