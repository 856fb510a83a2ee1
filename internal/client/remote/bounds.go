package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/id"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
)

// What an answer may be. The API promises messages of about 1 MiB in streams;
// the largest single answer is the refusal of a commit, with records and
// chains, in JSON.
const (
	maxMessage = 4 << 20
	maxAnswer  = 16 << 20
	// maxFields bounds the fields of one message. A message of the largest
	// size with the smallest honest manifests has a tenth as many.
	maxFields = 1 << 17
	// maxJSON bounds the values of one refusal in JSON; bytes in it are text.
	maxJSON    = 1 << 17
	maxOpening = 1 << 10
	maxGrant   = 4 << 10
	maxTurn    = 64 << 10
)

var errFields = errors.New("more fields than any message has")

// careful is the binary codec with the bounds of decode.
type careful struct{ *connectproto.BinaryCodec }

// UnmarshalRead decodes a message whose size the transport has bounded.
func (careful) UnmarshalRead(_ context.Context, src io.Reader, message any) error {
	data, err := io.ReadAll(src)
	if err != nil {
		return err
	}
	m, ok := message.(proto.Message)
	if !ok {
		return fmt.Errorf("decode %T: not a message", message)
	}
	return decode(data, m)
}

// count takes the fields of an encoded message, and of the messages in it,
// from left, and fails when none is left.
func count(data []byte, d protoreflect.MessageDescriptor, left *int) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if *left--; *left < 0 {
			return errFields
		}
		n = protowire.ConsumeFieldValue(number, kind, data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		f := d.Fields().ByNumber(number)
		if kind == protowire.BytesType && f != nil && f.Kind() == protoreflect.MessageKind {
			value, _ := protowire.ConsumeBytes(data)
			if err := count(value, f.Message(), left); err != nil {
				return err
			}
		}
		data = data[n:]
	}
	return nil
}

// crowded reads a refusal in JSON whole, and fails if it has more values than
// any honest one: decoded, each takes far more memory than its comma.
func crowded(answer *http.Response) error {
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if bytes.Count(data, []byte{','}) > maxJSON {
		return malformed("a refusal with too many values")
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{bytes.NewReader(data), answer.Body}
	return nil
}

// The following check the shape of what came. None of it is verified by that.

func position(p *parsecv1.Position) (record.Position, error) {
	if len(p.GetHead()) != len(record.Head{}) {
		return record.Position{}, malformed("a head of %d bytes", len(p.GetHead()))
	}
	return record.Position{Index: p.GetIndex(), Head: record.Head(p.GetHead())}, nil
}

// sized fails unless each of the values has between 1 and limit bytes.
func sized(what string, values [][]byte, limit int) error {
	for _, v := range values {
		if len(v) == 0 || len(v) > limit {
			return malformed("a %s of %d bytes", what, len(v))
		}
	}
	return nil
}

// identifier returns the identifier with these bytes, which is not zero.
func identifier[T id.ID[K], K any](b []byte) (T, error) {
	v, err := id.FromBytes[T, K](b)
	if err != nil || id.ID[K](v).IsZero() {
		return v, malformed("an identifier of %d bytes, or none", len(b))
	}
	return v, nil
}

// identifiers returns the identifiers with these bytes, which must be distinct.
func identifiers[T id.ID[K], K any](list [][]byte) ([]T, error) {
	out := make([]T, 0, len(list))
	seen := make(map[T]bool, len(list))
	for _, b := range list {
		v, err := identifier[T, K](b)
		if err != nil {
			return nil, err
		}
		if seen[v] {
			return nil, malformed("an identifier twice")
		}
		seen[v] = true
		out = append(out, v)
	}
	return out, nil
}

func chains(list []*parsecv1.Chain) ([]Chain, error) {
	out := make([]Chain, 0, len(list))
	for _, m := range list {
		c, err := chain(m)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// chain checks that the versions of a chain follow each other.
func chain(m *parsecv1.Chain) (Chain, error) {
	entry, err := identifier[id.Entry](m.GetEntry())
	if err != nil {
		return Chain{}, err
	}
	list := m.GetManifests()
	if len(list) == 0 || len(list) > manifest.MaxDeltas+1 {
		return Chain{}, malformed("a chain of %d manifests", len(list))
	}
	c := Chain{Entry: entry, Manifests: make([]SealedManifest, 0, len(list))}
	for i, v := range list {
		if v.GetVersion() == 0 || v.GetVersion() != list[0].GetVersion()+uint64(i) {
			return Chain{}, malformed("a chain with version %d where another follows", v.GetVersion())
		}
		if n := len(v.GetSealed()); n == 0 || n > manifest.MaxSealed {
			return Chain{}, malformed("a manifest of %d bytes", n)
		}
		c.Manifests = append(c.Manifests, SealedManifest{Version: v.GetVersion(), Sealed: v.GetSealed()})
	}
	return c, nil
}
