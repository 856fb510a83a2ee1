package server_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parsec/internal/server"
	"parsec/internal/server/blob/faulty"
	"parsec/internal/server/blob/file"
	"parsec/internal/server/meta/sqlite"
	"parsec/internal/server/rpc"
)

// asked returns what a monitor is told.
func asked(h http.Handler) (status int, answer string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Code, w.Body.String()
}

func TestReadyIsAServerWhoseStoresAnswer(t *testing.T) {
	dir := t.TempDir()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "metadata.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	files, err := file.Open(t.Context(), file.Config{Path: filepath.Join(dir, "blocks")})
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	blobs := faulty.New(files)
	var log strings.Builder
	now := time.Now()
	s := server.New(store, blobs, slog.New(slog.NewTextHandler(&log, nil)), server.Config{
		Network: rpc.Config{Now: func() time.Time { return now }},
	})
	expect := func(when string, want int) {
		t.Helper()
		if status, answer := asked(s); status != want || (answer == "ok\n") != (want == http.StatusOK) || strings.Contains(answer, "disk") {
			t.Errorf("%s: got %d %q, want %d", when, status, answer, want)
		}
	}
	expect("with both stores", http.StatusOK)
	blobs.Fail(errors.New("the disk is gone"))
	for range 10 {
		expect("within a second", http.StatusOK)
	}
	if n := blobs.Calls(faulty.Size); n != 1 {
		t.Errorf("the store was asked %d times, want once", n)
	}
	now = now.Add(2 * time.Second)
	expect("without a store", http.StatusServiceUnavailable)
	if !strings.Contains(log.String(), "the disk is gone") {
		t.Error("the log does not say why")
	}
	blobs.Heal()
	now = now.Add(2 * time.Second)
	expect("with both stores again", http.StatusOK)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	expect("without a database", http.StatusServiceUnavailable)
}

func TestReadyIsNoServerThatStops(t *testing.T) {
	dir := t.TempDir()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "metadata.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	files, err := file.Open(t.Context(), file.Config{Path: filepath.Join(dir, "blocks")})
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	s := server.New(store, files, slog.New(slog.DiscardHandler), server.Config{})
	s.Drain()
	if status, answer := asked(s); status != http.StatusServiceUnavailable || answer != "not ready\n" {
		t.Errorf("got %d %q", status, answer)
	}
}
