package certificate_test

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/server/certificate"
)

// writePair writes a certificate with a serial number and its key.
func writePair(t *testing.T, chain, key string, serial int64) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.CreateCertificate(nil, &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"},
	}, new(x509.Certificate), public, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made}))
	write(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}

// write replaces a file, at a time of its own.
func write(t *testing.T, path string, content []byte) {
	t.Helper()
	last := time.Now().Add(-time.Hour)
	if info, err := os.Stat(path); err == nil {
		last = info.ModTime().Add(time.Second)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, last, last); err != nil {
		t.Fatal(err)
	}
}

func TestAPairIsReadAgainWhenItChanged(t *testing.T) {
	dir := t.TempDir()
	chain, key := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	writePair(t, chain, key, 1)
	now := time.Now()
	var log strings.Builder
	f, err := certificate.Open(chain, key, func() time.Time { return now }, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(when string, want int64) {
		t.Helper()
		pair, err := f.Config().GetCertificate(new(tls.ClientHelloInfo))
		if err != nil || pair.Leaf.SerialNumber.Int64() != want {
			t.Errorf("%s: got %v, %v, want the certificate %d", when, pair, err, want)
		}
	}
	expect("at first", 1)
	writePair(t, chain, key, 2)
	expect("before it is looked at", 1)
	now = now.Add(time.Minute)
	expect("then", 2)

	write(t, chain, []byte("half of a certificate"))
	now = now.Add(time.Minute)
	expect("while it is being written", 2)
	if !strings.Contains(log.String(), "stays the old one") {
		t.Error("the log does not say that it cannot be read")
	}
	if err := f.Reload(); !fault.Is(err, fault.Usage) {
		t.Errorf("on demand: got %v, want what is wrong", err)
	}
	expect("after that", 2)
	writePair(t, chain, key, 3)
	if err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	expect("on demand", 3)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	expect("without a key", 3)
}

func TestAPairThatIsNoneIsRefused(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	writePair(t, a, b, 1)
	writePair(t, filepath.Join(dir, "c"), b, 2)
	for name, chain := range map[string]string{"another's key": a, "no file": filepath.Join(dir, "nowhere")} {
		if _, err := certificate.Open(chain, b, time.Now, slog.New(slog.DiscardHandler)); !fault.Is(err, fault.Usage) {
			t.Errorf("%s: got %v, want a usage error", name, err)
		}
	}
}
