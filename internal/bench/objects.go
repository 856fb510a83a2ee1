//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// objects is an S3 server over a folder of a stage.
type objects struct {
	dir string
	url *url.URL
}

// script starts and stops S3 servers, from the top of the source tree.
const script = "tools/services/s3.sh"

// startObjects starts an S3 server for a stage.
func (b *bench) startObjects(ctx context.Context, dir string) (*objects, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"install"}, {"start", dir}} {
		if out, err := exec.CommandContext(ctx, script, args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("start S3 server: %w\n%s", err, out)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		return nil, err
	}
	address := regexp.MustCompile(`s3://[^']+`).Find(text)
	u, err := url.Parse(string(address))
	if err != nil {
		return nil, err
	}
	o := &objects{dir, u}
	b.running = append(b.running, o)
	return o, nil
}

// stop stops the server, if it was not before.
func (o *objects) stop() error {
	if o == nil || o.url == nil {
		return nil
	}
	o.url = nil
	if err := exec.Command(script, "stop", o.dir).Run(); err != nil {
		return fmt.Errorf("stop S3 server: %w", err)
	}
	return nil
}

// bucket returns the URL of a bucket, as a server of ours takes it.
func (o *objects) bucket() string { return o.url.JoinPath("bench").String() }

// variables are what other programs take from the environment to use the bucket.
func (o *objects) variables() []string {
	if o == nil {
		return nil
	}
	secret, _ := o.url.User.Password()
	return []string{
		"AWS_CA_BUNDLE=", "AWS_ACCESS_KEY_ID=" + o.url.User.Username(), "AWS_SECRET_ACCESS_KEY=" + secret,
		"RCLONE_CONFIG_OBJECTS_TYPE=s3", "RCLONE_CONFIG_OBJECTS_PROVIDER=Other", "RCLONE_CONFIG_OBJECTS_ENDPOINT=http://" + o.url.Host,
		"RCLONE_CONFIG_OBJECTS_ACCESS_KEY_ID=" + o.url.User.Username(), "RCLONE_CONFIG_OBJECTS_SECRET_ACCESS_KEY=" + secret,
	}
}

// places returns where restic and rclone store at a stage.
func (s *stage) places() (restic, rclone string) {
	if s.objects == nil {
		return s.path("store"), s.path("store")
	}
	return "s3:http://" + s.objects.url.Host + "/bench", "objects:bench"
}

// end removes what a stage has written, or leaves it for later: few files only,
// for after many are gone, new ones take long.
func (s *stage) end(few bool) error {
	err := s.objects.stop()
	if few {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}
