package services

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Postgres returns the URL of an empty PostgreSQL database that is the test's
// own, and goes with it. PARSEC_TEST_POSTGRES_URL names a server to use, with
// a user who may create databases.
func Postgres(t testing.TB) string {
	t.Helper()
	server, err := environment("postgres", "PARSEC_TEST_POSTGRES_URL")
	if err != nil {
		t.Fatal(err)
	}
	return newDatabase(t, server)
}

func newDatabase(t testing.TB, server string) string {
	t.Helper()
	name := "parsec_test_" + strings.ToLower(rand.Text())
	if err := execute(t.Context(), server, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := execute(context.Background(), server, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("remove the database: %v", err)
		}
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func execute(ctx context.Context, server, statement string) error {
	c, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, statement)
	return err
}

// Cluster is a PostgreSQL of a test's own, which it may stop.
type Cluster struct {
	// URL is that of its first database.
	URL     string
	service *service
	t       testing.TB
}

// StartPostgres starts one, whatever the environment names.
func StartPostgres(t testing.TB) *Cluster {
	t.Helper()
	s, err := start("postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("stop postgres: %v", err)
		}
	})
	return &Cluster{URL: s.env["PARSEC_TEST_POSTGRES_URL"], service: s, t: t}
}

// Crash stops the server as if it was killed.
func (c *Cluster) Crash() {
	c.t.Helper()
	if err := run(c.service.script, "stop", c.service.dir, "immediate"); err != nil {
		c.t.Fatal(err)
	}
}

// Resume starts it again, under the same URL.
func (c *Cluster) Resume() {
	c.t.Helper()
	if err := run(c.service.script, "resume", c.service.dir); err != nil {
		c.t.Fatal(err)
	}
}
