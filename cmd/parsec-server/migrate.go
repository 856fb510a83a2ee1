package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func migrateCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the tables of the metadata database up to date",
		Long: `Brings the tables of the metadata database to the schema that this version works
with, or sets up an empty database. It goes forward only: make a backup first, and
stop the servers that use the database.

'run' sets up a database that is empty by itself, and refuses one whose schema is
older than its own, or newer.`,
		Example: `  parsec-server migrate
  parsec-server migrate --database postgres://parsec@db.example.com/parsec`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if err := o.load(c.Flags()); err != nil {
				return err
			}
			db, err := parseDatabase(o.database, o.data)
			if err != nil {
				return err
			}
			unlock, err := lockData(o.data)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, unlock()) }()
			before, err := db.migrate(c.Context())
			if err != nil {
				return err
			}
			if before.Has == before.Knows {
				fmt.Fprintf(c.OutOrStdout(), "schema %d: nothing to do\n", before.Has)
			} else {
				fmt.Fprintf(c.OutOrStdout(), "schema %d -> %d\n", before.Has, before.Knows)
			}
			return nil
		},
	}
	o.whereFlags(c.Flags())
	return c
}
