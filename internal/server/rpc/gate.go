package rpc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/request"
	"parsec/internal/server/call"
	"parsec/internal/server/limit"
)

// proof is what a caller has to show.
type proof uint8

const (
	// noProof is for what anyone may ask, and for tokens inside the body.
	noProof proof = iota
	// deviceProof is a request token of a device over the body.
	deviceProof
	// headerProof is a request token of a device over the header of an upload,
	// which the endpoint itself checks while it reads.
	headerProof
	// operatorProof is the bearer token of the operator.
	operatorProof
)

// endpoint is how one address is bounded and guarded.
type endpoint struct {
	proof proof
	// body is the largest body in bytes; headerProof reads its own.
	body int64
	// time bounds the whole request; 0 for a stream that ends with the server.
	time time.Duration
}

// Organizations is what the gate needs in order to know a device.
type Organizations interface {
	// Authenticate checks a request token, and that its device is in use.
	Authenticate(ctx context.Context, t request.Token, w request.What) (call.Caller, error)
}

// Operator checks the bearer token of the operator.
type Operator interface {
	// Check returns the id of the token, or fails unless it is the operator's.
	Check(ctx context.Context, token string) (id.AdminToken, error)
}

type callerKey struct{}

// callerOf returns the device that the gate let in.
func callerOf(ctx context.Context) call.Caller {
	c, _ := ctx.Value(callerKey{}).(call.Caller)
	return c
}

// admit reads the body, checks the proof, and passes the request on.
func (s *Server) admit(w *answer, r *http.Request, e endpoint) error {
	if e.proof == headerProof {
		s.mux.ServeHTTP(w, r)
		return nil
	}
	// Who proves nothing gets no memory, and who need not prove anything shares
	// a little of its own: so strangers never hold up those who are known.
	memory := s.memory
	var token request.Token
	var err error
	switch e.proof {
	case noProof:
		memory = s.open
	case deviceProof:
		r, token, err = s.authenticate(r)
	case operatorProof:
		bearer, _ := strings.CutPrefix(r.Header.Get(request.Header), "Bearer ")
		var who id.AdminToken
		who, err = s.operator.Check(r.Context(), bearer)
		r = r.WithContext(call.WithOperator(r.Context(), who))
	}
	if err != nil {
		return err
	}
	data, release, err := s.readBody(r, memory, e.body)
	if err != nil {
		return err
	}
	defer release()
	if e.proof == deviceProof {
		if err := token.Covers(sha256.Sum256(data)); err != nil {
			return err
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	s.mux.ServeHTTP(w, r)
	return nil
}

// authenticate returns the request with its caller, at the caller's rate, and
// the token, which still has to cover the body: it is checked before anything
// of that is read.
func (s *Server) authenticate(r *http.Request) (*http.Request, request.Token, error) {
	t, err := request.Parse(r.Header.Get(request.Header))
	if err != nil {
		return nil, t, err
	}
	caller, err := s.gate.Authenticate(r.Context(), t, request.What{Method: r.Method, Path: path(r), Body: t.Body})
	if err != nil {
		return nil, t, err
	}
	if err := s.devices.Allow(caller.Device, s.cfg.Now()); err != nil {
		return nil, t, err
	}
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)), t, nil
}

// path returns the path with the query as the client sent it.
func path(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI()
}

// readBody reads a body of at most so many bytes. The memory comes out of a
// common budget and stays out of it until release is called.
func (s *Server) readBody(r *http.Request, memory *limit.Memory, most int64) (data []byte, release func(), err error) {
	length := r.ContentLength
	if length > most {
		return nil, nil, tooLarge(most)
	}
	if length < 0 { // not announced
		length = most
	}
	release, err = memory.Take(r.Context(), length)
	if err != nil {
		return nil, nil, err
	}
	if data, err = readAll(r, most); err != nil {
		release()
		return nil, nil, err
	}
	if b, ok := r.Body.(*body); ok {
		b.rest()
	}
	return data, release, nil
}

func readAll(r *http.Request, most int64) (data []byte, err error) {
	if r.ContentLength >= 0 {
		data = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, data)
	} else if data, err = io.ReadAll(io.LimitReader(r.Body, most+1)); int64(len(data)) > most {
		return nil, tooLarge(most)
	}
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "read request: %w", err)
	}
	return data, nil
}

func tooLarge(most int64) error {
	return fault.Errorf(fault.TooLarge, "read request: longer than %d bytes", most)
}
