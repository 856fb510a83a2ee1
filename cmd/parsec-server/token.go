package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/durable"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/cmdline"
	"parsec/internal/server/admin"
)

// nextToken ends the name of the file that holds a token before it is valid.
// So whenever a rotation is broken off, the valid token stands in one file or
// in the other.
const nextToken = ".new"

// shortestToken is shorter than any token that was ever made.
const shortestToken = 32

// readToken returns the token in a file.
func readToken(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		kind := fault.Failed
		if errors.Is(err, fs.ErrNotExist) {
			kind = fault.NotFound
		}
		return "", fault.Errorf(kind, "read admin token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if len(token) < shortestToken {
		return "", fault.WithHint(fault.Errorf(fault.Failed, "read admin token: %s is damaged", path), "`parsec-server token reset` makes a new one")
	}
	return token, nil
}

// ensureToken makes the operator's token at the first start over a database,
// and leaves it in a file. Later it says where that is not the valid one.
func ensureToken(ctx context.Context, tokens admin.Tokens, path string, log *slog.Logger) error {
	token, err := readToken(path)
	made := false
	if fault.Is(err, fault.NotFound) {
		known, err := tokens.Known(ctx)
		if err != nil || known {
			if known {
				log.InfoContext(ctx, "this data folder has no admin token; that of the database stays valid", "file", path)
			}
			return err
		}
		token, made = admin.NewToken(), true
		if err := durable.CreateFile(path, []byte(token+"\n")); err != nil {
			return fault.Errorf(fault.Failed, "create admin token: %w", err)
		}
	} else if err != nil {
		return err
	}
	valid, err := tokens.Adopt(ctx, token)
	switch {
	case err != nil || valid:
		return err
	case made: // another server made one at the same moment
		return os.Remove(path)
	}
	log.WarnContext(ctx, "the admin token of this data folder is not the valid one; it was rotated elsewhere", "file", path)
	return nil
}

func tokenCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "token", Short: "Replace the administrator's token",
		Args: cobra.ArbitraryArgs, RunE: cmdline.Group,
	}
	c.AddCommand(tokenRotate(), tokenReset())
	return c
}

func tokenRotate() *cobra.Command {
	var a adminFlags
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the administrator's token, and refuse the old one",
		Long: `Makes a new token, has the running server accept it in place of the old one, and
writes it into the token's file. From then on all servers of the same database
refuse the old one. The server keeps a hash only.

Where this is broken off, run it again: the file, or the one beside it that ends in
` + nextToken + `, has the valid token, and both are tried.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.rotate(c) },
	}
	a.register(c)
	return c
}

// rotate replaces the token in the file.
func (a *adminFlags) rotate(c *cobra.Command) error {
	if err := a.finishRotation(c.Context()); err != nil {
		return err
	}
	api, err := a.connect()
	if err != nil {
		return err
	}
	path, token := a.tokenPath(), admin.NewToken()
	if err := durable.WriteFile(path+nextToken, []byte(token+"\n")); err != nil {
		return fault.Errorf(fault.Failed, "write admin token: %w", err)
	}
	hash := admin.Hash(token)
	m, err := ask(c.Context(), api.RotateToken, &parsecv1.RotateTokenRequest{Hash: hash[:]})
	if err != nil {
		return err
	}
	if err := publishToken(path); err != nil {
		return err
	}
	known, err := id.FromBytes[id.AdminToken](m.GetToken())
	if err != nil {
		return fault.Errorf(fault.Failed, "read the server's answer: %w", err)
	}
	shown := struct {
		ID   id.AdminToken `json:"id"`
		File string        `json:"file"`
	}{known, path}
	return printed(c, a.json, shown, [][]string{{"id", known.String()}, {"file", path}})
}

// finishRotation gives the token of a rotation that was broken off its name,
// if the server had accepted it.
func (a *adminFlags) finishRotation(ctx context.Context) error {
	if err := a.checkServer(); err != nil {
		return err
	}
	token, err := readToken(a.tokenPath() + nextToken)
	if err != nil { // there is none, or one that never was valid
		return nil
	}
	_, err = ask(ctx, a.connectWith(token).ListOrganizations, &parsecv1.ListOrganizationsRequest{})
	if fault.Is(err, fault.Unauthenticated) {
		return nil
	}
	if err != nil {
		return err
	}
	return publishToken(a.tokenPath())
}

// publishToken gives the new token the name of the old one.
func publishToken(path string) error {
	err := os.Rename(path+nextToken, path)
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fault.WithHint(fault.Errorf(fault.Failed, "write admin token: %w", err), "the valid token stands in %s", path+nextToken)
	}
	return nil
}

func tokenReset() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "reset",
		Short: "Make a new administrator's token without the old one, in the database itself",
		Long: `Makes a new token where the old one was lost. It writes to the database itself and
not through a server, and takes the database's URL as 'run' does. Servers that use the
same database refuse the old token from then on. The new one is written into the data
folder. An embedded database is one process's alone: stop the server first.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.load(c.Flags()); err != nil {
				return err
			}
			return o.resetToken(c)
		},
	}
	o.whereFlags(c.Flags())
	return c
}

func (o options) resetToken(c *cobra.Command) (err error) {
	db, err := parseDatabase(o.database, o.data)
	if err != nil {
		return err
	}
	if !db.shared {
		unlock, err := lockData(o.data)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unlock()) }()
	} else if err := os.MkdirAll(o.data, 0o700); err != nil {
		return fault.Errorf(fault.Failed, "create data folder: %w", err)
	}
	store, err := db.open(c.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	path, token := filepath.Join(o.data, tokenFile), admin.NewToken()
	if err := durable.WriteFile(path+nextToken, []byte(token+"\n")); err != nil {
		return fault.Errorf(fault.Failed, "write admin token: %w", err)
	}
	if err := admin.NewTokens(store, time.Now).Reset(c.Context(), token); err != nil {
		return err
	}
	if err := publishToken(path); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), "the new token is in "+path)
	return err
}
