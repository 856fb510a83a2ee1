package main

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/services"
)

// withoutUser returns a URL without its credentials, and these.
func withoutUser(t *testing.T, text string) (rest, user, key string) {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	user = u.User.Username()
	key, _ = u.User.Password()
	u.User = nil
	return u.String(), user, key
}

func TestEveryKindOfStoreIsOpenedByItsURL(t *testing.T) {
	onS3, s3User, s3Key := withoutUser(t, services.S3(t))
	onSwift, swiftUser, swiftKey := withoutUser(t, services.Swift(t))
	for name, test := range map[string]struct {
		url string
		env map[string]string
	}{
		"a folder":                               {url: "file:" + filepath.Join(t.TempDir(), "blocks")},
		"a bucket":                               {url: services.S3(t)},
		"a container":                            {url: services.Swift(t)},
		"a bucket, credentials elsewhere":        {onS3, map[string]string{"AWS_ACCESS_KEY_ID": s3User, "AWS_SECRET_ACCESS_KEY": s3Key}},
		"a container, credentials elsewhere":     {onSwift, map[string]string{"OS_USERNAME": swiftUser, "OS_PASSWORD": swiftKey}},
		"a bucket, other credentials elsewhere":  {services.S3(t), map[string]string{"AWS_ACCESS_KEY_ID": "another", "AWS_SECRET_ACCESS_KEY": "another"}},
		"a container, others in the environment": {services.Swift(t), map[string]string{"OS_USERNAME": "another", "OS_PASSWORD": "another"}},
	} {
		t.Run(name, func(t *testing.T) {
			for variable, value := range test.env {
				t.Setenv(variable, value)
			}
			s, err := openStore(t.Context(), test.url)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			key := blob.Key{Scope: blob.Scope{Workspace: id.New[id.Workspace]()}, Pack: id.New[id.Pack]()}
			if err := s.Put(t.Context(), key, [][]byte{[]byte("content")}); err != nil {
				t.Fatal(err)
			}
			if size, err := s.Size(t.Context(), key); size != 7 || err != nil {
				t.Errorf("got %d, %v, want 7 bytes", size, err)
			}
		})
	}
}

func TestWhatWasAcknowledgedSurvivesAKillInEveryKindOfStore(t *testing.T) {
	for name, store := range map[string]string{"a bucket": services.S3(t), "a container": services.Swift(t)} {
		t.Run(name, func(t *testing.T) {
			s := &studio{t: t, dir: t.TempDir(), args: []string{"--store", store}}
			s.start()
			s.found(4)
			s.write(20)
			s.start()
			s.check()
			if _, err := s.server.end(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(s.dir, defaultData, "blocks")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there are blocks in the data folder too: %v", err)
			}
		})
	}
}

func TestAServerStartsWithoutItsObjectStoreAndSaysSo(t *testing.T) {
	for store, says := range map[string]bool{
		"s3://key:whisper@127.0.0.1:1/bucket?insecure=true":                true,
		"swift://user:whisper@127.0.0.1:1/container?auth=v1&insecure=true": true,
		services.S3(t): false,
	} {
		p, err := start(t.TempDir(), nil, "--listen", "127.0.0.1:0", "--store", store)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		log := p.log.String()
		if strings.Contains(log, "object store does not answer") != says || strings.Contains(log, "whisper") {
			t.Errorf("its log:\n%s", log)
		}
	}
}
