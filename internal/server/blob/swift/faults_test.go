package swift_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/blobtest"
	"parsec/internal/server/blob/faulty"
	"parsec/internal/server/blob/swift"
	"parsec/internal/server/httpstore"
	"parsec/internal/services"
)

// config returns the configuration of a new place.
func config(t testing.TB, url string) swift.Config {
	t.Helper()
	c, err := swift.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// behind opens a store through a proxy.
func behind(t *testing.T, c swift.Config) (blob.Store, *faulty.Proxy) {
	t.Helper()
	proxy := faulty.NewProxy(t, c.Host)
	c.Host = proxy.Address()
	return openConfig(t, c), proxy
}

func openConfig(t testing.TB, c swift.Config) *swift.Store {
	t.Helper()
	s, err := swift.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestFailuresOfTheNetworkAreSurvivedOrTold(t *testing.T) {
	blobtest.RunRemote(t, func(t *testing.T, p httpstore.Patience) (blob.Store, *faulty.Proxy) {
		c := config(t, services.Swift(t))
		c.Patience = p
		return behind(t, c)
	})
}

func TestFailuresOfTheServiceAreSurvivedOrTold(t *testing.T) {
	blobtest.RunService(t, blobtest.Service{
		ObjectStore: services.StartSwift(t),
		Process:     "object",
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
	s := openConfig(t, config(t, services.Swift(t)))
	s.SetPage(4)
	blobtest.Pages(t, s, 4)
}

func TestWrongCredentialsAreDeniedAndNotShown(t *testing.T) {
	c := config(t, services.Swift(t))
	for name, wrong := range map[string]httpstore.Credentials{
		"another key":  {User: c.Credentials.User, Secret: secret.Bytes("whisper")},
		"another user": {User: "whisper:whisper", Secret: c.Credentials.Secret},
	} {
		other := c
		other.Credentials = wrong
		_, err := swift.Open(t.Context(), other)
		fails(t, name, err, fault.Denied)
		if err != nil && strings.Contains(err.Error(), "whisper") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNothingPrintsCredentials(t *testing.T) {
	c := config(t, services.Swift(t))
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
	c := config(t, services.Swift(t))
	proxy := faulty.NewProxy(t, c.Host)
	c.Host, c.Patience = proxy.Address(), httpstore.Patience{Attempts: 2, Pause: time.Millisecond}
	proxy.Inject(faulty.Exchange{Cut: true})
	s := openConfig(t, c)
	fails(t, "put", s.Put(t.Context(), newKey(), nil), fault.Unreachable)
	proxy.Heal()
	works(t, s)
}

func TestAFullContainerIsFull(t *testing.T) {
	place := services.Swift(t)
	s := openConfig(t, config(t, place))
	services.SetSwiftQuota(t, place, 1000)
	works(t, s)
	fails(t, "put", s.Put(t.Context(), newKey(), [][]byte{make([]byte, 2000)}), fault.Full)
}

func TestATokenThatTheServiceForgotIsRenewed(t *testing.T) {
	own := services.StartSwift(t)
	s := openConfig(t, config(t, own.URL()))
	key := newKey()
	if err := s.Put(t.Context(), key, [][]byte{[]byte("content")}); err != nil {
		t.Fatal(err)
	}
	forget := func() {
		t.Helper()
		port, err := os.ReadFile(filepath.Join(own.Data, "..", "etc", "memcached.port"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", "127.0.0.1:"+strings.TrimSpace(string(port)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "flush_all\r\n")
		if line, err := bufio.NewReader(c).ReadString('\n'); line != "OK\r\n" || err != nil {
			t.Fatalf("forget tokens: %q, %v", line, err)
		}
	}
	for name, do := range map[string]func() error{
		"put":    func() error { return s.Put(t.Context(), newKey(), [][]byte{make([]byte, 1<<20)}) },
		"size":   func() error { _, err := s.Size(t.Context(), key); return err },
		"delete": func() error { return s.Delete(t.Context(), newKey()) },
		"get": func() error {
			r, err := s.Get(t.Context(), key, 0, 7)
			if err != nil {
				return err
			}
			return r.Close()
		},
	} {
		forget()
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestATokenThatIsRefusedAnewIsAnError(t *testing.T) {
	s, proxy := behind(t, config(t, services.Swift(t)))
	proxy.Inject(faulty.Exchange{Status: http.StatusUnauthorized, Only: func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/") }})
	fails(t, "put", s.Put(t.Context(), newKey(), nil), fault.Failed)
}

func TestAnAuthorityThatHangsHoldsNobodyForLong(t *testing.T) {
	c := config(t, services.Swift(t))
	proxy := faulty.NewProxy(t, c.Host)
	proxy.Inject(faulty.Exchange{Cut: true})
	c.Host, c.Patience = proxy.Address(), httpstore.Patience{Silence: 200 * time.Millisecond, Attempts: 1}
	s := openConfig(t, c)
	proxy.Inject(faulty.Exchange{Wait: make(chan struct{})})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			_, err := s.Size(context.Background(), newKey())
			if !fault.Is(err, fault.Unreachable) {
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()
	// Each waits for its own patience. If they stood in line there would be
	// one request after the other.
	if got := proxy.Requests(); got > 10 {
		t.Errorf("%d callers asked for a token one after the other", got)
	}
}

// keystone is an authority that speaks as Keystone does and hands out the
// tokens and the address of a real Swift, whose own authority it asks. No
// Keystone runs in the tests.
type keystone struct {
	t      *testing.T
	swift  swift.Config // with the user and key that the tokens are for
	life   time.Duration
	asked  atomic.Int64
	secure bool // names an address with TLS
	host   string
}

// ServeHTTP implements [http.Handler].
func (k *keystone) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Auth struct {
			Identity struct {
				Methods  []string
				Password struct {
					User struct {
						Name, Password string
						Domain         struct{ Name string }
					}
				}
			}
			Scope struct {
				Project struct {
					Name   string
					Domain struct{ Name string }
				}
			}
		}
	}
	err := json.NewDecoder(r.Body).Decode(&q)
	user, project := q.Auth.Identity.Password.User, q.Auth.Scope.Project
	if err != nil || r.Method != "POST" || r.URL.Path != "/identity/v3/auth/tokens" || user.Name != "alice" || user.Password != "p@ss/word" ||
		user.Domain.Name != "People" || project.Name != "the project" || project.Domain.Name != "People" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	k.asked.Add(1)
	login, err := http.NewRequestWithContext(r.Context(), "GET", "http://"+k.swift.Host+"/auth/v1.0", nil)
	if err != nil {
		k.t.Error(err)
		return
	}
	login.Header.Set("X-Auth-User", k.swift.Credentials.User)
	login.Header.Set("X-Auth-Key", string(k.swift.Credentials.Secret))
	answer, err := http.DefaultClient.Do(login)
	if err != nil {
		k.t.Error(err)
		return
	}
	answer.Body.Close()
	storage := answer.Header.Get("X-Storage-Url")
	if k.host != "" {
		storage = strings.Replace(storage, k.swift.Host, k.host, 1)
	}
	if k.secure {
		storage = strings.Replace(storage, "http://", "https://", 1)
	}
	w.Header().Set("X-Subject-Token", answer.Header.Get("X-Auth-Token"))
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(map[string]any{"token": map[string]any{
		"expires_at": time.Now().Add(k.life).UTC().Format(time.RFC3339),
		"catalog": []any{
			map[string]any{"type": "identity", "endpoints": []any{map[string]any{"interface": "public", "region": "here", "url": "http://nowhere.invalid"}}},
			map[string]any{"type": "object-store", "endpoints": []any{
				map[string]any{"interface": "public", "region": "elsewhere", "url": "http://nowhere.invalid"},
				map[string]any{"interface": "internal", "region": "here", "url": "http://nowhere.invalid"},
				map[string]any{"interface": "public", "region": "here", "url": storage},
			}},
		},
	}})
}

const v3 = "swift://alice:p%40ss%2Fword@HOST/CONTAINER?auth=v3&tenant=the+project&domain=People&region=here&auth-path=/identity/v3"

// onKeystone returns the configuration of a container by way of an authority.
func onKeystone(t *testing.T, real swift.Config, host string) swift.Config {
	t.Helper()
	return config(t, strings.NewReplacer("HOST", host, "CONTAINER", real.Container).Replace(v3))
}

func TestTokensOfKeystoneOpenAContainer(t *testing.T) {
	real := config(t, services.Swift(t))
	for name, test := range map[string]struct {
		life time.Duration
		most int64
	}{
		"that last":     {time.Hour, 1},
		"that end soon": {90 * time.Second, 100},
	} {
		k := &keystone{t: t, swift: real, life: test.life}
		server := httptest.NewServer(k)
		defer server.Close()
		c := onKeystone(t, real, server.Listener.Addr().String())
		c.Insecure = true
		s := openConfig(t, c)
		for range 3 {
			works(t, s)
		}
		if got := k.asked.Load(); got > test.most || test.most > 1 && got < 4 {
			t.Errorf("tokens %s: asked for %d", name, got)
		}
		for what, wrong := range map[string]func(*swift.Config){
			"password": func(c *swift.Config) { c.Credentials.Secret = secret.Bytes("whisper") },
			"tenant":   func(c *swift.Config) { c.Tenant = "another" },
			"domain":   func(c *swift.Config) { c.Domain = "" },
		} {
			other := c
			wrong(&other)
			_, err := swift.Open(t.Context(), other)
			fails(t, "another "+what, err, fault.Denied)
		}
		c.Region = "nowhere"
		_, err := swift.Open(t.Context(), c)
		fails(t, "another region", err, fault.Failed)
	}
}

func TestAnAuthorityOfOnesOwnIsTrustedWhereItIsNamed(t *testing.T) {
	real := config(t, services.Swift(t))
	behindTLS, ca := faulty.NewTLSProxy(t, real.Host)
	k := &keystone{t: t, swift: real, life: time.Hour, secure: true, host: behindTLS.Address()}
	server := httptest.NewTLSServer(k)
	defer server.Close()
	c := onKeystone(t, real, server.Listener.Addr().String())
	c.CAFile = ca
	works(t, openConfig(t, c))

	k.secure, k.host = false, "" // where the service is, and answers
	_, err := swift.Open(t.Context(), c)
	fails(t, "an address without TLS", err, fault.Failed)

	c.CAFile = ""
	_, err = swift.Open(t.Context(), c)
	fails(t, "an authority that is not named", err, fault.Failed)
	if !strings.Contains(fault.HintOf(err), "ca=FILE") {
		t.Errorf("hint: %q", fault.HintOf(err))
	}
}
