package rpc

import (
	"bufio"
	"crypto/sha256"
	"io"
	"net/http"

	"parsec/internal/base/fault"
	"parsec/internal/format/pack"
	"parsec/internal/server/blocks"
)

// transfers moves blocks as plain HTTP, so that nothing is copied into messages.
type transfers struct {
	server *Server
	blocks *blocks.Service
}

func (t transfers) register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+pack.UploadPath, t.serve(t.upload))
	mux.HandleFunc("POST "+pack.DownloadPath, t.serve(t.download))
}

// serve answers for a handler that failed. Where an answer is under way
// already, the connection is cut, which the client tells from the end.
func (t transfers) serve(handle func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := handle(w, r)
		if err == nil {
			return
		}
		if w.(*answer).status != 0 {
			noteOf(r.Context()).err = err
			panic(http.ErrAbortHandler)
		}
		reply(w, r, t.server.rpcErrors, err)
	}
}

// maxUpload is the longest body of an upload.
const maxUpload = 4 + pack.MaxHeader + pack.MaxSize

// upload takes the blocks of one pack, behind a header that the token covers.
func (t transfers) upload(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength > maxUpload {
		return tooLarge(maxUpload)
	}
	r, token, err := t.server.authenticate(r)
	if err != nil {
		return err
	}
	release, err := t.server.memory.Take(r.Context(), pack.MaxHeader)
	if err != nil {
		return err
	}
	defer release()
	encoded, err := pack.ReadHeader(r.Body)
	if err != nil {
		return err
	}
	if err := token.Covers(sha256.Sum256(encoded)); err != nil {
		return err
	}
	header, err := pack.Decode(encoded)
	if err != nil {
		return err
	}
	if want := 4 + int64(len(encoded)) + header.Size(); r.ContentLength >= 0 && r.ContentLength != want {
		return fault.Errorf(fault.Invalid, "an upload of %d bytes whose header announces %d", r.ContentLength, want)
	}
	if err := t.blocks.Upload(r.Context(), callerOf(r.Context()), header, r.Body); err != nil {
		return err
	}
	w.Header().Set("Content-Type", pack.MediaType)
	w.WriteHeader(http.StatusOK)
	return nil
}

// download sends blocks as frames.
func (t transfers) download(w http.ResponseWriter, r *http.Request) error {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	question, err := pack.DecodeRequest(data)
	if err != nil {
		return err
	}
	found, err := t.blocks.Download(r.Context(), callerOf(r.Context()), question)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", pack.MediaType)
	w.WriteHeader(http.StatusOK)
	out := bufio.NewWriterSize(w, 256<<10)
	if err := found.Send(r.Context(), out); err != nil {
		return err
	}
	return out.Flush()
}
