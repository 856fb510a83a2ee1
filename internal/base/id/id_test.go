package id_test

import (
	"encoding/json"
	"testing"

	"parsec/internal/base/id"
)

func TestAnIdentifierSurvivesItsTextForm(t *testing.T) {
	want := id.New[id.User]()
	got, err := id.Parse[id.User](want.String())
	if err != nil || got != want {
		t.Fatalf("Parse(%s) = %s, %v", want, got, err)
	}
	b, err := json.Marshal(want)
	if err != nil || string(b) != `"`+want.String()+`"` {
		t.Fatalf("JSON form is %s, %v", b, err)
	}
}

func TestOnlyTheCanonicalTextFormIsAccepted(t *testing.T) {
	for _, text := range []string{
		"",
		"00000000-0000-0000-0000-00000000000",
		"00000000-0000-0000-0000-0000000000000",
		"0000000000000000-0000-0000-000000000",
		"0000000A-0000-0000-0000-000000000000",
		"0000000g-0000-0000-0000-000000000000",
	} {
		if v, err := id.Parse[id.Entry](text); err == nil {
			t.Errorf("Parse(%q) = %s, want an error", text, v)
		}
	}
}

func TestAFingerprintSurvivesItsTextForm(t *testing.T) {
	want := id.Fingerprint{1, 2, 0xff}
	var got id.Fingerprint
	if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
		t.Fatalf("got %s, %v", got, err)
	}
	if err := got.UnmarshalText([]byte("FF")); err == nil {
		t.Error("a short upper-case fingerprint was accepted")
	}
}
