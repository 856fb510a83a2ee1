package certificate_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/server/certificate"
)

// authority is a small one that speaks ACME: an order, a challenge by
// TLS-ALPN-01 that it really looks for, a certificate. It believes signatures.
type authority struct {
	*httptest.Server
	key  *ecdsa.PrivateKey
	root *x509.Certificate
	// target is where it looks for the proof of every domain.
	target string

	mu     sync.Mutex
	domain string // of the order; guarded by mu
	proved bool   // guarded by mu
	issued []byte // in PEM; guarded by mu
	orders int    // guarded by mu
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := new(authority)
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.root, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.Server = httptest.NewTLSServer(a)
	t.Cleanup(a.Close)
	return a
}

// ServeHTTP answers one step of RFC 8555.
func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Replay-Nonce", rand.Text())
	payload := payloadOf(r)
	say := func(status int, place string, v any) {
		w.Header().Set("Location", a.URL+place)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/directory":
		say(200, "", map[string]string{"newNonce": a.URL + "/nonce", "newAccount": a.URL + "/account", "newOrder": a.URL + "/orders"})
	case "/nonce":
	case "/account":
		say(201, "/account/1", map[string]string{"status": "valid"})
	case "/orders":
		var order struct{ Identifiers []struct{ Value string } }
		_ = json.Unmarshal(payload, &order)
		a.domain, a.proved, a.issued = order.Identifiers[0].Value, false, nil
		a.orders++
		say(201, "/order", a.order())
	case "/order":
		say(200, "/order", a.order())
	case "/proof":
		say(200, "", map[string]any{"status": a.state("pending"), "identifier": a.identifier(), "challenges": []any{a.challenge()}})
	case "/challenge":
		a.proved = a.look() == nil
		say(200, "", a.challenge())
	case "/finalize":
		if err := a.issue(payload); err != nil {
			say(400, "", map[string]string{"type": "urn:ietf:params:acme:error:badCSR", "detail": err.Error()})
			return
		}
		say(200, "/order", a.order())
	case "/certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(a.issued)
	default:
		http.NotFound(w, r)
	}
}

// payloadOf returns what a signed request says.
func payloadOf(r *http.Request) []byte {
	var signed struct{ Payload string }
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &signed)
	payload, _ := base64.RawURLEncoding.DecodeString(signed.Payload)
	return payload
}

func (a *authority) state(before string) string {
	if a.proved {
		return "valid"
	}
	return before
}

func (a *authority) identifier() map[string]string {
	return map[string]string{"type": "dns", "value": a.domain}
}

func (a *authority) challenge() map[string]string {
	return map[string]string{"type": "tls-alpn-01", "url": a.URL + "/challenge", "token": "token", "status": a.state("pending")}
}

func (a *authority) order() map[string]any {
	o := map[string]any{
		"status": "pending", "identifiers": []any{a.identifier()}, "authorizations": []string{a.URL + "/proof"}, "finalize": a.URL + "/finalize",
	}
	if a.proved {
		o["status"] = "ready"
	}
	if a.issued != nil {
		o["status"], o["certificate"] = "valid", a.URL+"/certificate"
	}
	return o
}

// look looks for the proof where the domain leads: a certificate with the
// extension of RFC 8737.
func (a *authority) look() error {
	c, err := tls.Dial("tcp", a.target, &tls.Config{ServerName: a.domain, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer c.Close()
	leaf := c.ConnectionState().PeerCertificates[0]
	for _, e := range leaf.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}) && e.Critical && c.ConnectionState().NegotiatedProtocol == "acme-tls/1" {
			return leaf.VerifyHostname(a.domain)
		}
	}
	return errors.New("no proof")
}

// issue signs the request of a proved domain.
func (a *authority) issue(payload []byte) error {
	if !a.proved {
		return errors.New("the domain is not proved")
	}
	var ask struct{ CSR string }
	if err := json.Unmarshal(payload, &ask); err != nil {
		return err
	}
	der, err := base64.RawURLEncoding.DecodeString(ask.CSR)
	if err != nil {
		return err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	made, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour), DNSNames: csr.DNSNames,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}, a.root, csr.PublicKey, a.key)
	a.issued = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made})
	return err
}

// serveTLS serves "hello" until the test ends, and returns where.
func serveTLS(t *testing.T, c *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{TLSConfig: c, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })}
	var running sync.WaitGroup
	running.Go(func() { _ = web.ServeTLS(l, "", "") })
	t.Cleanup(func() { _ = web.Close(); running.Wait() })
	return l.Addr().String()
}

func TestACertificateIsGotByACME(t *testing.T) {
	a := newAuthority(t)
	c := certificate.ACME{Domains: []string{"parsec.example.com"}, Email: "it@example.com", Directory: a.URL + "/directory", Cache: t.TempDir(), Client: a.Client()}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	a.target = serveTLS(t, c.Config())
	roots := x509.NewCertPool()
	roots.AddCert(a.root)
	connect := func(where, name string) error {
		conn, err := tls.Dial("tcp", where, &tls.Config{ServerName: name, RootCAs: roots})
		if err != nil {
			return err
		}
		return conn.Close()
	}
	if err := connect(a.target, "parsec.example.com"); err != nil {
		t.Fatal(err)
	}
	if err := connect(a.target, "other.example.com"); err == nil {
		t.Error("it got a certificate for a name that was not asked for")
	}
	// Another start finds it in the folder.
	if err := connect(serveTLS(t, c.Config()), "parsec.example.com"); err != nil {
		t.Error(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.orders != 1 {
		t.Errorf("%d certificates were ordered, want 1", a.orders)
	}
}

func TestWhatNoAuthorityCertifiesIsRefused(t *testing.T) {
	for name, c := range map[string]certificate.ACME{
		"a name of this network":      {Domains: []string{"localhost"}},
		"an address":                  {Domains: []string{"192.0.2.1"}},
		"a URL":                       {Domains: []string{"https://parsec.example.com"}},
		"all names of a domain":       {Domains: []string{"*.example.com"}},
		"an authority without TLS":    {Domains: []string{"parsec.example.com"}, Directory: "http://ca.example.com"},
		"an authority that is no URL": {Domains: []string{"parsec.example.com"}, Directory: "ca"},
	} {
		if err := c.Validate(); !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), "ACME") {
			t.Errorf("%s: got %v, want a usage error", name, err)
		}
	}
}
