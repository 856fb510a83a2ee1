package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/fault"
	"parsec/internal/cmdline"
)

func storeCommand() *cobra.Command {
	var a adminFlags
	c := &cobra.Command{
		Use: "store", Short: "Administer the object stores of a server that has several",
		Args: cobra.ArbitraryArgs, RunE: cmdline.Group,
	}
	a.register(c)
	c.AddCommand(storeList(&a), storeScrub(&a), storeAdd(&a), storeReplace(&a), storeDrain(&a))
	return c
}

// objectStore is an object store as JSON shows it.
type objectStore struct {
	Name        string `json:"name"`
	State       string `json:"state"`
	Problem     string `json:"problem"`
	Repairs     int64  `json:"repairs"`
	Parts       int64  `json:"parts"`
	Bytes       int64  `json:"bytes"`
	Lost        int64  `json:"lost"`
	Rotten      int64  `json:"rotten"`
	Unreachable int64  `json:"unreachable"`
	Repaired    int64  `json:"repaired"`
}

// storeJob is work on the stores as JSON shows it.
type storeJob struct {
	Kind       string  `json:"kind"`
	Store      string  `json:"store"`
	Into       string  `json:"into"`
	Repair     bool    `json:"repair"`
	Rate       int64   `json:"rate"`
	StartedAt  *string `json:"started_at"`
	FinishedAt *string `json:"finished_at"`
	Packs      int64   `json:"packs"`
	Bytes      int64   `json:"bytes"`
	Failed     int64   `json:"failed"`
	Problem    string  `json:"problem"`
}

// storesNow is what `store list` prints as JSON.
type storesNow struct {
	Stores []objectStore `json:"stores"`
	Jobs   []storeJob    `json:"jobs"`
}

func storeList(a *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the object stores, and the work on them",
		Long: `Lists the object stores: how each one is, how many repairs wait for it, and what
the last scrub found in it. Behind them stands the work that goes on or that
ended last.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			m, err := ask(c.Context(), api.ListStores, &parsecv1.ListStoresRequest{})
			if err != nil {
				return err
			}
			return printStores(c, a.json, m)
		},
	}
}

// printStores prints what is known of the stores.
func printStores(c *cobra.Command, asJSON bool, m *parsecv1.ListStoresResponse) error {
	now := storesNow{Stores: []objectStore{}, Jobs: []storeJob{}}
	rows := [][]string{{"STORE", "STATE", "REPAIRS", "PARTS", "BYTES", "LOST", "ROTTEN", "UNREACHABLE", "REPAIRED"}}
	for _, s := range m.GetStores() {
		now.Stores = append(now.Stores, objectStore{
			Name: s.GetName(), State: s.GetState(), Problem: s.GetProblem(), Repairs: s.GetRepairs(), Parts: s.GetParts(), Bytes: s.GetBytes(),
			Lost: s.GetLost(), Rotten: s.GetRotten(), Unreachable: s.GetUnreachable(), Repaired: s.GetRepaired(),
		})
		row := []string{s.GetName(), s.GetState()}
		for _, n := range []int64{s.GetRepairs(), s.GetParts(), s.GetBytes(), s.GetLost(), s.GetRotten(), s.GetUnreachable(), s.GetRepaired()} {
			row = append(row, fmt.Sprint(n))
		}
		rows = append(rows, row)
	}
	for _, j := range m.GetJobs() {
		now.Jobs = append(now.Jobs, storeJob{
			Kind: j.GetKind(), Store: j.GetStore(), Into: j.GetInto(), Repair: j.GetRepair(), Rate: j.GetRate(),
			StartedAt: moment(j.GetStarted()), FinishedAt: moment(j.GetFinished()),
			Packs: j.GetPacks(), Bytes: j.GetBytes(), Failed: j.GetFailed(), Problem: j.GetProblem(),
		})
	}
	if err := printed(c, asJSON, now, rows); err != nil || asJSON {
		return err
	}
	for _, s := range m.GetStores() {
		if s.GetProblem() != "" {
			fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", s.GetName(), s.GetProblem())
		}
	}
	for _, j := range m.GetJobs() {
		fmt.Fprintln(c.OutOrStdout(), progress(j))
	}
	return nil
}

// progress says how far a job is.
func progress(j *parsecv1.StoreJob) string {
	what := j.GetKind()
	if j.GetStore() != "" {
		what += " " + j.GetStore()
	}
	if j.GetInto() != "" {
		what += " into " + j.GetInto()
	}
	state := "goes on"
	if j.GetFinished() != 0 {
		state = "ended " + text(moment(j.GetFinished()))
	}
	return fmt.Sprintf("%s: %d packs, %d bytes, %d failed; %s", what, j.GetPacks(), j.GetBytes(), j.GetFailed(), state)
}

// byteRate is a flag for a number of bytes a second, as 50MiB/s.
type byteRate struct{ cmdline.ByteSize }

// Type implements pflag.Value.
func (*byteRate) Type() string { return "rate" }

// Set implements pflag.Value.
func (b *byteRate) Set(text string) error {
	return b.ByteSize.Set(strings.TrimSuffix(strings.TrimSpace(text), "/s"))
}

func rateFlag(c *cobra.Command) *byteRate {
	rate := new(byteRate)
	c.Flags().Var(rate, "rate", "how much to read in a second at most, as 50MiB/s; 0 for as fast as it goes")
	return rate
}

const goesOn = `The work is done by the server, in the background: it goes on when this command
is broken off, and when servers are restarted. ` + "`store list`" + ` says how far it is.`

func storeScrub(a *adminFlags) *cobra.Command {
	var repair bool
	c := &cobra.Command{
		Use:   "scrub",
		Short: "Verify every pack in every store",
		Long: `Reads every part of every pack in every store, and compares it with its checksums
in the database. What a store has lost, or gives back wrong, is told by its name.
With --repair it is made anew from the other stores, and packs that lie whole in
fewer stores than the layout lets be lost get further copies.

` + goesOn + ` Where one goes on, it goes on as
this command says, and this command follows it.`,
		Args: cobra.NoArgs,
	}
	c.Flags().BoolVar(&repair, "repair", false, "make anew what is missing or wrong")
	rate := rateFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := a.connect()
		if err != nil {
			return err
		}
		if _, err := ask(c.Context(), api.ScrubStores, &parsecv1.ScrubStoresRequest{Repair: repair, Rate: int64(rate.ByteSize)}); err != nil {
			return err
		}
		m, err := follow(c, api, "scrub")
		if err != nil {
			return err
		}
		if err := printStores(c, a.json, m); err != nil {
			return err
		}
		return verdict(m, repair)
	}
	return c
}

// verdict fails where a scrub left something that is not as it should be.
func verdict(m *parsecv1.ListStoresResponse, repair bool) error {
	bad, away := int64(0), int64(0)
	for _, s := range m.GetStores() {
		bad += s.GetLost() + s.GetRotten() - s.GetRepaired()
		away += s.GetUnreachable()
	}
	switch {
	case bad > 0 && !repair:
		return fault.WithHint(fault.Errorf(fault.Failed, "scrub: %d parts of packs are lost or rotten", bad), "run it again with --repair")
	case bad > 0:
		return fault.WithHint(fault.Errorf(fault.Failed, "scrub: %d parts of packs are lost or rotten and could not be repaired", bad), "the server's log names each of them")
	case away > 0:
		return fault.WithHint(fault.Errorf(fault.Failed, "scrub: %d parts of packs could not be read", away), "see to the store that does not answer, and run it again")
	}
	return nil
}

// follow waits until a job has ended, and says now and then how far it is.
func follow(c *cobra.Command, api parsecv1connect.AdminServiceClient, kind string) (*parsecv1.ListStoresResponse, error) {
	poll, say := time.NewTicker(200*time.Millisecond), time.NewTicker(10*time.Second)
	defer poll.Stop()
	defer say.Stop()
	for {
		m, err := ask(c.Context(), api.ListStores, &parsecv1.ListStoresRequest{})
		if err != nil {
			return nil, err
		}
		for _, j := range m.GetJobs() {
			if j.GetKind() != kind {
				continue
			}
			if j.GetFinished() != 0 {
				return m, nil
			}
			select {
			case <-say.C:
				fmt.Fprintln(c.ErrOrStderr(), progress(j))
			default:
			}
		}
		select {
		case <-c.Context().Done():
			return nil, fault.WithHint(fault.Errorf(fault.Canceled, "follow the %s: broken off", kind), "it goes on; `parsec-server store list` says how far it is")
		case <-poll.C:
		}
	}
}

func storeAdd(a *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "add URL",
		Short: "Add an object store, or take an emptied one back into use",
		Long: `Adds an object store, in which packs are placed from now on by all servers; with
the mirror, ` + "`store scrub --repair`" + ` copies the earlier ones. A store of this server
that was emptied is taken back into use. A server that has one store is restarted
for the second one, with both in its configuration.

Credentials in the URL are kept in the database, for the other servers; without
them each server takes its environment's. Add the store to the configuration
too, before the next restart.`,
		Example: `  parsec-server store add file:/srv/blocks3
  parsec-server store add s3://KEY:SECRET@s3.example.com/parsec`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			m, err := ask(c.Context(), api.AddStore, &parsecv1.AddStoreRequest{Url: fromHere(args[0])})
			if err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "%s is in use; add it to the configuration too\n", m.GetName())
			return nil
		},
	}
}

func storeDrain(a *adminFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "drain URL",
		Short: "Move everything out of an object store, so that it can be taken away",
		Long: `Places nothing more in a store, moves what is there to the others, and then uses
it no more. In a mirror the others have everything, and it is only checked.

` + goesOn + ` When it
has ended, take the store out of the configuration.`,
		Args: cobra.ExactArgs(1),
	}
	rate := rateFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error { return a.drain(c, args[0], "", rate) }
	return c
}

func storeReplace(a *adminFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "replace OLD NEW",
		Short: "Put another object store in the place of one",
		Long: `Adds the store NEW and moves to it what OLD has; then OLD is used no more. What
OLD does not give any more, because it is gone, is made anew from the others.

` + goesOn + ` When it
has ended, put NEW in the place of OLD in the configuration.`,
		Args: cobra.ExactArgs(2),
	}
	rate := rateFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error { return a.drain(c, args[0], args[1], rate) }
	return c
}

// drain empties a store, and waits for it.
func (a *adminFlags) drain(c *cobra.Command, url, into string, rate *byteRate) error {
	api, err := a.connect()
	if err != nil {
		return err
	}
	q := &parsecv1.DrainStoreRequest{Url: fromHere(url), Into: fromHere(into), Rate: int64(rate.ByteSize)}
	if _, err := ask(c.Context(), api.DrainStore, q); err != nil {
		return err
	}
	m, err := follow(c, api, "drain")
	if err != nil {
		return err
	}
	if err := printStores(c, a.json, m); err != nil {
		return err
	}
	for _, j := range m.GetJobs() {
		if j.GetKind() == "drain" && j.GetFailed() > 0 {
			return fault.WithHint(fault.Errorf(fault.Failed, "drain %s: %d packs are left in it: %s", j.GetStore(), j.GetFailed(), j.GetProblem()), "see to it and run it again")
		}
	}
	return nil
}

// fromHere returns the URL of a store so that it leads to the same folder from
// wherever the server was started.
func fromHere(url string) string {
	if dir, ok := strings.CutPrefix(url, "file:"); ok {
		if absolute, err := filepath.Abs(dir); err == nil {
			return "file:" + absolute
		}
	}
	return url
}
