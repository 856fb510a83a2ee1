package notify

import (
	"encoding/base64"
	"encoding/binary"

	"parsec/internal/base/id"
	"parsec/internal/server/events"
)

// A payload is base64 of the sender's origin and of hints, each of which is a
// kind, an organization, an id and an index. PostgreSQL allows 8,000 bytes.
const (
	hintSize = 1 + len(events.Topic{}.Organization) + id.Size + 8
	maxHints = 100
)

// encode returns the payloads that carry hints.
func encode(from origin, hints map[events.Topic]uint64) (payloads []string) {
	var raw []byte
	n := 0
	for t, index := range hints {
		if len(raw) == 0 {
			raw = append(raw, from[:]...)
		}
		raw = append(raw, byte(t.Kind))
		raw = append(raw, t.Organization[:]...)
		raw = append(raw, t.ID[:]...)
		raw = binary.BigEndian.AppendUint64(raw, index)
		if n++; n%maxHints == 0 || n == len(hints) {
			payloads = append(payloads, base64.StdEncoding.EncodeToString(raw))
			raw = raw[:0]
		}
	}
	return payloads
}

// decode reads a payload. What is no payload, or one of another version, has
// no hints.
func decode(payload string) (from origin, hints []events.Hint) {
	raw, err := base64.StdEncoding.DecodeString(payload)
	if err != nil || len(raw) < len(from) || (len(raw)-len(from))%hintSize != 0 {
		return from, nil
	}
	raw = raw[copy(from[:], raw):]
	for ; len(raw) > 0; raw = raw[hintSize:] {
		var h events.Hint
		h.Topic.Kind = events.Kind(raw[0])
		at := 1 + copy(h.Topic.Organization[:], raw[1:])
		at += copy(h.Topic.ID[:], raw[at:])
		h.Index = binary.BigEndian.Uint64(raw[at:])
		hints = append(hints, h)
	}
	return from, hints
}
