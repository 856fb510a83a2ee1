package s3_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/blobtest"
	"parsec/internal/server/blob/faulty"
	"parsec/internal/server/blob/s3"
	"parsec/internal/server/httpstore"
	"parsec/internal/services"
)

// config returns the configuration of a new place.
func config(t testing.TB, url string) s3.Config {
	t.Helper()
	c, err := s3.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// behind opens a store through a proxy.
func behind(t *testing.T, c s3.Config) (blob.Store, *faulty.Proxy) {
	t.Helper()
	proxy := faulty.NewProxy(t, c.Host)
	c.Host = proxy.Address()
	return openConfig(t, c), proxy
}

func openConfig(t testing.TB, c s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestFailuresOfTheNetworkAreSurvivedOrTold(t *testing.T) {
	blobtest.RunRemote(t, func(t *testing.T, p httpstore.Patience) (blob.Store, *faulty.Proxy) {
		c := config(t, services.S3(t))
		c.Patience = p
		return behind(t, c)
	})
}

func TestFailuresOfTheServiceAreSurvivedOrTold(t *testing.T) {
	blobtest.RunService(t, blobtest.Service{
		ObjectStore: services.StartS3(t),
		Open: func(t *testing.T, url string, p httpstore.Patience) blob.Store {
			c := config(t, url)
			c.Patience = p
			return openConfig(t, c)
		},
	})
}

func newKey() blob.Key {
	return blob.Key{Scope: blob.Scope{Workspace: id.New[id.Workspace]()}, Pack: id.New[id.Pack]()}
}

func fails(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%s: got %v, want an error of kind %v", what, err, kind)
	}
}

// works stores an object and asks for it.
func works(t *testing.T, s blob.Store) {
	t.Helper()
	key := newKey()
	if err := s.Put(t.Context(), key, [][]byte{[]byte("content")}); err != nil {
		t.Fatal(err)
	}
	if size, err := s.Size(t.Context(), key); size != 7 || err != nil {
		t.Errorf("got %d, %v, want 7 bytes", size, err)
	}
}

func TestAListGoesOverPages(t *testing.T) {
	for _, place := range []string{services.S3(t), services.SwiftS3(t)} {
		s := openConfig(t, config(t, place))
		s.SetPage(4)
		blobtest.Pages(t, s, 4)
	}
}

func TestAServiceIsFoundToHonourConditionsOrNot(t *testing.T) {
	for place, want := range map[string]bool{services.S3(t): true, services.SwiftS3(t): false} {
		for range 2 { // a new bucket, and one that has been in use
			s := openConfig(t, config(t, place))
			works(t, s)
			if got := s.Conditional(); got != want {
				t.Errorf("%s: %t, want %t", s, got, want)
			}
		}
	}
}

func TestOfTwoProcessesThatStoreOneKeyOneContentWins(t *testing.T) {
	c := config(t, services.S3(t))
	stores := []*s3.Store{openConfig(t, c), openConfig(t, c)}
	for range 20 {
		key := newKey()
		errs := make([]error, len(stores))
		var all sync.WaitGroup
		for i, s := range stores {
			all.Go(func() { errs[i] = s.Put(context.Background(), key, [][]byte{{byte(i)}}) })
		}
		all.Wait()
		if won := errs[0] == nil; won == (errs[1] == nil) || !won && !fault.Is(errs[0], fault.Conflict) || won && !fault.Is(errs[1], fault.Conflict) {
			t.Errorf("got %v and %v, want one conflict", errs[0], errs[1])
		}
	}
}

func TestWrongCredentialsAreDeniedAndNotShown(t *testing.T) {
	for _, place := range []string{services.S3(t), services.SwiftS3(t)} {
		c := config(t, place)
		for name, wrong := range map[string]httpstore.Credentials{
			"another secret": {User: c.Credentials.User, Secret: secret.Bytes("whisper-whisper")},
			"another user":   {User: "whisper", Secret: c.Credentials.Secret},
		} {
			other := c
			other.Credentials = wrong
			_, err := s3.Open(t.Context(), other)
			fails(t, name, err, fault.Denied)
			if err != nil && strings.Contains(err.Error(), "whisper") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestNothingPrintsCredentials(t *testing.T) {
	c := config(t, services.S3(t))
	c.Credentials.Secret = secret.Bytes("whisper")
	proxy := faulty.NewProxy(t, c.Host)
	proxy.Inject(faulty.Exchange{Cut: true})
	c.Host, c.Patience = proxy.Address(), httpstore.Patience{Attempts: 1}
	s := openConfig(t, c)
	err := s.Put(t.Context(), newKey(), nil)
	fails(t, "put", err, fault.Unreachable)
	for _, text := range []string{
		fmt.Sprintf("%v %+v %#v %s", c, c, c, c), fmt.Sprintf("%v %+v %#v", &c, &c, &c), fmt.Sprintf("%v %+v %#v", s, s, s), fmt.Sprintf("%v %+v", err, err),
	} {
		if strings.Contains(text, "whisper") || strings.Contains(text, fmt.Sprint([]byte("whisper"))) {
			t.Errorf("printed %s", text)
		}
	}
}

func TestAServiceThatIsAwayAtTheStartIsUsedOnceItAnswers(t *testing.T) {
	c := config(t, services.S3(t))
	proxy := faulty.NewProxy(t, c.Host)
	c.Host, c.Patience = proxy.Address(), httpstore.Patience{Attempts: 2, Pause: time.Millisecond}
	proxy.Inject(faulty.Exchange{Cut: true})
	s := openConfig(t, c)
	fails(t, "put", s.Put(t.Context(), newKey(), nil), fault.Unreachable)
	proxy.Heal()
	works(t, s)
}

func TestAFullBucketIsFull(t *testing.T) {
	place := services.SwiftS3(t)
	s := openConfig(t, config(t, place))
	services.SetSwiftQuota(t, place, 1000)
	works(t, s)
	fails(t, "put", s.Put(t.Context(), newKey(), [][]byte{make([]byte, 2000)}), fault.Full)
}

func TestALostBucketIsNotALostObject(t *testing.T) {
	own := services.StartS3(t)
	place := own.URL()
	s := openConfig(t, config(t, place))
	key := newKey()
	if err := s.Put(t.Context(), key, [][]byte{[]byte("content")}); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(place)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(own.Data, u.Path)); err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(t.Context(), key, 0, 7)
	fails(t, "get", err, fault.Failed)
	fails(t, "put", s.Put(t.Context(), newKey(), nil), fault.Failed)
}

func TestTheBucketIsAPartOfThePathOrOfTheHost(t *testing.T) {
	c := config(t, services.S3(t))
	server := c.Host
	_, port, err := net.SplitHostPort(server)
	if err != nil {
		t.Fatal(err)
	}
	for style, want := range map[s3.Style]string{
		s3.Automatic: "s3.example.com:" + port, s3.Path: "s3.example.com:" + port, s3.VirtualHost: c.Bucket + ".s3.example.com:" + port,
	} {
		c := c
		c.Host, c.Style = "s3.example.com:"+port, style
		var mu sync.Mutex // guards asked
		asked := make(map[string]bool)
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			asked[address] = true
			return (&net.Dialer{}).DialContext(ctx, network, server)
		}
		if style != s3.VirtualHost {
			// The server takes the first part of such a name for a bucket.
			c.Host = "127.0.0.1:" + port
			want = c.Host
		}
		works(t, openConfig(t, c))
		if !asked[want] {
			t.Errorf("style %d: connected to %v, want %s", style, asked, want)
		}
	}
}

func TestAnAuthorityOfOnesOwnIsTrustedWhereItIsNamed(t *testing.T) {
	c := config(t, services.S3(t))
	proxy, ca := faulty.NewTLSProxy(t, c.Host)
	c.Host, c.Insecure, c.CAFile = proxy.Address(), false, ca
	works(t, openConfig(t, c))
	c.CAFile = ""
	_, err := s3.Open(t.Context(), c)
	fails(t, "open", err, fault.Failed)
	if !strings.Contains(fault.HintOf(err), "ca=FILE") {
		t.Errorf("hint: %q", fault.HintOf(err))
	}
}

func TestAnErrorThatIsNoRefusalOfAConditionIsNotTakenForOne(t *testing.T) {
	c := config(t, services.S3(t))
	c.Patience = httpstore.Patience{Attempts: 2, Pause: time.Millisecond}
	s, proxy := behind(t, c)
	proxy.Inject(faulty.Exchange{Status: http.StatusPreconditionFailed})
	err := s.Put(t.Context(), newKey(), nil)
	if err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v of a store that has nothing", err)
	}
}
