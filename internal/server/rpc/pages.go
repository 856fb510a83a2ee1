package rpc

import (
	"io"
	"net/http"

	"parsec/internal/format/invitation"
)

// Where a monitor asks.
const (
	healthPath = "/healthz"
	readyPath  = "/readyz"
)

// pagePaths are the paths of all pages.
func pagePaths() []string {
	return []string{"/", healthPath, readyPath, invitation.InvitePath, invitation.BootstrapPath}
}

// pages registers what a person or a monitor sees: no script, nothing loaded
// from elsewhere, and nothing that depends on who asks.
func pages(mux *http.ServeMux) {
	mux.Handle("GET "+healthPath, text("text/plain; charset=utf-8", "ok\n"))
	mux.Handle("GET /{$}", page("A Parsec server", `
<p>This server keeps files for people who share them end-to-end encrypted: it can neither read nor change them unnoticed.
<p>There is nothing to do here with a browser. Install <code>parsec</code>, and ask the administrator of your organization for an invitation.`))
	mux.Handle("GET "+invitation.InvitePath, page("You are invited", `
<p>Somebody invited you to share files with Parsec. Copy the whole address of this page, with what follows the <code>#</code>, and run
<pre>parsec invite claim 'ADDRESS'</pre>
<p>Have the person who invited you on the telephone, or beside you: you will read short codes to each other.
The address is meant for you alone.`))
	mux.Handle("GET "+invitation.BootstrapPath, page("Start your organization", `
<p>This address creates an organization, once, and makes you its first administrator. Copy it whole, with what follows the <code>#</code>, and run
<pre>parsec org bootstrap 'ADDRESS' --name 'Your Name' --email you@example.com</pre>
<p>Whoever holds the address can do so in your place: keep it to yourself.`))
}

func page(title, content string) http.Handler {
	return text("text/html; charset=utf-8", `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>`+title+`</title>
<style>
body { font: 1.05rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 4rem auto; padding: 0 1rem; color-scheme: light dark }
pre { padding: .8rem 1rem; border: 1px solid; border-radius: .4rem; overflow-x: auto }
</style>
<h1>`+title+`</h1>`+content+"\n")
}

func text(media, content string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", media)
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		_, _ = io.WriteString(w, content) // a client that left needs no answer
	})
}
