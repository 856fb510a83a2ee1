package remote

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"unicode"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
)

// Stale is the detail of an error of kind [fault.Stale]: what the client needs
// to sign again. Everything in it is as the server says, unverified.
type Stale struct {
	// Position is where the log of the record stands; zero if the server did not say.
	Position record.Position
	// Records are those behind what the record had seen, or the first of them.
	Records [][]byte
	// Organization is where the organization log stands, when the record has
	// to cover more of it; zero otherwise.
	Organization record.Position
	// Chains are the newest of the entries whose versions were taken.
	Chains []Chain

	message string
}

// Error says why the record was refused.
func (s *Stale) Error() string { return s.message }

// Missing is the detail of an error of kind [fault.Missing].
type Missing struct {
	// Blocks are those of the commit that the server does not hold.
	Blocks []id.Block

	message string
}

// Error says that blocks are missing.
func (m *Missing) Error() string { return m.message }

// settled marks an error that another attempt would not change, although its
// kind says so: one of the caller's own, or a server that is none.
type settled struct{ error }

// Unwrap returns the error.
func (s settled) Unwrap() error { return s.error }

// refusable are the kinds that a server may give to its refusals, by name. A
// server that says another, above all that it broke a promise, only failed.
func refusable(name string) (fault.Kind, bool) {
	for _, k := range []fault.Kind{
		fault.Failed, fault.Invalid, fault.NotFound, fault.Denied, fault.Unauthenticated,
		fault.Unreachable, fault.Conflict, fault.Stale, fault.Missing, fault.TooLarge,
		fault.Busy, fault.Full, fault.Upgrade, fault.Frozen, fault.Clock,
	} {
		if k.String() == name {
			return k, true
		}
	}
	return fault.Failed, false
}

// kindOfCode is the kind of an error without a refusal: one that the server's
// RPC library made by itself.
func kindOfCode(code connect.Code) fault.Kind {
	switch code {
	case connect.CodeInvalidArgument:
		return fault.Invalid
	case connect.CodeUnauthenticated:
		return fault.Unauthenticated
	case connect.CodePermissionDenied:
		return fault.Denied
	case connect.CodeResourceExhausted:
		return fault.TooLarge
	case connect.CodeUnimplemented:
		return fault.Upgrade
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeCanceled:
		return fault.Unreachable
	}
	return fault.Failed
}

// refused returns the error that a server's answer stands for.
func refused(e *connect.Error) error {
	for _, detail := range e.Details() {
		if detail.Type != string((*parsecv1.Refusal)(nil).ProtoReflect().Descriptor().FullName()) {
			continue
		}
		refusal := new(parsecv1.Refusal)
		if err := decode(detail.Value, refusal); err != nil {
			return malformed("its refusal: %v", err)
		}
		return refusedAs(refusal, e.Message())
	}
	kind := kindOfCode(e.Code())
	err := error(&fault.Error{Kind: kind, Err: said(e.Message(), kind)})
	if kind == fault.Upgrade {
		err = fault.WithHint(err, "the server is older than this program, or not a Parsec server")
	}
	return err
}

func refusedAs(refusal *parsecv1.Refusal, message string) error {
	kind, _ := refusable(refusal.GetKind())
	e := &fault.Error{Kind: kind, Hint: clean(refusal.GetHint()), Err: said(message, kind)}
	switch {
	case kind == fault.Stale && refusal.GetStale() != nil:
		stale, err := staleFrom(refusal.GetStale())
		if err != nil {
			return err
		}
		stale.message = e.Err.Error()
		e.Err = stale
	case kind == fault.Missing && refusal.GetMissing() != nil:
		blocks, err := identifiers[id.Block](refusal.GetMissing().GetBlocks())
		if err != nil {
			return err
		}
		e.Err = &Missing{Blocks: blocks, message: e.Err.Error()}
	}
	return e
}

func staleFrom(m *parsecv1.Stale) (*Stale, error) {
	s := &Stale{Records: m.GetRecords()}
	var err error
	if m.GetPosition() != nil {
		if s.Position, err = position(m.GetPosition()); err != nil {
			return nil, err
		}
	}
	if m.GetOrganization() != nil {
		if s.Organization, err = position(m.GetOrganization()); err != nil {
			return nil, err
		}
	}
	if err := sized("record", s.Records, record.MaxSize); err != nil {
		return nil, err
	}
	if n := len(m.GetChains()); n > record.MaxChanges {
		return nil, malformed("%d chains for one commit", n)
	}
	s.Chains, err = chains(m.GetChains())
	return s, err
}

// plainRefusal is how the plain HTTP endpoints refuse; or, where the server
// refuses before it looks which endpoint it is, how a call refuses.
type plainRefusal struct {
	Kind  string `json:"kind"`
	Error string `json:"error"`
	Hint  string `json:"hint"`

	Code    connect.Code `json:"code"`
	Message string       `json:"message"`
	Details []struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"details"`
}

// refusedPlainly reads the refusal of a plain HTTP endpoint.
func refusedPlainly(body io.Reader) error {
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var p plainRefusal
	if err := json.Unmarshal(data, &p); err != nil {
		return malformed("its refusal: %v", err)
	}
	if p.Kind != "" {
		return refusedAs(&parsecv1.Refusal{Kind: p.Kind, Hint: p.Hint}, p.Error)
	}
	e := connect.NewError(p.Code, p.Message)
	for _, d := range p.Details {
		value, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(d.Value, "="))
		if err != nil {
			return malformed("its refusal: %v", err)
		}
		e = e.WithDetail(&connect.ErrorDetail{Type: d.Type, Value: value})
	}
	return refused(e)
}

// maxSaid is the longest text of a server that is passed on to people.
const maxSaid = 300

// clean makes a server's words fit for a terminal and a line.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "") + "..."
	}
	return strings.TrimSpace(text)
}

func said(message string, kind fault.Kind) error {
	if message = clean(message); message == "" {
		message = kind.String()
	}
	return errors.New(message)
}

// malformed is an answer that does not follow the protocol. It proves no bad
// intent and breaks no promise: nothing of it was used.
func malformed(format string, args ...any) error {
	return fault.WithHint(fault.Errorf(fault.Invalid, "the server's answer is malformed: "+format, args...),
		"the server is damaged, or of another version than this program")
}

// cut is an answer that broke off.
func cut(server string, err error) error {
	return fault.WithHint(fault.Errorf(fault.Unreachable, "the connection to %s broke: %s", server, reason(err)),
		"try again; what was done is kept")
}

// unreachable is a request without an answer.
func unreachable(server string, err error) error {
	hint := "check the address, the network, and that the server runs"
	final := false
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		hint, final = "the server does not speak https; it may speak http", true
	} else if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		hint, final = "the server's certificate is not valid for this address", true
	}
	err = fault.WithHint(fault.Errorf(fault.Unreachable, "cannot reach %s: %s", server, reason(err)), "%s", hint)
	if final {
		return settled{err}
	}
	return err
}

// reason returns the innermost telling text of a network error.
func reason(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "no answer in time"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "it closed the connection"
	}
	return clean(err.Error())
}

// stranger is an answer that no Parsec server gives: of something that stands
// before it, or instead of it.
func stranger(server string, answer *http.Response) error {
	status := clean(answer.Status)
	switch answer.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fault.WithHint(fault.Errorf(fault.Unreachable, "%s answers %s", server, status),
			"the server behind this address is down; try again later")
	case http.StatusTooManyRequests:
		return fault.Errorf(fault.Busy, "%s answers %s", server, status)
	case http.StatusRequestEntityTooLarge:
		return fault.WithHint(fault.Errorf(fault.TooLarge, "%s answers %s", server, status),
			"a proxy before the server must let requests of 17 MiB pass")
	}
	if answer.StatusCode/100 == 3 {
		return settled{fault.WithHint(
			fault.Errorf(fault.Unreachable, "%s sends the request elsewhere, which is not followed: %s", server, status),
			"use the address of the Parsec server itself")}
	}
	kind := clean(answer.Header.Get("Content-Type"))
	if kind == "" {
		kind = "nothing"
	}
	return settled{fault.WithHint(
		fault.Errorf(fault.Unreachable, "%s is not a Parsec server: it answers %s with %s", server, status, kind),
		"check the address; a network with a login page may stand in between")}
}

// judge turns whatever an attempt ended with into an error of package fault.
// The caller's own cancellation comes first, then what the lower layers of
// this package already said, then what the server said.
func (w *wire) judge(ctx, attempt context.Context, err error) error {
	if _, ok := errors.AsType[settled](err); ok {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if late, ok := errors.AsType[*fault.Error](context.Cause(attempt)); ok {
		return late
	}
	if known, ok := errors.AsType[*fault.Error](err); ok {
		return known
	}
	if e, ok := errors.AsType[*connect.Error](err); ok && e.IsRemote() {
		return refused(e)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return cut(w.server, err)
	}
	return malformed("%s", clean(err.Error()))
}

// decode is proto.Unmarshal for answers: it refuses what would take far more
// memory decoded than encoded.
func decode(data []byte, m proto.Message) error {
	fields := maxFields
	if err := count(data, m.ProtoReflect().Descriptor(), &fields); err != nil {
		return err
	}
	return proto.Unmarshal(data, m)
}
