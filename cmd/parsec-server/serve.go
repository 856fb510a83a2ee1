package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"parsec/internal/base/fault"
	"parsec/internal/server"
	"parsec/internal/server/admin"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/redundant"
	"parsec/internal/server/certificate"
	"parsec/internal/server/mail"
	"parsec/internal/server/meta"
	"parsec/internal/server/metrics"
	"parsec/internal/server/rpc"
)

// The defaults that several commands share.
const (
	defaultListen = "127.0.0.1:6770"
	defaultData   = "parsec-data"
	tokenFile     = "admin-token"
)

// options are the flags of `run`.
type options struct {
	listen, data, database, publicURL string
	stores, proxies                   []string
	redundancy                        string
	writeQuorum                       int
	certificate, key                  string
	insecure, verbose                 bool
	logFormat, proxyHeader            string

	// acmeDomains are those of a certificate that an authority gives by itself.
	acmeDomains              []string
	acmeEmail, acmeDirectory string
	// smtpURL is the mail server, and smtpFrom the sender of invitations.
	smtpURL, smtpFrom, smtpPasswordFile string
	// metricsListen is where Prometheus asks; empty for nowhere.
	metricsListen string
	// config names the file that gives what flags and environment do not.
	config string
	// databasePassword is the file's; it has no flag, since it is secret.
	databasePassword, databasePasswordFile string
	limits                                 limits
}

func runCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the server until SIGTERM",
		Long: `Runs the server in the foreground. Without flags it listens on ` + defaultListen + ` and
keeps everything under ./` + defaultData + `, which it creates: an embedded database, the
files of blocks, and the administrator's token.

It prints one line, "listening on http://...", when it is ready, and logs to
standard error. SIGTERM and SIGINT finish what is in flight.`,
		Example: `  parsec-server run
  parsec-server run --data /srv/parsec --listen :443 \
      --tls-cert fullchain.pem --tls-key privkey.pem --public-url https://parsec.example.com`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.verbose, _ = c.Flags().GetBool("verbose")
			if err := o.load(c.Flags()); err != nil {
				return err
			}
			return serve(c.Context(), o, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	o.flags(c.Flags())
	return c
}

// flags binds the flags of `run` to the options.
func (o *options) flags(f *pflag.FlagSet) {
	f.StringVar(&o.listen, "listen", defaultListen, "`address` to listen on; port 0 chooses a free one")
	o.whereFlags(f)
	f.StringArrayVar(&o.stores, "store", nil, "object store `URL`: file:DIR, s3://KEY:SECRET@HOST/BUCKET or swift://USER:KEY@HOST/CONTAINER?auth=v1; may be repeated, see --redundancy (default file:DATA/blocks)")
	f.StringVar(&o.redundancy, "redundancy", "", "`how` several stores go together: mirror, stripe or erasure:K+M")
	f.IntVar(&o.writeQuorum, "write-quorum", 0, "`number` of parts of a pack that must be stored, the others being repaired later (default all)")
	f.StringVar(&o.publicURL, "public-url", "", "`URL` under which clients find the server (default: the address it listens on)")
	f.StringVar(&o.certificate, "tls-cert", "", "`file` with the TLS certificate chain, in PEM")
	f.StringVar(&o.key, "tls-key", "", "`file` with its private key, in PEM")
	f.StringArrayVar(&o.acmeDomains, "acme-domain", nil, "`domain` for which a certificate is got by ACME, in place of --tls-cert; may be repeated; accepts the authority's terms")
	f.StringVar(&o.acmeEmail, "acme-email", "", "`address` to which the authority writes about certificates")
	f.StringVar(&o.acmeDirectory, "acme-directory", "", "`URL` of the authority's directory (default that of Let's Encrypt)")
	f.StringVar(&o.smtpURL, "smtp-url", "", "`URL` of a mail server through which invitations are sent: smtps://USER@HOST:PORT, or smtp:// for STARTTLS (default: none are sent)")
	f.StringVar(&o.smtpPasswordFile, "smtp-password-file", "", "`file` with the password of the mail server's user")
	f.StringVar(&o.smtpFrom, "smtp-from", "", "`address` of the sender, as 'Parsec <parsec@example.com>'")
	f.BoolVar(&o.insecure, "insecure-http", false, "allow plain HTTP on other than loopback, behind a proxy")
	f.StringArrayVar(&o.proxies, "trusted-proxy", nil, "`network` of reverse proxies whose word for the address of a client is believed, as 10.0.0.0/8; may be repeated")
	f.StringVar(&o.proxyHeader, "proxy-header", "X-Forwarded-For", "`header` in which the proxies say it: X-Forwarded-For or Forwarded")
	f.StringVar(&o.metricsListen, "metrics-listen", "", "`address` on which Prometheus is answered, of loopback or of a private network (default: nowhere)")
	f.StringVar(&o.logFormat, "log-format", "text", "`how` to log: text or json")
}

// whereFlags are the flags that say where the metadata is.
func (o *options) whereFlags(f *pflag.FlagSet) {
	f.StringVar(&o.config, "config", "", "`file` with settings, in TOML, for what neither flags nor environment give")
	f.StringVar(&o.databasePasswordFile, "database-password-file", "", "`file` with the password of the database's user")
	f.StringVar(&o.data, "data", defaultData, "`folder` for everything the server keeps")
	f.StringVar(&o.database, "database", "", "metadata database `URL`: "+databaseForms+" (default sqlite:DATA/metadata.sqlite)")
}

// settled is what the options come to, before anything is opened.
type settled struct {
	log     *slog.Logger
	network rpc.Config
	pair    *certificate.Files
	acme    *certificate.ACME
	where   places
	// mails sends invitations; nil where none are sent.
	mails *mail.Sender
}

// settle checks all options, and creates nothing.
func (o options) settle(stderr io.Writer) (s settled, err error) {
	if s.log, err = o.logger(stderr); err != nil {
		return s, err
	}
	if s.network, err = o.network(); err != nil {
		return s, err
	}
	if s.pair, err = o.pair(s.log); err != nil {
		return s, err
	}
	if s.acme, err = o.acme(); err != nil {
		return s, err
	}
	if s.mails, err = o.mails(); err != nil {
		return s, err
	}
	s.where, err = o.places()
	return s, err
}

// watch returns what has the operations of a store counted, where somebody
// asks for the figures.
func (o options) watch(figures *metrics.Metrics) func(string, blob.Store) blob.Store {
	if o.metricsListen == "" {
		return func(_ string, s blob.Store) blob.Store { return s }
	}
	return figures.Store
}

// secure returns how the server speaks TLS; nil where it does not.
func (s settled) secure() *tls.Config {
	switch {
	case s.pair != nil:
		return s.pair.Config()
	case s.acme != nil:
		return s.acme.Config()
	}
	return nil
}

// serve runs the server until the context ends.
func serve(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	how, err := o.settle(stderr)
	if err != nil {
		return err
	}
	unlock, err := lockData(o.data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	figures := metrics.New(version())
	store, blobs, several, err := how.where.open(ctx, how.log, o.watch(figures))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close(), blobs.Close()) }()
	if err := ensureToken(ctx, admin.NewTokens(store, time.Now), filepath.Join(o.data, tokenFile), how.log); err != nil {
		return err
	}
	if err := answers(ctx, blobs); err != nil {
		how.log.WarnContext(ctx, "the object store does not answer", "error", err)
	}
	bus, err := how.where.database.bus(how.log)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fault.WithHint(fault.Errorf(fault.Conflict, "listen on %s: %w", o.listen, err), "choose another address with --listen")
	}
	address := address(l.Addr(), how.pair != nil || how.acme != nil)
	c := server.Config{PublicURL: strings.TrimSuffix(o.publicURL, "/"), Network: how.network, Transfer: o.limits.transfer(), Jobs: o.limits.jobs(), Bus: bus, Stores: several}
	if c.PublicURL == "" {
		c.PublicURL = address
	}
	if how.mails != nil {
		c.Mailer = how.mails
	}
	if o.metricsListen != "" {
		c.Observer, c.Jobs.Observer = figures, figures
	}
	handler := server.New(store, blobs, how.log, c)
	figures.Watch(handler)
	if several != nil {
		figures.Repairs(several.Repairs)
	}
	if pooled, ok := store.(interface{ Pool() meta.Pool }); ok {
		figures.WatchPool(pooled.Pool)
	}
	asked, err := o.listenForMetrics(ctx, how.log)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	fmt.Fprintln(stdout, "listening on "+address)
	how.log.InfoContext(ctx, "started", "version", version(), "address", address, "public_url", c.PublicURL, "data", o.data)
	defer func() { how.log.InfoContext(ctx, "stopped") }()
	return how.work(ctx, handler, l, figures, asked)
}

// work runs the server and what stands beside it until the context ends, or
// one of them fails.
func (s settled) work(ctx context.Context, handler *server.Server, l net.Listener, figures *metrics.Metrics, asked net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	secure := s.secure()
	if s.pair != nil {
		hangup := make(chan os.Signal, 1) // another one meanwhile asks for the same
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
		group.Go(func() error { return reloading(ctx, hangup, s.pair, s.log) })
	}
	if asked != nil {
		group.Go(func() error { return serveMetrics(ctx, asked, figures, s.log) })
	}
	group.Go(func() error { return handler.Serve(ctx, l, secure) })
	return group.Wait()
}

func (o options) logger(w io.Writer) (*slog.Logger, error) {
	how := &slog.HandlerOptions{Level: slog.LevelInfo}
	if o.verbose {
		how.Level = slog.LevelDebug
	}
	switch o.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, how)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, how)), nil
	}
	return nil, fault.Errorf(fault.Usage, "log format %q: want text or json", o.logFormat)
}

// network returns the configuration of the network side, and refuses what is
// not safe or does not fit together.
func (o options) network() (rpc.Config, error) {
	c := rpc.Config{Version: version()}
	if err := o.limits.Validate(); err != nil {
		return c, err
	}
	o.limits.bound(&c)
	if c.ProxyHeader = http.CanonicalHeaderKey(o.proxyHeader); c.ProxyHeader != "X-Forwarded-For" && c.ProxyHeader != "Forwarded" {
		return c, fault.Errorf(fault.Usage, "read --proxy-header: want X-Forwarded-For or Forwarded")
	}
	for _, text := range o.proxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return c, fault.Errorf(fault.Usage, "read --trusted-proxy: %w", err)
		}
		c.Proxies = append(c.Proxies, p.Masked())
	}
	if o.metricsListen != "" && !inside(o.metricsListen) {
		return c, fault.Errorf(fault.Usage, "read --metrics-listen: %q is not an address of loopback or of a private network, as 127.0.0.1:6771", o.metricsListen)
	}
	if o.publicURL != "" {
		u, err := url.Parse(o.publicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return c, fault.Errorf(fault.Usage, "read --public-url: %q is not the address of a server, as https://parsec.example.com", o.publicURL)
		}
		if strings.Trim(u.Path, "/") != "" { // devices sign the path of each request, so no proxy may change it
			return c, fault.WithHint(fault.Errorf(fault.Usage, "read --public-url: %q has a path", o.publicURL), "give the server a host name or port of its own")
		}
	}
	if o.certificate == "" && len(o.acmeDomains) == 0 && !o.insecure && !loopback(o.listen) {
		return c, fault.WithHint(fault.Errorf(fault.Usage, "listen on %s: plain HTTP on other than loopback", o.listen),
			"give --tls-cert and --tls-key, or --acme-domain, or --insecure-http behind a proxy that speaks TLS")
	}
	return c, nil
}

// loopback reports whether only this machine reaches the address.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// pair reads the certificate that the options name; nil for none.
func (o options) pair(log *slog.Logger) (*certificate.Files, error) {
	if (o.certificate == "") != (o.key == "") {
		return nil, fault.Errorf(fault.Usage, "--tls-cert and --tls-key go together")
	}
	if o.certificate == "" {
		return nil, nil
	}
	return certificate.Open(o.certificate, o.key, time.Now, log)
}

// acme returns how to get certificates by ACME; nil where that is not asked for.
func (o options) acme() (*certificate.ACME, error) {
	if len(o.acmeDomains) == 0 {
		if o.acmeEmail != "" || o.acmeDirectory != "" {
			return nil, fault.Errorf(fault.Usage, "--acme-email and --acme-directory go with --acme-domain")
		}
		return nil, nil
	}
	if o.certificate != "" {
		return nil, fault.Errorf(fault.Usage, "--tls-cert and --acme-domain exclude each other")
	}
	a := certificate.ACME{Domains: o.acmeDomains, Email: o.acmeEmail, Directory: o.acmeDirectory, Cache: filepath.Join(o.data, "acme")}
	return &a, a.Validate()
}

// reloading reads the certificate again at each hangup, until the context ends.
func reloading(ctx context.Context, hangup <-chan os.Signal, pair *certificate.Files, log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
			if err := pair.Reload(); err != nil {
				log.ErrorContext(ctx, "the TLS certificate stays the old one", "error", err)
			} else {
				log.InfoContext(ctx, "TLS certificate read again at a hangup")
			}
		}
	}
}

// lockData creates the data folder and holds it for this process.
func lockData(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Errorf(fault.Failed, "create data folder: %w", err)
	}
	path := filepath.Join(dir, "lock")
	lock := flock.New(path, flock.SetPermissions(0o600))
	mine, err := lock.TryLock()
	if err != nil {
		return nil, fault.Errorf(fault.Failed, "lock data folder %s: %w", dir, err)
	}
	if !mine {
		who, _ := os.ReadFile(path)
		return nil, fault.WithHint(fault.Errorf(fault.Conflict, "data folder %s is in use by another server (process %s)", dir, strings.TrimSpace(string(who))),
			"stop it first, or choose another folder with --data")
	}
	// For whoever finds the folder locked. The lock file itself must stay the
	// same file, so it is not replaced.
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return nil, errors.Join(fault.Errorf(fault.Failed, "lock data folder %s: %w", dir, err), lock.Unlock())
	}
	return lock.Unlock, nil
}

// places is where the stores are: the database, the URLs of the object stores,
// and how these go together.
type places struct {
	data     string
	database database
	blocks   []string
	how      redundant.Config
}

// places returns where the flags say that the stores are.
func (o options) places() (p places, err error) {
	p.data, p.blocks = o.data, o.storeURLs()
	if p.database, err = parseDatabase(o.database, o.data); err != nil {
		return p, err
	}
	seen := map[string]bool{}
	for _, text := range p.blocks {
		if _, err := parseStore(text); err != nil {
			return p, err
		}
		if name := storeName(text, o.data); seen[name] {
			return p, fault.Errorf(fault.Usage, "store %s is given twice", name)
		} else {
			seen[name] = true
		}
	}
	if p.how.Layout, err = redundant.ParseLayout(o.redundancy, len(p.blocks)); err != nil {
		return p, err
	}
	p.how.Quorum, p.how.Mirror = o.writeQuorum, o.redundancy == "mirror"
	return p, p.how.Validate(len(p.blocks))
}

// open opens the stores. Each object store is watched under its own name. Where
// there is one, and never were more, nothing has to say where a pack lies, and
// nothing can be repaired: it is used as it is.
func (p places) open(ctx context.Context, log *slog.Logger, watch func(string, blob.Store) blob.Store) (meta.Store, blob.Store, *redundant.Store, error) {
	store, err := p.database.open(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	alone, err := p.alone(ctx, store)
	if err == nil && alone {
		var only blob.Store
		if only, err = openStore(ctx, p.blocks[0]); err == nil {
			return store, watch(shownStore(p.blocks[0]), only), nil, nil
		}
	}
	var members []redundant.Member
	if err == nil {
		members, err = p.members(ctx, store, log, watch)
	}
	if err == nil {
		p.how.Log, p.how.Name = log, func(text string) (string, error) {
			_, err := parseStore(text)
			return storeName(text, p.data), err
		}
		p.how.Open = func(ctx context.Context, text string) (blob.Store, error) { return p.openOne(ctx, text, watch) }
		if p.how.Mirror {
			p.how.Layout.Parity = max(1, len(members)) - 1
			p.how.Quorum = min(p.how.Quorum, p.how.Layout.Parts())
		}
		var blobs *redundant.Store
		if blobs, err = redundant.New(store, members, p.how); err == nil {
			return store, blobs, blobs, blobs.Refresh(ctx)
		}
	}
	for _, m := range members {
		err = errors.Join(err, m.Store.Close())
	}
	return nil, nil, nil, errors.Join(err, store.Close())
}

// openOne opens an object store, which is watched under its own name.
func (p places) openOne(ctx context.Context, text string, watch func(string, blob.Store) blob.Store) (blob.Store, error) {
	s, err := openStore(ctx, text)
	if err != nil {
		return nil, err
	}
	return watch(shownStore(text), s), nil
}

// alone reports whether there is one object store, and never were more.
func (p places) alone(ctx context.Context, store meta.Store) (alone bool, err error) {
	if len(p.blocks) > 1 {
		return false, nil
	}
	err = store.Read(ctx, func(tx meta.Tx) error {
		some, err := tx.Placements().List(meta.PackKey{}, 1)
		if err != nil {
			return err
		}
		stores, err := tx.ObjectStores().List()
		alone = len(some) == 0 && len(stores) <= 1
		return err
	})
	return alone, err
}

// members registers the object stores of the configuration, and opens them and
// those that were added while servers ran.
func (p places) members(ctx context.Context, store meta.Store, log *slog.Logger, watch func(string, blob.Store) blob.Store) (all []redundant.Member, err error) {
	var rows []meta.ObjectStore
	if err := store.Write(ctx, func(tx meta.Tx) (err error) {
		for _, text := range p.blocks {
			if _, err := tx.ObjectStores().Register(storeName(text, p.data)); err != nil {
				return err
			}
		}
		rows, err = tx.ObjectStores().List()
		return err
	}); err != nil {
		return nil, err
	}
	urls := map[string]string{}
	for _, text := range p.blocks {
		urls[storeName(text, p.data)] = text
	}
	for _, row := range rows {
		text := row.URL
		if configured := urls[row.Name]; configured != "" {
			text = configured
		}
		if row.State == meta.StoreRetired && text != "" {
			log.WarnContext(ctx, "a store is configured that was emptied to be taken away", "store", row.Name)
		}
		if row.State == meta.StoreRetired || text == "" {
			continue
		}
		m := redundant.Member{ID: row.ID, Name: row.Name}
		if m.Store, err = p.openOne(ctx, text, watch); err != nil {
			return all, err
		}
		all = append(all, m)
	}
	return all, nil
}

// storeName is the name under which a store is registered: its URL without
// credentials. That of a folder does not depend on where the server starts, and
// of one in the data folder not on where that is.
func storeName(text, data string) string {
	dir, ok := strings.CutPrefix(text, "file:")
	if !ok {
		return shownStore(text)
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return shownStore(text)
	}
	if data, err = filepath.Abs(data); err == nil {
		if below, err := filepath.Rel(data, absolute); err == nil && filepath.IsLocal(below) {
			return "data:" + filepath.ToSlash(below)
		}
	}
	return "file:" + absolute
}

// address returns the URL of a listener, as another program on this machine
// reaches it.
func address(a net.Addr, secure bool) string {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return scheme + "://" + a.String()
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
