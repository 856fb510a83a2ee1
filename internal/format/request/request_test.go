package request_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/golden"
	"parsec/internal/format/request"
)

func key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(golden.Fill(32, 1)) }

func public() ed25519.PublicKey { return key().Public().(ed25519.PublicKey) }

func now() time.Time { return time.Unix(1_700_000_000, 5) }

func what() request.What {
	return request.What{Method: "POST", Path: "/parsec.v1.WorkspaceService/Pull?x=1", Body: [32]byte(golden.Fill(32, 3))}
}

func header() string {
	return request.Sign(id.Fingerprint(golden.Fill(32, 4)), id.Device(golden.Fill(16, 5)), now(), what(), key())
}

func parse(t *testing.T, header string) request.Token {
	t.Helper()
	token, err := request.Parse(header)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTokensKeepTheirBytes(t *testing.T) {
	golden.Compare(t, []golden.Vector{{Name: "the header's value, as text", Bytes: []byte(header())}})
}

func TestATokenHoldsForOneRequestOneDeviceAndFiveMinutes(t *testing.T) {
	with := func(change func(*request.What)) request.What {
		w := what()
		change(&w)
		return w
	}
	other := ed25519.NewKeyFromSeed(golden.Fill(32, 2)).Public().(ed25519.PublicKey)
	relabelled := parse(t, header())
	relabelled.Device[0]++
	elsewhere := parse(t, header())
	elsewhere.Organization[0]++
	renamed := parse(t, header())
	renamed.Body[0]++
	for _, c := range []struct {
		name  string
		token request.Token
		what  request.What
		key   ed25519.PublicKey
		now   time.Time
		want  fault.Kind
	}{
		{"as signed", parse(t, header()), what(), public(), now(), fault.Failed},
		{"five minutes later", parse(t, header()), what(), public(), now().Add(request.Validity), fault.Failed},
		{"five minutes before", parse(t, header()), what(), public(), now().Add(-request.Validity), fault.Failed},
		{"later than five minutes", parse(t, header()), what(), public(), now().Add(request.Validity + 1), fault.Clock},
		{"earlier than five minutes", parse(t, header()), what(), public(), now().Add(-request.Validity - 1), fault.Clock},
		{"centuries later", parse(t, header()), what(), public(), now().AddDate(500, 0, 0), fault.Clock},
		{"with another method", parse(t, header()), with(func(w *request.What) { w.Method = "GET" }), public(), now(), fault.Unauthenticated},
		{"with another path", parse(t, header()), with(func(w *request.What) { w.Path = "/parsec.v1.WorkspaceService/Commit" }), public(), now(), fault.Unauthenticated},
		{"with another query", parse(t, header()), with(func(w *request.What) { w.Path += "0" }), public(), now(), fault.Unauthenticated},
		{"with a letter moved from the path to the method", parse(t, header()), with(func(w *request.What) { w.Method, w.Path = "POST/", w.Path[1:] }), public(), now(), fault.Unauthenticated},
		{"with another body", parse(t, header()), with(func(w *request.What) { w.Body[31]++ }), public(), now(), fault.Unauthenticated},
		{"with another body that the token names", renamed, with(func(w *request.What) { w.Body[0]++ }), public(), now(), fault.Unauthenticated},
		{"with the body that was signed and another one named", renamed, what(), public(), now(), fault.Unauthenticated},
		{"by another device's key", parse(t, header()), what(), other, now(), fault.Unauthenticated},
		{"in the name of another device", relabelled, what(), public(), now(), fault.Unauthenticated},
		{"in another organization", elsewhere, what(), public(), now(), fault.Unauthenticated},
	} {
		t.Run(c.name, func(t *testing.T) {
			if covers := c.token.Covers(c.what.Body) == nil; covers != (c.what.Body == c.token.Body) {
				t.Errorf("the token covers the body: %t", covers)
			}
			err := c.token.Check(c.what, c.key, c.now)
			if (err == nil) != (c.want == fault.Failed) || err != nil && !fault.Is(err, c.want) {
				t.Errorf("got %v, want kind %q", err, c.want)
			}
		})
	}
}

func TestATokenOfAnyTimeIsJudgedWithoutOverflow(t *testing.T) {
	for _, at := range []int64{-1 << 63, -1, 0, 1<<63 - 1} {
		token := request.Sign(id.Fingerprint{}, id.Device{}, time.Unix(0, at), what(), key())
		if err := parse(t, token).Check(what(), public(), now()); !fault.Is(err, fault.Clock) {
			t.Errorf("time %d: got %v, want an error of kind wrong clock", at, err)
		}
	}
}

func TestParsingRefuses(t *testing.T) {
	text := strings.TrimPrefix(header(), "Parsec ")
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(b []byte) string { return "Parsec " + base64.RawURLEncoding.EncodeToString(b) }
	short := canon.Marshal(request.Token{Signature: make([]byte, 63)})
	for _, c := range []struct{ name, header string }{
		{"nothing", ""},
		{"another scheme", "Bearer " + text},
		{"the scheme in other letters", "parsec " + text},
		{"nothing behind the scheme", "Parsec "},
		{"text that is not base64", "Parsec " + text + "*"},
		{"base64 with its padding", "Parsec " + text + "=="},
		{"base64 with a line end", "Parsec " + text[:10] + "\n" + text[10:]},
		{"base64 with free bits set", encode(data)[:len(encode(data))-1] + flip(text[len(text)-1])},
		{"a token with something behind it", encode(append(bytes.Clone(data), 0))},
		{"a token that is cut", encode(data[:len(data)-1])},
		{"a token with an unknown field", encode(append(append([]byte{0x86}, data[1:]...), 0))},
		{"a signature of another length", encode(short)},
		{"a token beyond the limit", "Parsec " + strings.Repeat("A", 513)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if token, err := request.Parse(c.header); !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("got %v, %v; want an error of kind not authenticated", token, err)
			}
		})
	}
}

// flip returns the letter of base64 that differs from c in its lowest bit.
func flip(c byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(letters[strings.IndexByte(letters, c)^1])
}

func FuzzParse(f *testing.F) {
	signed := header()
	f.Add(signed)
	f.Fuzz(func(t *testing.T, header string) {
		token, err := request.Parse(header)
		if err != nil {
			return
		}
		if again := "Parsec " + base64.RawURLEncoding.EncodeToString(canon.Marshal(token)); again != header {
			t.Errorf("%q parses, and encodes as %q", header, again)
		}
		if token.Check(what(), public(), now()) == nil && header != signed {
			t.Errorf("%q passes as signed", header)
		}
	})
}
