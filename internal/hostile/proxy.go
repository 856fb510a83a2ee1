// Package hostile is a server that lies. A [Proxy] stands between a real
// client and a real server, knows their protocol, and passes everything on
// but what a test alters. The tests of this package carry out the attacks
// that a malicious operator could, against the real client; each is named for
// its number in the list of attacks in docs/attacks.md.
//
// It is for tests only: no program links it.
package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "parsec/internal/api/parsecv1" // registers the messages
)

// Exchange is one call of the API, as the proxy sees it.
type Exchange struct {
	// Request is what the client asked.
	Request proto.Message
	// Responses are what the server answered: one message, or those of a
	// stream in their order. A lie may change, drop, add or reorder them.
	Responses []proto.Message
	// Failed says that the server refused the call; there are no responses then.
	Failed bool
}

// Transfer is one request for blocks, as the proxy sees it.
type Transfer struct {
	// Request and Response are the raw bodies; a lie may replace Response.
	Request, Response []byte
}

// Proxy is a lying server.
type Proxy struct {
	// URL is the address that the client is given.
	URL string

	server string // the honest server's address
	client *http.Client
	close  func()

	mu        sync.Mutex // guards what follows
	lies      map[string]func(*Exchange)
	transfers map[string]func(*Transfer)
	answers   map[string]http.HandlerFunc
	gate      func(*http.Request) (status int)
	log       []Recorded
}

// Recorded is a request that passed through the proxy, so that a test may
// replay it.
type Recorded struct {
	Method, Path string
	Header       http.Header
	Body         []byte
	Status       int
}

// New starts a proxy in front of an honest server, until the test ends.
func New(t testing.TB, server string) *Proxy {
	t.Helper()
	p := &Proxy{
		server: strings.TrimSuffix(server, "/"), client: &http.Client{Transport: &http.Transport{DisableCompression: true}},
		lies: map[string]func(*Exchange){}, transfers: map[string]func(*Transfer){}, answers: map[string]http.HandlerFunc{},
	}
	listener := httptest.NewServer(p)
	p.close = sync.OnceFunc(func() {
		listener.CloseClientConnections()
		listener.Close()
		p.client.CloseIdleConnections()
	})
	t.Cleanup(p.close)
	p.URL = listener.URL
	return p
}

// Close ends the proxy before the test does.
func (p *Proxy) Close() { p.close() }

// SetServer points the proxy at another honest server: one that was restored
// from a backup, or a fork.
func (p *Proxy) SetServer(url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = strings.TrimSuffix(url, "/")
}

// Lie alters every exchange of a procedure, like "WorkspaceService/Pull",
// until [Proxy.Honest].
func (p *Proxy) Lie(procedure string, lie func(*Exchange)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lies[Path(procedure)] = lie
}

// LieAboutBlocks alters every transfer at a path, like "/blocks/download".
func (p *Proxy) LieAboutBlocks(path string, lie func(*Transfer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.transfers[path] = lie
}

// Gate looks at every request before it is passed on; a status other than 0
// is answered in the server's place. A status of -1 cuts the connection after
// the server has handled the request: the reply is lost.
func (p *Proxy) Gate(gate func(*http.Request) (status int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = gate
}

// Answer answers every request at a path, like "/blocks/upload", in the
// server's place, which never sees it.
func (p *Proxy) Answer(path string, answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[path] = answer
}

// Path returns the path of a procedure, like "WorkspaceService/Pull".
func Path(procedure string) string { return "/parsec.v1." + procedure }

// Honest stops all lies.
func (p *Proxy) Honest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.lies)
	clear(p.transfers)
	clear(p.answers)
	p.gate = nil
}

// Log returns the requests so far.
func (p *Proxy) Log() []Recorded {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Recorded(nil), p.log...)
}

// Replay sends a recorded request to the honest server again, as a thief of
// it would, and returns the status. Path, method and body may be changed first.
func (p *Proxy) Replay(r Recorded) (status int, body []byte, err error) {
	answer, body, err := p.pass(r)
	if err != nil {
		return 0, nil, err
	}
	return answer.StatusCode, body, nil
}

func (p *Proxy) pass(r Recorded) (*http.Response, []byte, error) {
	p.mu.Lock()
	server := p.server
	p.mu.Unlock()
	request, err := http.NewRequest(r.Method, server+r.Path, bytes.NewReader(r.Body))
	if err != nil {
		return nil, nil, err
	}
	request.Header = r.Header.Clone()
	answer, err := p.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer, body, err
}

// ServeHTTP passes a request on and its answer back, with the lies of the day.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/Subscribe") {
		p.stream(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	p.mu.Lock()
	gate, lie, transfer, own := p.gate, p.lies[r.URL.Path], p.transfers[r.URL.Path], p.answers[r.URL.Path]
	p.mu.Unlock()
	status := 0
	if gate != nil {
		status = gate(r)
	}
	if status > 0 {
		http.Error(w, http.StatusText(status), status)
		return
	}
	if own != nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
		own(w, r)
		return
	}
	recorded := Recorded{Method: r.Method, Path: r.URL.RequestURI(), Header: r.Header.Clone(), Body: body}
	answer, reply, err := p.pass(recorded)
	if err != nil || status < 0 {
		panic(http.ErrAbortHandler) // the client sees a cut connection
	}
	recorded.Status = answer.StatusCode
	p.mu.Lock()
	p.log = append(p.log, recorded)
	p.mu.Unlock()
	switch {
	case lie != nil:
		reply, answer.StatusCode = alter(r.URL.Path, answer, body, reply, lie)
	case transfer != nil:
		t := &Transfer{Request: body, Response: reply}
		transfer(t)
		reply = t.Response
	}
	for name, values := range answer.Header {
		if name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(answer.StatusCode)
	w.Write(reply)
}

// stream passes an endless answer on as it comes.
func (p *Proxy) stream(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	server := p.server
	p.mu.Unlock()
	request, err := http.NewRequestWithContext(r.Context(), r.Method, server+r.URL.RequestURI(), r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	request.Header = r.Header.Clone()
	answer, err := p.client.Do(request)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer answer.Body.Close()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	flusher := http.NewResponseController(w)
	buffer := make([]byte, 16<<10)
	for {
		n, err := answer.Body.Read(buffer)
		w.Write(buffer[:n])
		flusher.Flush()
		if err != nil {
			return
		}
	}
}

// envelopeEnd marks the envelope that ends a stream; its content is not a message.
const envelopeEnd = 0b10

// alter decodes an exchange, lets the lie change it, and encodes the answer.
func alter(path string, answer *http.Response, request, reply []byte, lie func(*Exchange)) ([]byte, int) {
	method := find(path)
	streamed := strings.HasPrefix(answer.Header.Get("Content-Type"), "application/connect+")
	if streamed {
		request = request[5:]
	}
	x := &Exchange{Request: decode(method.Input(), request), Failed: answer.StatusCode != http.StatusOK}
	var end []byte
	switch {
	case x.Failed:
	case streamed:
		for len(reply) > 0 {
			n := 5 + int(binary.BigEndian.Uint32(reply[1:5]))
			if reply[0]&envelopeEnd != 0 {
				end = reply[:n]
			} else {
				x.Responses = append(x.Responses, decode(method.Output(), reply[5:n]))
			}
			reply = reply[n:]
		}
	default:
		x.Responses = []proto.Message{decode(method.Output(), reply)}
	}
	lie(x)
	if x.Failed {
		return reply, answer.StatusCode
	}
	var out []byte
	for _, m := range x.Responses {
		data, err := proto.Marshal(m)
		if err != nil {
			panic(fmt.Sprintf("encode an altered %s: %v", path, err))
		}
		if streamed {
			out = append(out, 0)
			out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
		}
		out = append(out, data...)
	}
	return append(out, end...), http.StatusOK
}

func find(path string) protoreflect.MethodDescriptor {
	service, name, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		panic(fmt.Sprintf("no service %q in the API", service))
	}
	method := d.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(name))
	if method == nil {
		panic(fmt.Sprintf("no procedure %q in the API", path))
	}
	return method
}

func decode(d protoreflect.MessageDescriptor, data []byte) proto.Message {
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		panic(err)
	}
	m := t.New().Interface()
	if err := proto.Unmarshal(data, m); err != nil {
		panic(fmt.Sprintf("decode %s: %v", d.FullName(), err))
	}
	return m
}
