package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"parsec/internal/base/secret"
)

func TestSecretsDoNotPrint(t *testing.T) {
	b := secret.Bytes("hunter2")
	k := secret.Key{'h', 'u', 'n', 't', 'e', 'r', '2'}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "b", b, "k", k)
	j, err := json.Marshal(map[string]any{"b": b, "k": k})
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(b, k) + fmt.Sprintf("%v %+v %#v %s %q", b, k, b, k, b) +
		fmt.Sprintf("%+v", struct{ K secret.Key }{k}) + string(j) + log.String()
	if strings.Contains(all, "hunter") || strings.Contains(all, "104") || strings.Contains(all, "68756e") {
		t.Errorf("a secret shows in %s", all)
	}
}

func TestSecretsCompare(t *testing.T) {
	if !secret.Bytes("a").Equal(secret.Bytes("a")) || secret.Bytes("a").Equal(secret.Bytes("b")) {
		t.Error("comparison of bytes is wrong")
	}
	if !(secret.Key{}).IsZero() || (secret.Key{1}).IsZero() {
		t.Error("comparison of keys is wrong")
	}
	b := secret.Bytes("abc")
	if b.Wipe(); !bytes.Equal(b, make([]byte, 3)) {
		t.Error("wiped bytes are still there")
	}
}
