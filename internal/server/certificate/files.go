// Package certificate holds the certificates with which the server proves who
// it is: those of two files, read again when they change, or those of an
// authority that speaks ACME. It does not listen, and it does not check
// whether clients will like a certificate.
//
// What is there stays in use until something better was read whole: a pair of
// files that is half replaced, or broken, changes nothing.
package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"sync"
	"time"

	"parsec/internal/base/fault"
)

// lookAfter is how long the files count as unchanged, so that handshakes do
// not each ask the file system.
const lookAfter = 10 * time.Second

// Files is a certificate chain and its private key, in two files in PEM. It is
// safe for concurrent use.
type Files struct {
	chain, key string
	now        func() time.Time
	log        *slog.Logger

	mu sync.Mutex
	// pair is what is in use; guarded by mu.
	pair *tls.Certificate
	// seen is how the files were when they were last read; guarded by mu.
	seen [2]stamp
	// looked is when the files were last looked at; guarded by mu.
	looked time.Time
}

// stamp tells one content of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// Open reads the files.
func Open(chain, key string, now func() time.Time, log *slog.Logger) (*Files, error) {
	f := &Files{chain: chain, key: key, now: now, log: log, looked: now()}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = f.stamps()
	return f, f.read()
}

// Config returns what a server needs to speak TLS with them.
func (f *Files) Config() *tls.Config {
	return &tls.Config{GetCertificate: f.get, MinVersion: tls.VersionTLS13}
}

// Reload reads the files now. Where they are not a pair, what was in use stays
// in use.
func (f *Files) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen, f.looked = f.stamps(), f.now()
	return f.read()
}

// get returns the certificate for a handshake. Connections that are open keep
// what they began with.
func (f *Files) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); now.Sub(f.looked) >= lookAfter {
		f.looked = now
		f.refresh(hello.Context())
	}
	return f.pair, nil
}

// refresh reads the files if they changed. mu is held. What cannot be read is
// said once, and looked at again when it changes again.
func (f *Files) refresh(ctx context.Context) {
	now := f.stamps()
	if now == f.seen {
		return
	}
	f.seen = now
	if err := f.read(); err != nil {
		f.log.ErrorContext(ctx, "the TLS certificate stays the old one", "error", err)
		return
	}
	f.log.InfoContext(ctx, "TLS certificate read again", "file", f.chain, "expires", f.pair.Leaf.NotAfter)
}

func (f *Files) stamps() (s [2]stamp) {
	for i, path := range []string{f.chain, f.key} {
		if info, err := os.Stat(path); err == nil {
			s[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return s
}

// read reads the files. mu is held.
func (f *Files) read() error {
	pair, err := tls.LoadX509KeyPair(f.chain, f.key)
	if err != nil {
		return fault.Errorf(fault.Usage, "read TLS certificate %s with key %s: %w", f.chain, f.key, err)
	}
	f.pair = &pair
	return nil
}

// Chain returns the certificates in use, the server's own first.
func (f *Files) Chain() (chain []*x509.Certificate, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, der := range f.pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fault.Errorf(fault.Usage, "read TLS certificate %s: %w", f.chain, err)
		}
		chain = append(chain, c)
	}
	return chain, nil
}
