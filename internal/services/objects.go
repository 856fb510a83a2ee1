package services

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// S3 returns the URL of a bucket that is the test's own and not there yet.
// PARSEC_TEST_S3_URL names a server to use: s3://KEY:SECRET@HOST/?insecure=true
// and the like, with whose credentials buckets can be made. They stay.
func S3(t testing.TB) string {
	t.Helper()
	return place(t, "s3", "PARSEC_TEST_S3_URL")
}

// Swift returns the URL of a container that is the test's own and not there
// yet. PARSEC_TEST_SWIFT_URL names a service to use, like PARSEC_TEST_S3_URL.
func Swift(t testing.TB) string {
	t.Helper()
	return place(t, "swift", "PARSEC_TEST_SWIFT_URL")
}

func place(t testing.TB, name, variable string) string {
	t.Helper()
	server, err := environment(name, variable)
	if err != nil {
		t.Fatal(err)
	}
	return within(t, server)
}

// within returns the URL of a new place in an object store.
func within(t testing.TB, server string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/parsec-test-" + strings.ToLower(rand.Text())
	return u.String()
}

// ObjectStore is an S3 server or a Swift of a test's own, whose processes it
// may stop and whose files it may damage.
type ObjectStore struct {
	// Data is the folder of its objects.
	Data string

	url     string
	service *service
	t       testing.TB
}

// SwiftS3 returns the URL of a bucket of the same Swift by its S3 interface.
func SwiftS3(t testing.TB) string {
	t.Helper()
	u, err := url.Parse(Swift(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Scheme, u.RawQuery = "s3", "insecure=true"
	return u.String()
}

// StartS3 starts an S3 server, whatever the environment names.
func StartS3(t testing.TB) *ObjectStore {
	t.Helper()
	return startObjects(t, "s3", "PARSEC_TEST_S3_URL", "data")
}

// StartSwift starts a Swift, whatever the environment names.
func StartSwift(t testing.TB) *ObjectStore {
	t.Helper()
	return startObjects(t, "swift", "PARSEC_TEST_SWIFT_URL", "srv")
}

func startObjects(t testing.TB, name, variable, data string) *ObjectStore {
	t.Helper()
	s, err := start(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("stop %s: %v", name, err)
		}
	})
	return &ObjectStore{Data: filepath.Join(s.dir, data), url: s.env[variable], service: s, t: t}
}

// URL returns the URL of a bucket or container that is not there yet.
func (o *ObjectStore) URL() string { return within(o.t, o.url) }

// Signal sends a signal, as KILL or STOP, to one of the store's processes: the
// "object" server of a Swift and its like, "" for the process of an S3 server.
func (o *ObjectStore) Signal(process, signal string) {
	o.t.Helper()
	file := filepath.Join(o.service.dir, "pid")
	if process != "" {
		file = filepath.Join(o.service.dir, "run", process+".pid")
	}
	pid, err := os.ReadFile(file)
	if err != nil {
		o.t.Fatal(err)
	}
	if err := run("kill", "-"+signal, strings.TrimSpace(string(pid))); err != nil {
		o.t.Fatal(err)
	}
}

// Resume starts again, at the same port, a process that was killed.
func (o *ObjectStore) Resume(process string) {
	o.t.Helper()
	args := []string{"resume", o.service.dir}
	if process != "" {
		args = append(args, process)
	}
	if err := run(o.service.script, args...); err != nil {
		o.t.Fatal(err)
	}
}

// SetSwiftQuota sets how many bytes a container of [Swift] may hold, by the
// URL of either interface.
func SetSwiftQuota(t testing.TB, place string, bytes int64) {
	t.Helper()
	u, err := url.Parse(place)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := u.User.Password()
	login := request(t, "GET", "http://"+u.Host+"/auth/v1.0", http.Header{"X-Auth-User": {u.User.Username()}, "X-Auth-Key": {key}})
	request(t, "POST", login.Get("X-Storage-Url")+u.Path, http.Header{
		"X-Auth-Token":                 {login.Get("X-Auth-Token")},
		"X-Container-Meta-Quota-Bytes": {strconv.FormatInt(bytes, 10)},
	})
}

// request makes a request without a body, and returns the header of its answer.
func request(t testing.TB, method, url string, header http.Header) http.Header {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header = header
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		t.Fatalf("%s: %s", method, answer.Status)
	}
	return answer.Header
}
