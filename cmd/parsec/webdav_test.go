package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// awaitServed waits until `parsec webdav` has written where it answers into a
// file, and has the environment say so: DAV_URL, DAV_USER and DAV_PASSWORD.
func awaitServed(ts *testscript.TestScript, _ bool, args []string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 6000 {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		words := strings.Fields(string(b))
		if err == nil && strings.Count(string(b), "\n") == 3 && len(words) == 6 {
			ts.Setenv("DAV_URL", words[1])
			ts.Setenv("DAV_USER", words[3])
			ts.Setenv("DAV_PASSWORD", words[5])
			return
		}
		<-tick.C
	}
	ts.Fatalf("%s does not say where anybody answers", args[0])
}

// dav makes a request, which must be answered with a status: dav STATUS METHOD
// PATH [BODY]. What is answered becomes standard output.
func dav(ts *testscript.TestScript, _ bool, args []string) {
	body := ""
	if len(args) > 3 {
		body = args[3]
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, args[1], ts.Getenv("DAV_URL")+args[2], strings.NewReader(body))
	ts.Check(err)
	q.SetBasicAuth(ts.Getenv("DAV_USER"), ts.Getenv("DAV_PASSWORD"))
	q.Header.Set("Depth", "1")
	a, err := http.DefaultClient.Do(q)
	ts.Check(err)
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	ts.Check(err)
	_, err = ts.Stdout().Write(b)
	ts.Check(err)
	if got := strings.Fields(a.Status)[0]; got != args[0] {
		ts.Fatalf("%s %s: %s %s, want %s", args[1], args[2], a.Status, b, args[0])
	}
}
