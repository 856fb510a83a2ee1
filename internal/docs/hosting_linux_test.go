package docs_test

import (
	"bytes"
	"context"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"parsec/internal/services"
)

// administrator is a reader who sets up a server as docs/hosting.md says, with
// places of the test's.
type administrator struct {
	*reader
	here *strings.Replacer
	// secrets are what is typed into the files that are named so.
	secrets map[string]string
	// answers are what the commands said, by their block.
	answers map[string]string
}

// newAdministrator prepares places for all that the page names.
func newAdministrator(t *testing.T) *administrator {
	t.Helper()
	services.Programs(t, "openssl", "curl", "createuser", "createdb", "systemd-analyze")
	bin := programs(t)
	a := &administrator{reader: newReader(t, bin), answers: map[string]string{}}
	root := filepath.Join(a.dir, "root")
	a.environment = slices.DeleteFunc(a.environment, func(v string) bool { return strings.HasPrefix(v, "PARSEC_SERVER_") })
	for _, dir := range []string{"/etc/systemd/system", "/var/lib", "/usr/local/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"bin": bin, "deploy": filepath.Join(checkout, "deploy"), "home/Documents/plans": filepath.Join(checkout, "docs")} {
		target, err := filepath.Abs(target)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(a.dir, name)), 0o700)
		}
		if err == nil && name == "home/Documents/plans" {
			err = os.CopyFS(filepath.Join(a.dir, name), os.DirFS(target))
		} else if err == nil {
			err = os.Symlink(target, filepath.Join(a.dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	role, database := a.role()
	listen, metrics := freeAddress(t), freeAddress(t)
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		t.Fatal(err)
	}
	s3, key, secret := keyless(t, services.S3(t))
	swift, user, swiftKey := keyless(t, services.Swift(t))
	a.secrets = map[string]string{"database-password": "shelves", "s3-key": key, "s3-secret": secret, "swift-user": user, "swift-key": swiftKey}
	a.here = strings.NewReplacer(
		"createuser --pwprompt parsec\n", "createuser --pwprompt "+role+"\n",
		"createdb --owner parsec --encoding UTF8 --template template0 parsec\n", "createdb --owner "+role+" --encoding UTF8 --template template0 "+role+"\n",
		"postgres://parsec@db.example.com/parsec", database,
		"s3://s3.example.com/parsec-blocks?region=eu-1", s3,
		"swift://keystone.example.com:5000/parsec-blocks?auth=v3&tenant=backup", swift,
		" -o parsec -g parsec", "", " -g parsec", "",
		"/etc/", root+"/etc/", "/var/lib/", root+"/var/lib/", "/usr/local/bin/", root+"/usr/local/bin/",
		`listen = ":443"`, `listen = "`+listen+`"`,
		"https://parsec.example.com", "https://localhost:"+port, "parsec.example.com", "localhost",
		"127.0.0.1:6771", metrics,
	)
	return a
}

// role has the environment's PostgreSQL asked by createuser and createdb, and
// returns the name that they get in place of parsec, and the database's URL.
func (a *administrator) role() (name, database string) {
	server := services.Postgres(a.t)
	u, err := url.Parse(server)
	if err != nil {
		a.t.Fatal(err)
	}
	name = strings.TrimPrefix(u.Path, "/") + "_role"
	password, _ := u.User.Password()
	a.environment = append(a.environment, "PGHOST="+u.Hostname(), "PGPORT="+u.Port(), "PGUSER="+u.User.Username(), "PGPASSWORD="+password)
	a.t.Cleanup(func() {
		c, err := pgx.Connect(context.Background(), server)
		if err != nil {
			a.t.Error(err)
			return
		}
		defer c.Close(context.Background())
		for _, statement := range []string{"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)", "DROP ROLE IF EXISTS " + name} {
			if _, err := c.Exec(context.Background(), statement); err != nil {
				a.t.Error(err)
			}
		}
	})
	u.User, u.Path = url.User(name), "/"+name
	return name, u.String()
}

// keyless returns the URL of an object store without its credentials, and these.
func keyless(t *testing.T, place string) (without, user, key string) {
	t.Helper()
	u, err := url.Parse(place)
	if err != nil {
		t.Fatal(err)
	}
	user = u.User.Username()
	key, _ = u.User.Password()
	u.User = nil
	return u.String(), user, key
}

// outside are the commands that would change the system of whoever runs the test.
const outside = `
useradd() { test "${*: -1}" = parsec; }
runuser() { test "$1 $2 $3" = "-u parsec --"; shift 3; "$@"; }
`

// TestTheStepsToAServerForACompany does what the page says, in its order.
func TestTheStepsToAServerForACompany(t *testing.T) {
	a := newAdministrator(t)
	for _, s := range steps(t, "Step by step: a server for a company") {
		text := a.here.Replace(s.text)
		switch {
		case s.file != "":
			a.write(a.here.Replace(s.file), text)
		case strings.Contains(text, "cat > "):
			a.typeSecrets(text)
		case strings.Contains(text, "createuser"):
			a.createRole(text)
		case strings.Contains(text, "systemctl enable --now parsec-server"):
			a.follow(strings.Replace(text, "systemctl enable --now parsec-server", "", 1))
			a.startUnit()
		case strings.Contains(text, "invite greet"):
			one, other, _ := strings.Cut(text, "\n\n")
			a.speak(one, other)
		default:
			a.answers[s.text] = a.follow(outside + a.exported(text))
		}
	}
	if a.server == nil {
		t.Fatal("the page starts no server")
	}
	if err := a.server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := a.server.Wait(); err != nil {
		t.Errorf("the server ends with %v", err)
	}
	a.holds()
}

// holds looks at what the commands answered.
func (a *administrator) holds() {
	a.t.Helper()
	all := ""
	for _, answer := range a.answers {
		all += answer
	}
	for _, want := range []string{
		`(?m)^parsec_build_info\{`, `(?m)^ok$`, `(?m)^(s3|swift):\S+ +active +0 +[1-9]\d* `, `(?m)^scrub: [1-9]\d* packs, \d+ bytes, 0 failed`,
		`(?m)^database +ok`, `(?m)^schema +warning +the database is empty`, `bob@example.com`, `(?m)create.*Acme`,
	} {
		if !regexp.MustCompile(want).MatchString(all) {
			a.t.Errorf("nothing answered %s:\n%s", want, all)
		}
	}
	if _, err := os.Stat(filepath.Join(a.dir, "home/bob-plans/plans/hosting.md")); err != nil {
		a.t.Error(err)
	}
}

// write writes a file that the page shows.
func (a *administrator) write(path, text string) {
	a.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		a.t.Fatal(err)
	}
}

// typeSecrets runs each line for itself, and types into the files.
func (a *administrator) typeSecrets(text string) {
	a.t.Helper()
	for line := range strings.Lines(text) {
		path, types := strings.CutPrefix(strings.TrimSpace(line), "cat > ")
		if !types {
			continue
		}
		c := a.command("umask 027\n" + line)
		c.Stdin = strings.NewReader(a.secrets[filepath.Base(path)] + "\n")
		if out, err := c.CombinedOutput(); err != nil {
			a.t.Fatalf("%s%v\n%s", line, err, out)
		}
	}
}

// createRole makes the role and the database, and answers the question for a
// password as without a terminal.
func (a *administrator) createRole(text string) {
	a.t.Helper()
	c := a.command(text)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Stdin = strings.NewReader(strings.Repeat(a.secrets["database-password"]+"\n", 2))
	if out, err := c.CombinedOutput(); err != nil {
		a.t.Fatalf("%s%v\n%s", text, err, out)
	}
}

// exported puts variables that a block exports into the environment, for the
// blocks behind it, and returns the rest.
func (a *administrator) exported(text string) string {
	export := regexp.MustCompile(`(?m)^export (\w+=.*)\n`)
	for _, m := range export.FindAllStringSubmatch(text, -1) {
		a.environment = append(a.environment, m[1])
	}
	return export.ReplaceAllString(text, "")
}

// startUnit has systemd read the unit that was installed, and starts what it
// starts.
func (a *administrator) startUnit() {
	a.t.Helper()
	path := filepath.Join(a.dir, "root/etc/systemd/system/parsec-server.service")
	unit := a.here.Replace(read(a.t, path))
	a.write(path, unit)
	var said bytes.Buffer
	c := exec.CommandContext(a.t.Context(), "systemd-analyze", "verify", "--man=no", path)
	c.Stdout, c.Stderr = &said, &said
	if err := c.Run(); err != nil || said.Len() > 0 {
		a.t.Errorf("systemd-analyze: %v\n%s", err, &said)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(unit)
	if start == nil {
		a.t.Fatal("the unit starts nothing")
	}
	a.serve(start[1])
}
