// Package canon is the one encoding of everything that Parsec signs, seals or
// keeps: CBOR in its core deterministic form (RFC 8949, section 4.2.1), with
// structs as arrays of fixed length. Decoding accepts exactly the bytes that
// encoding would produce, so that a value has one form and a form one value.
package canon

import (
	"bytes"
	"errors"
	"reflect"

	"github.com/fxamacker/cbor/v2"

	"parsec/internal/base/fault"
)

// The bounds of what is decoded.
const (
	maxNesting  = 8
	maxElements = 1 << 20
)

// Codec encodes and decodes; it is safe for concurrent use.
type Codec struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

// codec is built once; its options are constants and known to be valid.
var codec = func() Codec {
	encoding := cbor.CoreDetEncOptions()
	encoding.NilContainers = cbor.NilContainerAsEmpty
	encoding.TagsMd = cbor.TagsForbidden
	enc, err := encoding.EncMode()
	if err != nil {
		panic(err)
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		MaxNestedLevels:   maxNesting,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxElements,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return Codec{enc, dec}
}()

// Marshal returns the one encoding of v. It panics on a type that has none,
// which is a mistake in the program and not in its input.
func Marshal(v any) []byte {
	b, err := codec.enc.Marshal(v)
	if err != nil {
		panic("canon: " + err.Error())
	}
	return b
}

// Unmarshal decodes data, all of it, into v, a pointer to a type without maps,
// pointers and interfaces. It fails with [fault.Invalid] on anything that
// [Marshal] would not have produced, and with [fault.Upgrade] on a struct with
// more fields than its type has. It takes memory in proportion to data.
func Unmarshal(data []byte, v any) error {
	rest, err := fit(data, reflect.TypeOf(v).Elem())
	if err != nil {
		return fault.Errorf(fault.KindOf(err), "decode: %w", err)
	}
	if len(rest) != 0 {
		return fault.Errorf(fault.Invalid, "decode: %d bytes too many", len(rest))
	}
	if err := codec.dec.Unmarshal(data, v); err != nil {
		return fault.Errorf(fault.Invalid, "decode: %w", err)
	}
	if again, err := codec.enc.Marshal(v); err != nil || !bytes.Equal(again, data) {
		return fault.Errorf(fault.Invalid, "decode: %w", errNotCanonical)
	}
	return nil
}

var errNotCanonical = errors.New("not the canonical encoding")
