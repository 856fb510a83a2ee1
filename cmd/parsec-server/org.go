package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/cmdline"
)

func orgCommand() *cobra.Command {
	var a adminFlags
	c := &cobra.Command{
		Use: "org", Short: "Administer the organizations of a running server",
		Args: cobra.ArbitraryArgs, RunE: cmdline.Group,
	}
	a.register(c)
	c.AddCommand(orgCreate(&a), orgList(&a), orgStats(&a), orgSet(&a), orgDelete(&a))
	return c
}

func orgCreate(a *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "create NAME",
		Short: "Make room for an organization, and print the link that creates it",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			m, err := ask(c.Context(), api.CreateOrganization, &parsecv1.CreateOrganizationRequest{Name: args[0]})
			if err != nil {
				return err
			}
			if a.json {
				return cmdline.WriteJSON(c.OutOrStdout(), struct {
					BootstrapURL string `json:"bootstrap_url"`
				}{m.GetBootstrapUrl()})
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), m.GetBootstrapUrl())
			return err
		},
	}
}

// organization is an organization as JSON and tables show it.
type organization struct {
	Name        string  `json:"name"`
	Fingerprint *string `json:"fingerprint"`
	CreatedAt   *string `json:"created_at"`
	Expired     bool    `json:"expired"`
	// A limit is null where there is none.
	ActiveUsersLimit *uint64 `json:"active_users_limit"`
	StorageLimit     *uint64 `json:"storage_limit"`
	Outsiders        bool    `json:"outsiders"`
	// DeletingSince is null for one that stays.
	DeletingSince *string `json:"deleting_since"`
	// Problem is what last kept it from being deleted.
	Problem string `json:"problem"`
}

func shown(o *parsecv1.Organization) organization {
	s := organization{
		Name: o.GetName(), CreatedAt: moment(o.GetCreated()), Expired: o.GetExpired(),
		ActiveUsersLimit: positive(o.GetActiveUsersLimit()), StorageLimit: positive(o.GetStorageLimit()), Outsiders: o.GetOutsiders(),
		DeletingSince: moment(o.GetDeleting()), Problem: o.GetProblem(),
	}
	if f := o.GetFingerprint(); len(f) > 0 {
		text := fmt.Sprintf("%x", f)
		s.Fingerprint = &text
	}
	return s
}

func positive(n uint64) *uint64 {
	if n == 0 {
		return nil
	}
	return &n
}

// state says in a word how far an organization is.
func (o organization) state() string {
	switch {
	case o.DeletingSince != nil:
		return "deleting"
	case o.Expired:
		return "expired"
	case o.Fingerprint == nil:
		return "not bootstrapped"
	}
	return "active"
}

func limitText(n *uint64, show func(uint64) string) string {
	if n == nil {
		return "none"
	}
	return show(*n)
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

func orgList(a *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the organizations",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			m, err := ask(c.Context(), api.ListOrganizations, &parsecv1.ListOrganizationsRequest{})
			if err != nil {
				return err
			}
			all := make([]organization, len(m.GetOrganizations()))
			rows := [][]string{{"NAME", "STATE", "CREATED", "USERS LIMIT", "STORAGE LIMIT", "OUTSIDERS"}}
			for i, o := range m.GetOrganizations() {
				s := shown(o)
				all[i] = s
				rows = append(rows, []string{
					s.Name, s.state(), text(s.CreatedAt), limitText(s.ActiveUsersLimit, decimal),
					limitText(s.StorageLimit, cmdline.Size), strconv.FormatBool(s.Outsiders),
				})
			}
			if err := printed(c, a.json, all, rows); err != nil || a.json {
				return err
			}
			for _, s := range all {
				if s.Problem != "" {
					fmt.Fprintf(c.OutOrStdout(), "%s: not gone yet: %s\n", s.Name, s.Problem)
				}
			}
			return nil
		},
	}
}

// stats are what an organization has stored.
type stats struct {
	organization
	ActiveUsers   uint64 `json:"active_users"`
	Users         uint64 `json:"users"`
	Workspaces    uint64 `json:"workspaces"`
	Records       uint64 `json:"records"`
	Manifests     uint64 `json:"manifests"`
	ManifestBytes uint64 `json:"manifest_bytes"`
	Blocks        uint64 `json:"blocks"`
	BlockBytes    uint64 `json:"block_bytes"`
	Packs         uint64 `json:"packs"`
}

func orgStats(a *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "stats NAME",
		Short: "Count what an organization has stored",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			m, err := ask(c.Context(), api.OrganizationStats, &parsecv1.OrganizationStatsRequest{Name: args[0]})
			if err != nil {
				return err
			}
			s := stats{
				shown(m.GetOrganization()), m.GetActiveUsers(), m.GetUsers(), m.GetWorkspaces(), m.GetRecords(),
				m.GetManifests(), m.GetManifestBytes(), m.GetBlocks(), m.GetBlockBytes(), m.GetPacks(),
			}
			return printed(c, a.json, s, append(s.organization.rows(), [][]string{
				{"active users", decimal(s.ActiveUsers)},
				{"users", decimal(s.Users)},
				{"workspaces", decimal(s.Workspaces)},
				{"records", decimal(s.Records)},
				{"manifests", decimal(s.Manifests) + " (" + cmdline.Size(s.ManifestBytes) + ")"},
				{"blocks", decimal(s.Blocks) + " (" + cmdline.Size(s.BlockBytes) + ")"},
				{"packs", decimal(s.Packs)},
			}...))
		},
	}
}

func (o organization) rows() [][]string {
	return [][]string{
		{"name", o.Name},
		{"state", o.state()},
		{"fingerprint", text(o.Fingerprint)},
		{"created", text(o.CreatedAt)},
		{"active users limit", limitText(o.ActiveUsersLimit, decimal)},
		{"storage limit", limitText(o.StorageLimit, cmdline.Size)},
		{"outsiders", strconv.FormatBool(o.Outsiders)},
	}
}

func orgSet(a *adminFlags) *cobra.Command {
	var users uint64
	var storage cmdline.ByteSize
	var outsiders, expire, unexpire bool
	c := &cobra.Command{
		Use:   "set NAME",
		Short: "Change what an organization may do",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			q := &parsecv1.SetOrganizationRequest{Name: args[0]}
			changed := c.Flags().Changed
			if changed("active-users-limit") {
				q.ActiveUsersLimit = &users
			}
			if changed("storage-limit") {
				q.StorageLimit = (*uint64)(&storage)
			}
			if changed("outsiders") {
				q.Outsiders = &outsiders
			}
			if expire || unexpire {
				q.Expired = &expire
			}
			switch {
			case expire && unexpire:
				return fault.Errorf(fault.Usage, "--expire and --unexpire exclude each other")
			case q.ActiveUsersLimit == nil && q.StorageLimit == nil && q.Outsiders == nil && q.Expired == nil:
				return fault.WithHint(fault.Errorf(fault.Usage, "set organization: nothing to change"), "`%s --help` lists what can be changed", c.CommandPath())
			}
			api, err := a.connect()
			if err != nil {
				return err
			}
			m, err := ask(c.Context(), api.SetOrganization, q)
			if err != nil {
				return err
			}
			o := shown(m.GetOrganization())
			return printed(c, a.json, o, o.rows())
		},
	}
	f := c.Flags()
	f.Uint64Var(&users, "active-users-limit", 0, "how many users may be active; 0 lifts the limit")
	f.Var(&storage, "storage-limit", "how much may be stored, as 10GiB; 0 lifts the limit")
	f.BoolVar(&outsiders, "outsiders", true, "whether users may have the outsider profile")
	f.BoolVar(&expire, "expire", false, "suspend the organization: its devices are refused")
	f.BoolVar(&unexpire, "unexpire", false, "take the organization back into use")
	return c
}
