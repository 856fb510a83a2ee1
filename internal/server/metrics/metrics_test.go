package metrics_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/blobtest"
	"parsec/internal/server/blob/faulty"
	"parsec/internal/server/blob/file"
	"parsec/internal/server/meta"
	"parsec/internal/server/metrics"
)

func open(ctx context.Context, place string) (blob.Store, error) {
	s, err := file.Open(ctx, file.Config{Path: place})
	if err != nil {
		return nil, err
	}
	return metrics.New("test").Store("files", s), nil
}

func TestMain(m *testing.M) { blobtest.Main(m, open) }

func TestACountedStoreKeepsTheContract(t *testing.T) {
	blobtest.Run(t, blobtest.Adapter{
		New:  func(t *testing.T) string { return filepath.Join(t.TempDir(), "blocks") },
		Open: open,
	})
}

type load struct{}

func (load) Waiting() int64 { return 3 }
func (load) Streams() int   { return 7 }

func (load) Subscribers() int { return 5 }

// page returns what Prometheus is answered.
func page(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// used returns figures of a server of which each has counted something.
func used(t *testing.T) *metrics.Metrics {
	t.Helper()
	m := metrics.New("v1")
	m.Watch(load{})
	m.Repairs(func(context.Context) (map[string]int64, error) { return map[string]int64{"files": 4}, nil })
	m.WatchPool(func() meta.Pool {
		return meta.Pool{InUse: 4, Idle: 6, Most: 20, Waits: 11, Waited: 1500 * time.Millisecond}
	})
	m.Request("/parsec.v1.WorkspaceService/Commit", "ok", 20*time.Millisecond, 100, 10)
	m.Request("/parsec.v1.WorkspaceService/Commit", "stale", time.Second, 100, 1000)
	m.Job("blocks", "ok", time.Second)
	files, err := file.Open(t.Context(), file.Config{Path: filepath.Join(t.TempDir(), "blocks")})
	if err != nil {
		t.Fatal(err)
	}
	broken := faulty.New(files)
	s := m.Store("files", broken)
	defer s.Close()
	key := blob.Key{Scope: blob.Scope{Workspace: id.New[id.Workspace]()}, Pack: id.New[id.Pack]()}
	if err := s.Put(t.Context(), key, [][]byte{[]byte("content")}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), key, 0, 7)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err != nil || r.Close() != nil {
		t.Fatal(err)
	}
	broken.Fail(fault.Errorf(fault.Full, "no room"))
	if err := s.Put(t.Context(), key, nil); !fault.Is(err, fault.Full) {
		t.Fatal(err)
	}
	return m
}

func TestTheFiguresCountWhatHappened(t *testing.T) {
	got := page(t, used(t))
	for _, want := range []string{
		`parsec_requests_total{outcome="ok",path="/parsec.v1.WorkspaceService/Commit"} 1`,
		`parsec_requests_total{outcome="` + fault.Stale.String() + `",path="/parsec.v1.WorkspaceService/Commit"} 1`,
		`parsec_request_duration_seconds_bucket{path="/parsec.v1.WorkspaceService/Commit",le="0.025"} 1`,
		`parsec_received_bytes_total{path="/parsec.v1.WorkspaceService/Commit"} 200`,
		`parsec_sent_bytes_total{path="/parsec.v1.WorkspaceService/Commit"} 1010`,
		`parsec_store_operations_total{operation="put",outcome="ok",store="files"} 1`,
		`parsec_store_operations_total{operation="put",outcome="no room left",store="files"} 1`,
		`parsec_store_operations_total{operation="get",outcome="ok",store="files"} 1`,
		`parsec_store_duration_seconds_count{operation="get",store="files"} 1`,
		`parsec_store_repairs{store="files"} 4`,
		`parsec_jobs_total{job="blocks",outcome="ok"} 1`, `parsec_job_duration_seconds_sum{job="blocks"} 1`,
		"parsec_memory_waiters 3\n", "parsec_streams 7\n", "parsec_subscribers 5\n",
		"parsec_database_connections_in_use 4\n", "parsec_database_connections_idle 6\n", "parsec_database_connections_max 20\n",
		"parsec_database_waits_total 11\n", "parsec_database_wait_seconds_total 1.5\n",
		`version="v1"} 1`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestWithoutADatabaseTheOtherFiguresAreThere(t *testing.T) {
	m := metrics.New("v1")
	m.Repairs(func(context.Context) (map[string]int64, error) { return nil, fault.Errorf(fault.Unreachable, "away") })
	if got := page(t, m); strings.Contains(got, "parsec_store_repairs{") || !strings.Contains(got, "parsec_build_info") {
		t.Error(got)
	}
}

// TestWhatIsDrawnAndWatchedExists holds the dashboard and the alerts to the
// metrics that there are.
func TestWhatIsDrawnAndWatchedExists(t *testing.T) {
	there := page(t, used(t))
	deploy := filepath.Join("..", "..", "..", "deploy")
	dashboard, err := os.ReadFile(filepath.Join(deploy, "grafana", "parsec.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(dashboard) {
		t.Error("the dashboard is not JSON")
	}
	alerts, err := os.ReadFile(filepath.Join(deploy, "prometheus", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"dashboard": string(dashboard), "alerts": string(alerts)} {
		names := regexp.MustCompile(`\b(?:parsec|process|go)_[a-z0-9_]+`).FindAllString(text, -1)
		if len(names) < 4 {
			t.Errorf("%s: only %d metrics are named", file, len(names))
		}
		for _, name := range names {
			if !regexp.MustCompile(`(?m)^` + name + `[{ ]`).MatchString(there) {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
	}
}
