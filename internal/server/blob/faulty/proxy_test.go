package faulty_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"parsec/internal/server/blob/faulty"
)

// echo is a service that answers with what it is sent, and counts.
func echo(t *testing.T) (address string, served *atomic.Int64) {
	served = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		served.Add(1)
		w.Header().Set("X-Host", r.Host)
		w.Write(body)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), served
}

func post(t *testing.T, c *http.Client, url string) (int, string, error) {
	t.Helper()
	r, err := c.Post(url, "text/plain", strings.NewReader("0123456789"))
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return r.StatusCode, string(body), err
}

func TestAProxyBreaksWhatItIsAskedTo(t *testing.T) {
	gate := make(chan struct{})
	close(gate)
	for _, test := range []struct {
		name     string
		exchange faulty.Exchange
		status   int
		body     string
		fails    bool
		served   int64
	}{
		{"nothing", faulty.Exchange{}, 200, "0123456789", false, 1},
		{"a status, and the service sees nothing", faulty.Exchange{Status: 500}, 500, "", false, 0},
		{"a status, and the service has done it", faulty.Exchange{Status: 500, Persisted: true}, 500, "", false, 1},
		{"no answer, and the service sees nothing", faulty.Exchange{Cut: true}, 0, "", true, 0},
		{"no answer, and the service has done it", faulty.Exchange{Cut: true, Persisted: true}, 0, "", true, 1},
		{"a request that is cut", faulty.Exchange{Up: 4}, 0, "", true, 0},
		{"an answer that is cut", faulty.Exchange{Down: 4}, 200, "0123", true, 1},
		{"a request that rots", faulty.Exchange{RotUp: faulty.Flip(1)}, 200, "0023456789", false, 1},
		{"an answer that rots", faulty.Exchange{Rot: faulty.Flip(2)}, 200, "0133456789", false, 1},
		{"one that has waited", faulty.Exchange{Wait: gate}, 200, "0123456789", false, 1},
		{"another request", faulty.Exchange{Status: 500, Only: func(r *http.Request) bool { return r.Method == "GET" }}, 200, "0123456789", false, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			address, served := echo(t)
			p := faulty.NewProxy(t, address)
			p.Inject(test.exchange)
			status, body, err := post(t, &http.Client{}, "http://"+p.Address())
			if status != test.status || body != test.body || (err != nil) != test.fails || served.Load() != test.served {
				t.Errorf("got %d, %q, %v, served %d times", status, body, err, served.Load())
			}
			p.Heal()
			if _, body, err := post(t, &http.Client{}, "http://"+p.Address()); body != "0123456789" || err != nil || p.Requests() != 2 {
				t.Errorf("healed: got %q, %v after %d requests", body, err, p.Requests())
			}
		})
	}
}

func TestAProxySpeaksTLS(t *testing.T) {
	address, _ := echo(t)
	p, caFile := faulty.NewTLSProxy(t, address)
	p.Inject(faulty.Exchange{Status: 500, Times: 1})
	text, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer c.CloseIdleConnections()
	for _, want := range []int{500, 200} {
		if status, _, err := post(t, c, "https://"+p.Address()); status != want || err != nil {
			t.Errorf("got %d, %v, want %d", status, err, want)
		}
	}
}
