package faulty

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Exchange is what befalls requests and their answers. The zero value befalls none.
type Exchange struct {
	// Status is answered in place of what the service answers.
	Status int
	// Header goes with Status.
	Header http.Header
	// Cut closes the connection without an answer.
	Cut bool
	// Persisted lets the service have the request before Status or Cut.
	Persisted bool
	// Up closes the connection once so many bytes of the request's body have
	// come; the service never sees it.
	Up int64
	// Down closes the connection once so many bytes of the answer's body went.
	Down int64
	// Hang goes silent in place of closing the connection, until the client
	// goes away or the test ends.
	Hang bool
	// RotUp and Rot change bytes of the request's and the answer's body: b is
	// what lies at offset at of it.
	RotUp, Rot func(at int64, b []byte)
	// Wait holds the request until it is closed or the client goes away.
	Wait <-chan struct{}
	// Only is the requests that are concerned; nil means all.
	Only func(*http.Request) bool
	// Times is how many requests are concerned; 0 means all, until [Proxy.Heal].
	Times int
}

// Proxy stands before an HTTP service. It is safe for concurrent use.
type Proxy struct {
	server *httptest.Server
	target string
	behind http.Transport
	done   chan struct{} // is closed at the end of the test

	mu       sync.Mutex // guards the rest
	exchange *Exchange
	requests int
}

// NewProxy starts a proxy before the service at an address, which ends with
// the test.
func NewProxy(t testing.TB, target string) *Proxy {
	p := &Proxy{target: target, done: make(chan struct{})}
	p.server = httptest.NewServer(p)
	t.Cleanup(p.close)
	return p
}

// NewTLSProxy starts one that speaks TLS before a service that does not.
func NewTLSProxy(t testing.TB, target string) (p *Proxy, caFile string) {
	t.Helper()
	p = &Proxy{target: target, done: make(chan struct{})}
	p.server = httptest.NewTLSServer(p)
	t.Cleanup(p.close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	if err := os.WriteFile(caFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return p, caFile
}

func (p *Proxy) close() {
	close(p.done)
	p.server.CloseClientConnections()
	p.server.Close()
	p.behind.CloseIdleConnections()
}

// Address returns where the proxy listens.
func (p *Proxy) Address() string { return p.server.Listener.Addr().String() }

// Inject lets requests be befallen, in place of what befell them before.
func (p *Proxy) Inject(e Exchange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exchange = &e
}

// Heal ends all faults.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exchange = nil
}

// Requests returns how many requests have come.
func (p *Proxy) Requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

func (p *Proxy) next(r *http.Request) Exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests++
	e := p.exchange
	if e == nil || e.Only != nil && !e.Only(r) {
		return Exchange{}
	}
	now := *e
	if e.Times == 1 {
		p.exchange = nil
	}
	e.Times--
	return now
}

// ServeHTTP implements [http.Handler].
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := p.next(r)
	if e.Wait != nil {
		select {
		case <-e.Wait:
		case <-r.Context().Done():
		case <-p.done:
		}
	}
	if e.Up > 0 {
		io.CopyN(io.Discard, r.Body, e.Up)
		p.cut(r, e)
	}
	if (e.Status != 0 || e.Cut) && !e.Persisted {
		io.Copy(io.Discard, r.Body)
		p.answer(w, r, e)
		return
	}
	answer, err := p.behind.RoundTrip(p.forward(r, e))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer answer.Body.Close()
	if e.Status != 0 || e.Cut {
		io.Copy(io.Discard, answer.Body)
		p.answer(w, r, e)
		return
	}
	p.pass(w, r, answer, e)
}

func (p *Proxy) forward(r *http.Request, e Exchange) *http.Request {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = "http", p.target, ""
	if e.RotUp != nil {
		out.Body = &rotten{ReadCloser: r.Body, rot: e.RotUp}
	}
	if r.ContentLength == 0 {
		out.Body = nil
	}
	return out
}

// answer gives the answer of the fault.
func (p *Proxy) answer(w http.ResponseWriter, r *http.Request, e Exchange) {
	if e.Cut {
		p.cut(r, e)
	}
	for name, values := range e.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(e.Status)
}

// pass gives the answer of the service.
func (p *Proxy) pass(w http.ResponseWriter, r *http.Request, answer *http.Response, e Exchange) {
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	var body io.Reader = answer.Body
	if e.Rot != nil {
		body = &rotten{ReadCloser: answer.Body, rot: e.Rot}
	}
	if e.Down > 0 {
		io.CopyN(w, body, e.Down)
		http.NewResponseController(w).Flush()
		p.cut(r, e)
	}
	if _, err := io.Copy(w, body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// cut ends an exchange in the middle.
func (p *Proxy) cut(r *http.Request, e Exchange) {
	if e.Hang {
		select {
		case <-r.Context().Done():
		case <-p.done:
		}
	}
	panic(http.ErrAbortHandler) // which closes the connection
}

// rotten is a body whose bytes are changed as they are read.
type rotten struct {
	io.ReadCloser
	rot func(int64, []byte)
	at  int64
}

// Read implements [io.Reader].
func (r *rotten) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.rot(r.at, p[:n])
	r.at += int64(n)
	return n, err
}
