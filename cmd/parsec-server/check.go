package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/cmdline"
	"parsec/internal/server/blob"
)

// The grades of a finding.
const (
	fine    = "ok"
	warning = "warning"
	failing = "error"
)

// finding is what the check says of one thing.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// found returns the finding about an error, or that all is well.
func found(check string, err error, well string) finding {
	if err != nil {
		return finding{check, failing, err.Error(), fault.HintOf(err)}
	}
	return finding{check, fine, well, ""}
}

const (
	// checkTime is how long one service may take to answer.
	checkTime = 30 * time.Second
	// expirySoon is when a certificate should have been renewed: authorities
	// that renew by themselves do so a month before the end.
	expirySoon = 14 * 24 * time.Hour
	// littleRoom is when a disk is nearly full.
	littleRoom = 1 << 30
)

func checkCommand() *cobra.Command {
	var o options
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Hold the configuration against the services that it names",
		Long: `Reads the configuration as 'run' does, and tries what it names: the database and
its tables, each object store with an object that is written, read and removed, the
certificate, the public URL, the mail server, and the clock. It may run beside a
server that is in use.

It changes nothing, but that a bucket or container that is missing is made, as by
'run'. The exit status is 1 where something is wrong; warnings leave it 0.`,
		Example: `  parsec-server check --config /etc/parsec/server.toml
  parsec-server check --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.load(c.Flags()); err != nil {
				return err
			}
			how, err := o.settle(io.Discard)
			if err != nil {
				return err
			}
			return told(c, asJSON, o.check(c.Context(), how))
		},
	}
	o.flags(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// told prints the findings, and fails where one of them is an error.
func told(c *cobra.Command, asJSON bool, findings []finding) error {
	rows := [][]string{{"CHECK", "STATE", "DETAIL"}}
	bad := 0
	for _, f := range findings {
		detail := f.Detail
		if f.Hint != "" {
			detail += " (" + f.Hint + ")"
		}
		rows = append(rows, []string{f.Check, f.State, detail})
		if f.State == failing {
			bad++
		}
	}
	if err := printed(c, asJSON, findings, rows); err != nil {
		return err
	}
	if bad > 0 {
		return fault.Errorf(fault.Failed, "check: %d of %d checks failed", bad, len(findings))
	}
	return nil
}

// check looks at everything, whatever fails on the way.
func (o options) check(ctx context.Context, how settled) []finding {
	all := []finding{found("configuration", nil, "understood")}
	all = append(all, checkDatabase(ctx, how.where.database)...)
	for _, text := range o.storeURLs() {
		all = append(all, checkStore(ctx, text)...)
	}
	all = append(all, o.checkCertificate(how, time.Now())...)
	all = append(all, o.checkPublicURL(ctx))
	all = append(all, checkMail(ctx, how.mails)...)
	return append(all, checkClock())
}

// storeURLs returns the URLs of the object stores.
func (o options) storeURLs() []string {
	if len(o.stores) > 0 {
		return o.stores
	}
	return []string{"file:" + filepath.Join(o.data, "blocks")}
}

func checkDatabase(ctx context.Context, db database) []finding {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	begin := time.Now()
	report, err := db.check(ctx)
	if err != nil {
		return []finding{found("database", err, "")}
	}
	all := []finding{found("database", nil, fmt.Sprintf("%s answered in %s", report.Engine, took(begin)))}
	if report.Empty {
		all = append(all, finding{"schema", warning, "the database is empty", "the first start sets it up"})
	} else {
		all = append(all, found("schema", report.Ready(), fmt.Sprintf("%d, as this version has it", report.Has)))
	}
	for _, w := range report.Warnings {
		all = append(all, finding{"durability", warning, w, ""})
	}
	return all
}

// checkStore tries an object store under a name without its credentials.
func checkStore(ctx context.Context, text string) []finding {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	name := "store " + shownStore(text)
	if dir, ok := strings.CutPrefix(text, "file:"); ok {
		return checkFolder(name, dir)
	}
	store, err := openStore(ctx, text)
	if err != nil {
		return []finding{found(name, err, "")}
	}
	begin := time.Now()
	err = probe(ctx, store)
	well := fmt.Sprintf("an object was written, read and removed in %s", took(begin))
	return []finding{found(name, errors.Join(err, store.Close()), well)}
}

// shownStore returns the URL of a store without what may be secret.
func shownStore(text string) string {
	if strings.HasPrefix(text, "file:") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "that is not understood"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// probe writes an object under a name that no organization has, reads it, and
// removes it.
func probe(ctx context.Context, store blob.Store) error {
	key := blob.Key{Scope: blob.Scope{Workspace: id.New[id.Workspace]()}, Pack: id.New[id.Pack]()}
	content := key.Pack.String()
	err := store.Put(ctx, key, [][]byte{[]byte(content)})
	if err == nil {
		err = readBack(ctx, store, key, content)
	}
	// Also where it could not be written: it may be there all the same.
	if gone := store.Delete(ctx, key); gone != nil {
		return errors.Join(err, gone)
	}
	if _, size := store.Size(ctx, key); err == nil && !fault.Is(size, fault.NotFound) {
		err = errors.New("an object that was removed is still there")
	}
	return err
}

func readBack(ctx context.Context, store blob.Store, key blob.Key, content string) error {
	r, err := store.Get(ctx, key, 0, int64(len(content)))
	if err != nil {
		return err
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if string(got) != content {
		return errors.New("an object that was written reads otherwise")
	}
	return nil
}

// checkFolder tries a folder of blocks without opening it as a store, which
// would drop what a running server is writing.
func checkFolder(name, dir string) []finding {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return []finding{{name, warning, "the folder is not there", "the first start makes it"}}
	}
	begin := time.Now()
	err := probeFolder(dir)
	all := []finding{found(name, err, fmt.Sprintf("a file was written, synced and removed in %s", took(begin)))}
	room, err := freeSpace(dir)
	switch {
	case err != nil:
		return append(all, finding{name, warning, "the room on the disk is not known: " + err.Error(), ""})
	case room < littleRoom:
		return append(all, finding{name, warning, cmdline.Size(room) + " of room left on the disk", "make room before it is full"})
	}
	return append(all, finding{name, fine, cmdline.Size(room) + " of room left on the disk", ""})
}

func probeFolder(dir string) error {
	f, err := os.CreateTemp(dir, ".check-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString("probe")
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// checkCertificate looks at the certificate as a client will.
func (o options) checkCertificate(how settled, now time.Time) []finding {
	const name = "certificate"
	if how.acme != nil {
		return []finding{o.checkACME(how.acme.Domains)}
	}
	if how.pair == nil {
		if strings.HasPrefix(o.publicURL, "https:") {
			return []finding{{name, fine, "none: a proxy has to speak TLS", ""}}
		}
		return []finding{{name, warning, "none: plain HTTP", "give --tls-cert and --tls-key, or stand behind a proxy that speaks TLS"}}
	}
	chain, err := how.pair.Chain()
	if err != nil {
		return []finding{found(name, err, "")}
	}
	leaf := chain[0]
	all := []finding{found(name, nil, "the key is the certificate's, which ends on "+leaf.NotAfter.UTC().Format(time.RFC3339))}
	switch {
	case now.Before(leaf.NotBefore):
		all[0] = finding{name, failing, "it begins only on " + leaf.NotBefore.UTC().Format(time.RFC3339), "check the clock"}
	case now.After(leaf.NotAfter):
		all[0] = finding{name, failing, "it ended on " + leaf.NotAfter.UTC().Format(time.RFC3339), "renew it"}
	case leaf.NotAfter.Sub(now) < expirySoon:
		all[0] = finding{name, warning, "it ends soon, on " + leaf.NotAfter.UTC().Format(time.RFC3339), "renew it"}
	}
	if u, err := url.Parse(o.publicURL); err == nil && u.Hostname() != "" {
		all = append(all, found("certificate's name", leaf.VerifyHostname(u.Hostname()), "it is for "+u.Hostname()))
	}
	if err := trusted(chain, now); err != nil {
		all = append(all, finding{"certificate's authority", warning, err.Error(), "give the whole chain, or install the authority on the clients' computers"})
	}
	if err := private(o.key); err != nil {
		all = append(all, finding{"certificate's key", warning, err.Error(), fault.HintOf(err)})
	}
	return all
}

// checkACME looks whether the public URL is one of those that certificates are
// got for. Getting one takes a connection from outside, so that is not tried.
func (o options) checkACME(domains []string) finding {
	const name = "certificate"
	u, err := url.Parse(o.publicURL)
	if err != nil || !slices.Contains(domains, u.Hostname()) {
		return finding{name, failing, "the public URL is not of a domain of --acme-domain", "add it there"}
	}
	return finding{name, fine, "got by ACME for " + strings.Join(domains, ", "), ""}
}

// trusted fails unless this machine trusts the chain for a server.
func trusted(chain []*x509.Certificate, now time.Time) error {
	others := x509.NewCertPool()
	for _, c := range chain[1:] {
		others.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Intermediates: others, CurrentTime: now})
	return err
}

// checkPublicURL looks whether the address in links leads anywhere.
func (o options) checkPublicURL(ctx context.Context) finding {
	const name = "public URL"
	u, err := url.Parse(o.publicURL)
	switch {
	case o.publicURL == "" && loopback(o.listen):
		return finding{name, warning, "none: links lead to this machine only", "give --public-url"}
	case o.publicURL == "":
		return finding{name, warning, "none: links lead to the address that the server listens on", "give --public-url"}
	case err != nil:
		return finding{name, failing, "it is not a URL", ""}
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	if _, err := net.DefaultResolver.LookupHost(ctx, u.Hostname()); err != nil {
		return finding{name, warning, "its name is not known here: " + err.Error(), "clients have to know it"}
	}
	if u.Scheme == "http" && !loopback(net.JoinHostPort(u.Hostname(), "0")) {
		return finding{name, warning, o.publicURL + " is plain HTTP, which shows to strangers who talks to whom", "use https"}
	}
	return finding{name, fine, o.publicURL, ""}
}

// checkClock asks the operating system whether its clock is kept right. That
// of a client may differ by five minutes.
func checkClock() finding {
	const name = "clock"
	ok, known := synchronised()
	switch {
	case !known:
		return finding{name, fine, "this system does not say whether it is synchronised", ""}
	case !ok:
		return finding{name, warning, "it is not synchronised", "run a time service: devices whose clock differs by five minutes are refused"}
	}
	return finding{name, fine, "synchronised", ""}
}

// took says how long something took, roughly.
func took(since time.Time) time.Duration { return time.Since(since).Round(100 * time.Microsecond) }
