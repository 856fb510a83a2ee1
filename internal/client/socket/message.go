package socket

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"parsec/internal/base/fault"
)

// lengthSize is the size of the length before each message.
const lengthSize = 4

// encode returns a message behind its length.
func encode(m proto.Message) ([]byte, error) {
	out, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, lengthSize), m)
	if err != nil {
		return nil, err
	}
	if len(out)-lengthSize > maxMessage {
		return nil, fault.Errorf(fault.TooLarge, "the command line is longer than %d bytes", maxMessage)
	}
	binary.BigEndian.PutUint32(out, uint32(len(out)-lengthSize))
	return out, nil
}

func send(w io.Writer, m proto.Message) error {
	data, err := encode(m)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// receive reads a message. Memory grows with what arrives, not with what a
// length claims.
func receive(r io.Reader, m proto.Message) error {
	var length [lengthSize]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxMessage {
		return fault.Errorf(fault.TooLarge, "a message of %d bytes is longer than %d", n, maxMessage)
	}
	var data bytes.Buffer
	if _, err := io.CopyN(&data, r, int64(n)); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	if err := proto.Unmarshal(data.Bytes(), m); err != nil {
		return fault.Errorf(fault.Invalid, "read message: %w", err)
	}
	return nil
}
