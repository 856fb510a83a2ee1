package canon

import (
	"math"
	"reflect"

	"parsec/internal/base/fault"
)

// The major types of CBOR, in the top three bits of an item's first byte.
const (
	majorUint   = 0
	majorInt    = 1
	majorBytes  = 2
	majorText   = 3
	majorArray  = 4
	majorSimple = 7
)

// The two simple values that are booleans.
const (
	simpleFalse = 20
	simpleTrue  = 21
)

// fit walks the item at the start of data along the type that it is to be
// decoded into, and returns what follows it. It allocates nothing, so that a
// short message of many tiny items can't claim the memory of as many large
// structs before it is refused. It fails with [fault.Upgrade] on a struct,
// at whichever depth, with more fields than its type has: the mark of a newer
// version's message.
func fit(data []byte, t reflect.Type) ([]byte, error) {
	major, arg, rest := head(data)
	var ok bool
	switch t.Kind() {
	case reflect.Bool:
		ok = major == majorSimple && (arg == simpleFalse || arg == simpleTrue)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		ok = major == majorUint && arg <= math.MaxUint64>>(64-t.Bits())
	case reflect.Int64:
		ok = (major == majorUint || major == majorInt) && arg <= math.MaxInt64
	case reflect.String:
		return fitBytes(major, majorText, arg, rest)
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 && arg == uint64(t.Len()) {
			return fitBytes(major, majorBytes, arg, rest)
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return fitBytes(major, majorBytes, arg, rest)
		}
		if major == majorArray && arg <= maxElements {
			return fitItems(rest, arg, func(int) reflect.Type { return t.Elem() })
		}
	case reflect.Struct:
		if major == majorArray {
			return fitStruct(rest, arg, t)
		}
	}
	if !ok {
		return nil, fault.Errorf(fault.Invalid, "an item that is not a %s", t)
	}
	return rest, nil
}

// fitStruct is [fit] for the n elements that are the fields of a struct. The
// first field of the struct is the mark that it is encoded as an array.
func fitStruct(data []byte, n uint64, t reflect.Type) ([]byte, error) {
	switch fields := uint64(t.NumField() - 1); {
	case n > fields:
		return nil, fault.Errorf(fault.Upgrade, "a field of %s that this version does not know", t)
	case n < fields:
		return nil, fault.Errorf(fault.Invalid, "%d fields where %s has %d", n, t, fields)
	}
	return fitItems(data, n, func(i int) reflect.Type { return t.Field(i + 1).Type })
}

func fitItems(data []byte, n uint64, of func(i int) reflect.Type) ([]byte, error) {
	for i := range int(n) {
		rest, err := fit(data, of(i))
		if err != nil {
			return nil, err
		}
		data = rest
	}
	return data, nil
}

func fitBytes(major, want byte, n uint64, rest []byte) ([]byte, error) {
	if major != want || n > uint64(len(rest)) {
		return nil, fault.Errorf(fault.Invalid, "a string that is cut, or not one")
	}
	return rest[n:], nil
}

// head splits the head of an item from what follows: its major type and
// argument. The major type of a head that is cut, or of a length that is not
// given, is one that no item has.
func head(data []byte) (major byte, arg uint64, rest []byte) {
	const none = 8
	if len(data) == 0 {
		return none, 0, nil
	}
	major, info, rest := data[0]>>5, data[0]&0x1f, data[1:]
	if info < 24 {
		return major, uint64(info), rest
	}
	size := 1 << (info - 24)
	if info > 27 || size > len(rest) {
		return none, 0, nil
	}
	for _, b := range rest[:size] {
		arg = arg<<8 | uint64(b)
	}
	return major, arg, rest[size:]
}
