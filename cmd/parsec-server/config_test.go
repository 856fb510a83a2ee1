package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"parsec/internal/cmdline"
	"parsec/internal/server/blocks"
	"parsec/internal/server/rpc"
)

// TestTheFileHasAKeyForEachFlagOfRun gives each flag a value by the file that
// is not its default.
func TestTheFileHasAKeyForEachFlagOfRun(t *testing.T) {
	var o options
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.flags(flags)
	// The one would be read, and the other is a list of tables, which
	// TestWhatTheExampleHasInCommentsIsSoToo reads.
	others := map[string]bool{"database-password-file": true, "store": true}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" || others[f.Name] {
			return
		}
		value, want := `"other"`, "other"
		switch f.Value.Type() {
		case "bool":
			value, want = "true", "true"
		case "int":
			value, want = "3", "3"
		case "stringArray":
			value, want = `["other"]`, "[other]"
		}
		again := pflag.NewFlagSet("", pflag.ContinueOnError)
		var o options
		o.flags(again)
		text := strings.ReplaceAll(f.Name, "-", "_") + " = " + value + "\n"
		o.config = configFileOf(t, text)
		if err := o.load(again); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := again.Lookup(f.Name).Value.String(); got != want {
			t.Errorf("%s: the flag has %q", text, got)
		}
	})
}

// TestTheFileHasAKeyForEachLimit sets every limit there is, and wants nothing
// of what the network or the transfer of blocks can be told to be left.
func TestTheFileHasAKeyForEachLimit(t *testing.T) {
	var l limits
	text := "[limits]\n"
	for i := range reflect.TypeFor[limits]().NumField() {
		field := reflect.TypeFor[limits]().Field(i)
		value := map[reflect.Type]string{reflect.TypeFor[period](): `"7s"`, reflect.TypeFor[cmdline.ByteSize](): `"20MiB"`}[field.Type]
		if value == "" {
			value = "7"
		}
		text += fmt.Sprintf("%s = %s\n", field.Tag.Get("toml"), value)
	}
	l = configured(t, text).limits
	if err := l.Validate(); err != nil {
		t.Error(err)
	}
	var network rpc.Config
	l.bound(&network)
	// These are flags, or none of the operator's business.
	others := map[string]bool{"Version": true, "Now": true, "Proxies": true, "ProxyHeader": true}
	for _, c := range []any{network, l.transfer()} {
		for _, name := range unset(c) {
			if !others[name] {
				t.Errorf("there is no key for %T.%s", c, name)
			}
			delete(others, name)
		}
	}
	for name := range maps.Keys(others) {
		t.Errorf("%s is set, or not there", name)
	}
	if got := unset(blocks.Config{}); !slices.Contains(got, "Memory") {
		t.Errorf("of an empty configuration only %v are unset", got)
	}
}

// unset names the fields that are zero.
func unset(c any) (names []string) {
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			names = append(names, v.Type().Field(i).Name)
		}
	}
	return names
}
