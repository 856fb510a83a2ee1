//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
	"parsec/internal/format/request"
	"parsec/internal/server/servertest"
	"parsec/internal/verify/verifytest"
)

// kit is what the makers of records, which tests use too, report to. They fail
// only where this program is wrong.
type kit struct{ testing.TB }

// Helper is for verifytest.
func (kit) Helper() {}

// Fatal is for servertest.
func (kit) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Fatalf is for verifytest.
func (kit) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// company is an organization at a server, with all its people's secrets.
type company struct {
	*verifytest.Kit
	server *server
	http   *http.Client
}

// found makes an organization. The server is the first on its database, which
// has the operator's token.
func found(ctx context.Context, s *server, name string) (*company, error) {
	token, err := os.ReadFile(filepath.Join(s.data, "admin-token"))
	if err != nil {
		return nil, err
	}
	operator := servertest.DialAdmin(s.url, strings.TrimSpace(string(token)))
	defer operator.Close()
	created, err := operator.Admin.CreateOrganization(ctx, &parsecv1.CreateOrganizationRequest{Name: name})
	if err != nil {
		return nil, err
	}
	link, err := invitation.ParseLink(created.GetBootstrapUrl())
	if err != nil {
		return nil, err
	}
	c := &company{
		Kit: verifytest.NewWith(kit{}, verifytest.Config{Name: name}), server: s,
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200, DisableCompression: true}},
	}
	return c, c.send(ctx, c.Admin, parsecv1connect.OrganizationServiceBootstrapProcedure, &parsecv1.BootstrapRequest{
		Token: link.Token.Bytes(), Record: c.Records[0], Opening: canon.Marshal(c.Admin.Opening),
	})
}

// send sends an RPC with one answer.
func (c *company) send(ctx context.Context, by *verifytest.Device, procedure string, m proto.Message) error {
	body, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return c.post(ctx, by, procedure, body)
}

// post sends an RPC whose message is encoded already.
func (c *company) post(ctx context.Context, by *verifytest.Device, procedure string, body []byte) error {
	_, err := c.exchange(ctx, by, procedure, "application/proto", body, sha256.Sum256(body))
	return err
}

// exchange sends a request that a device signs, and returns the length of its
// answer, which is read and dropped.
func (c *company) exchange(ctx context.Context, by *verifytest.Device, path, kind string, body []byte, digest [32]byte) (n int64, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, c.server.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	q.Header.Set("Content-Type", kind)
	q.Header.Set(request.Header, c.signed(by, path, digest))
	answer, err := c.http.Do(q)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000)) // what can be told of the failure
		return 0, fmt.Errorf("%s: %s: %s", path, answer.Status, text)
	}
	return io.Copy(io.Discard, answer.Body)
}

func (c *company) signed(by *verifytest.Device, path string, digest [32]byte) string {
	return request.Sign(c.Fingerprint(), by.ID, time.Now(), request.What{Method: http.MethodPost, Path: path, Body: digest}, by.Signing)
}

// addUser adds a user, on the server too.
func (c *company) addUser(ctx context.Context) (*verifytest.Device, error) {
	d := c.AddUser(record.ProfileStandard)
	return d, c.send(ctx, c.Admin, parsecv1connect.OrganizationServiceAppendProcedure, servertest.AddRequest(c.Kit, &d.Opening))
}

// addDevice adds another device of a user, on the server too.
func (c *company) addDevice(ctx context.Context, by *verifytest.Device) (*verifytest.Device, error) {
	d := c.AddDevice(by)
	return d, c.send(ctx, by, parsecv1connect.OrganizationServiceAppendProcedure, servertest.AddRequest(c.Kit, nil))
}

// createWorkspace makes a workspace, on the server too.
func (c *company) createWorkspace(ctx context.Context, by *verifytest.Device) (*verifytest.Workspace, error) {
	w := c.CreateWorkspace(by)
	return w, c.appendNewest(ctx, by, w)
}

// share makes a user a reader, on the server too.
func (c *company) share(ctx context.Context, by *verifytest.Device, w *verifytest.Workspace, with *verifytest.Device) error {
	w.Share(by, with, record.RoleReader)
	return c.appendNewest(ctx, by, w)
}

func (c *company) appendNewest(ctx context.Context, by *verifytest.Device, w *verifytest.Workspace) error {
	return c.send(ctx, by, parsecv1connect.WorkspaceServiceAppendProcedure, servertest.AppendRequest(kit{}, c.Kit, w, w.Records[len(w.Records)-1]))
}

// commit returns the next commit of a workspace as it is sent, of so many new
// entries, which introduces blocks.
func (c *company) commit(by *verifytest.Device, w *verifytest.Workspace, changes int, introduced ...id.Block) ([]byte, error) {
	all := make([]record.Change, changes)
	for i := range all {
		all[i] = w.New()
	}
	w.Commit(by, all...)
	return proto.Marshal(servertest.CommitRequest(kit{}, c.Kit, w, w.Records[len(w.Records)-1], introduced...))
}
