package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"parsec/internal/base/fault"
)

// This file is the one place where the configuration is read. Flags are bound
// to the fields of options, and package cmdline has set from the environment
// those that were not given. What is given by neither comes from the file, in
// which --some-flag is some_flag; what has no flag, because it is secret or a
// list of tables, is in configFile.

// configFile is what a configuration file may hold beside the flags.
type configFile struct {
	DatabasePassword string       `toml:"database_password"`
	Stores           []storeTable `toml:"store"`
	Limits           limits       `toml:"limits"`
}

// storeTable is an object store whose credentials may stand apart from its URL.
type storeTable struct {
	URL        string `toml:"url"`
	Key        string `toml:"key"`
	KeyFile    string `toml:"key_file"`
	Secret     string `toml:"secret"`
	SecretFile string `toml:"secret_file"`
}

// load completes the options from the configuration file, if one is named, and
// from the files of secrets.
func (o *options) load(given *pflag.FlagSet) error {
	if o.config != "" {
		if err := o.readConfig(given); err != nil {
			return fault.Errorf(kindOr(err, fault.Usage), "read configuration %s: %w", o.config, err)
		}
	}
	password, err := secretOf("database_password", o.databasePassword, o.databasePasswordFile)
	if err != nil || password == "" {
		return err
	}
	o.database, err = withPassword(o.database, password)
	return err
}

// kindOr returns the kind of an error, or another for one that has none.
func kindOr(err error, other fault.Kind) fault.Kind {
	if k := fault.KindOf(err); k != fault.Failed {
		return k
	}
	return other
}

func (o *options) readConfig(given *pflag.FlagSet) error {
	text, err := os.ReadFile(o.config)
	if err != nil {
		return err
	}
	var all map[string]any
	var own configFile
	if _, err := toml.NewDecoder(bytes.NewReader(text)).Decode(&all); err != nil {
		return unreadable(err)
	}
	known, err := toml.NewDecoder(bytes.NewReader(text)).Decode(&own)
	if err != nil {
		return unreadable(err)
	}
	if err := setFlags(given, all, known.Undecoded(), text); err != nil {
		return err
	}
	if own.secret() || passwordIn(all["database"]) || passwordIn(all["smtp_url"]) {
		if err := private(o.config); err != nil {
			return err
		}
	}
	if o.databasePasswordFile == "" {
		o.databasePassword = own.DatabasePassword
	}
	o.limits = own.Limits
	if given.Changed("store") { // the stores of the command line are all of them
		return nil
	}
	return o.addStores(own.Stores)
}

// unreadable returns an error of the TOML reader without the text around it,
// which may be secret.
func unreadable(err error) error {
	if p, ok := errors.AsType[toml.ParseError](err); ok {
		return fmt.Errorf("line %d: %s", p.Position.Line, p.Message)
	}
	return err
}

// setFlags sets those flags that were not given from the keys of a file, and
// refuses keys that are no flag of the server. A flag that only another
// command has is left to that.
func setFlags(given *pflag.FlagSet, values map[string]any, keys []toml.Key, text []byte) error {
	server := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(options).flags(server)
	for _, key := range keys {
		flag := strings.ReplaceAll(key[0], "_", "-")
		if len(key) > 1 || strings.Contains(key[0], "-") || flag == "config" || server.Lookup(flag) == nil {
			return fmt.Errorf("line %d: unknown key %q", lineOf(text, key), key)
		}
		f := given.Lookup(flag)
		if f == nil || f.Changed {
			continue
		}
		if err := setFlag(f, values[key[0]]); err != nil {
			return fmt.Errorf("line %d: %s: %w", lineOf(text, key), key, err)
		}
	}
	return nil
}

// setFlag sets a flag from a value of TOML, whose type must be the flag's. The
// flag does not count as given by that.
func setFlag(f *pflag.Flag, value any) error {
	want := "a string in quotes"
	switch f.Value.Type() {
	case "bool":
		want = "true or false"
		if v, ok := value.(bool); ok {
			return f.Value.Set(fmt.Sprint(v))
		}
	case "int":
		want = "a whole number"
		if v, ok := value.(int64); ok {
			return f.Value.Set(fmt.Sprint(v))
		}
	case "stringArray":
		want = "a list of strings"
		if list, ok := value.([]any); ok {
			return setList(f, list)
		}
	default:
		if v, ok := value.(string); ok {
			return f.Value.Set(v)
		}
	}
	return errors.New("want " + want)
}

func setList(f *pflag.Flag, list []any) error {
	for _, v := range list {
		text, ok := v.(string)
		if !ok {
			return errors.New("want a list of strings")
		}
		if err := f.Value.Set(text); err != nil {
			return err
		}
	}
	return nil
}

// lineOf returns where a key stands in a text that is TOML, or 1 where it is
// written in a way that is not looked for.
func lineOf(text []byte, key toml.Key) int {
	table, want := "", key.String()
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if head, ok := strings.CutPrefix(line, "["); ok {
			table = strings.TrimSpace(strings.Trim(strings.SplitN(head, "#", 2)[0], "[] \t")) + "."
			if table == want+"." {
				return i + 1
			}
			continue
		}
		name, _, found := strings.Cut(line, "=")
		if found && strings.TrimPrefix(table, ".")+strings.TrimSpace(name) == want {
			return i + 1
		}
	}
	return 1
}

// secret reports whether the file holds what is nobody else's business.
func (c configFile) secret() bool {
	return c.DatabasePassword != "" || slices.ContainsFunc(c.Stores, func(s storeTable) bool {
		return s.Secret != "" || passwordIn(s.URL)
	})
}

// passwordIn reports whether a value may be a URL with a password in it.
func passwordIn(value any) bool {
	text, _ := value.(string)
	user, _, found := strings.Cut(text, "@")
	_, user, _ = strings.Cut(user, "://")
	return found && strings.Contains(user, ":")
}

// private refuses a file that everybody on the machine can read. Refusing is
// better than a warning, which would stand in a log that nobody reads while
// the secret is out. The group may read, since that is how a file of root's
// is lent to a service.
func private(path string) error {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o007 == 0 {
		return err
	}
	return fault.WithHint(fault.Errorf(fault.Usage, "%s holds secrets and everybody may read it", path), "chmod o= %s", path)
}

// secretOf returns a secret that is given by itself or by a file that holds it.
func secretOf(name, value, file string) (string, error) {
	if file == "" {
		return value, nil
	}
	if value != "" {
		return "", fault.Errorf(fault.Usage, "%s and %s_file exclude each other", name, name)
	}
	if err := private(file); err != nil {
		return "", fault.Errorf(kindOr(err, fault.Usage), "read %s_file: %w", name, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fault.Errorf(fault.Usage, "read %s_file: %w", name, err)
	}
	value = strings.TrimRight(string(text), "\r\n")
	if value == "" {
		return "", fault.Errorf(fault.Usage, "read %s_file: %s is empty", name, file)
	}
	return value, nil
}

// withPassword returns the URL of a database with a password for its user.
func withPassword(text, password string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.User == nil || u.User.Username() == "" { // the error would show the URL
		return "", fault.Errorf(fault.Usage, "read database: database_password wants a URL with a user, as postgres://parsec@db.example.com/parsec")
	}
	if _, has := u.User.Password(); has {
		return "", fault.Errorf(fault.Usage, "read database: there is a password in the URL, and another one in database_password")
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String(), nil
}

// addStores adds the URLs of the file's stores, with their credentials.
func (o *options) addStores(tables []storeTable) error {
	for i, s := range tables {
		text, err := s.address()
		if err != nil {
			return fault.Errorf(kindOr(err, fault.Usage), "store %d: %w", i+1, err)
		}
		o.stores = append(o.stores, text)
	}
	return nil
}

// address returns the URL of a store with its credentials.
func (s storeTable) address() (string, error) {
	key, err := secretOf("key", s.Key, s.KeyFile)
	if err != nil {
		return "", err
	}
	secret, err := secretOf("secret", s.Secret, s.SecretFile)
	switch {
	case err != nil:
		return "", err
	case s.URL == "":
		return "", errors.New("it has no url")
	case (key == "") != (secret == ""):
		return "", errors.New("key and secret go together")
	case key == "":
		return s.URL, nil
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" { // the error would show the URL
		return "", errors.New("it has a key, and its url is not of the form s3://HOST/BUCKET or swift://HOST/CONTAINER")
	}
	if u.User != nil {
		return "", errors.New("it has a key, and another one in its url")
	}
	u.User = url.UserPassword(key, secret)
	return u.String(), nil
}
