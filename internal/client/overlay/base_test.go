package overlay_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// server is a workspace as it is on the server, and everything of it verified
// at this device: a base of an overlay, which takes plans.
type server struct {
	mu      sync.Mutex
	root    id.Entry
	entries map[id.Entry]version
	// contents are those of files, by the only item of their list of blocks.
	contents map[string][]byte
	// unreachable is what reading contents fails with.
	unreachable error
	reads       int
}

type version struct {
	number uint64
	gone   bool
	node   merge.Node
	kids   map[string]manifest.Child
}

func newServer() *server {
	return &server{root: id.New[id.Entry](), entries: map[id.Entry]version{}, contents: map[string][]byte{}}
}

// clone returns the server as it is now.
func (s *server) clone() *server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &server{root: s.root, entries: maps.Clone(s.entries), contents: maps.Clone(s.contents)}
}

// body stores a content.
func (s *server) body(content []byte, executable bool) manifest.FileBody {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(content) == 0 {
		return manifest.FileBody{Executable: executable, Blocks: manifest.List{Items: manifest.EncodeItems([]manifest.Ref{})}}
	}
	items := binary.BigEndian.AppendUint64([]byte("stored"), uint64(len(s.contents)))
	s.contents[string(items)] = bytes.Clone(content)
	return manifest.FileBody{Size: uint64(len(content)), Executable: executable, Blocks: manifest.List{Items: items}}
}

// ReadAt implements [overlay.Blocks].
func (s *server) ReadAt(_ context.Context, body manifest.FileBody, p []byte, off int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.unreachable != nil {
		return s.unreachable
	}
	all, ok := s.contents[string(body.Blocks.Items)]
	if !ok || off+int64(len(p)) > int64(len(all)) {
		return fault.Errorf(fault.Failed, "read %d bytes at %d of a content of %d, %v", len(p), off, len(all), ok)
	}
	copy(p, all[off:])
	return nil
}

func (s *server) Entry(_ context.Context, e id.Entry) (merge.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.entries[e]
	if v.gone {
		return merge.State{Version: v.number, Gone: true}, nil
	}
	return merge.State{Version: v.number, Node: v.node}, nil
}

func (s *server) Entries(ctx context.Context, entries []id.Entry) (out []merge.State, err error) {
	for _, e := range entries {
		state, err := s.Entry(ctx, e)
		if err != nil {
			return nil, err
		}
		out = append(out, state)
	}
	return out, nil
}

func (s *server) Child(_ context.Context, folder id.Entry, name string) (manifest.Child, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.entries[folder].kids[name]
	return c, ok, nil
}

func (s *server) Children(_ context.Context, folder id.Entry) (out []manifest.Child, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.entries[folder].kids)) {
		out = append(out, s.entries[folder].kids[name])
	}
	return out, nil
}

func (s *server) Parent(_ context.Context, e id.Entry) (merge.Place, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for folder, v := range s.entries {
		for name, c := range v.kids {
			if c.Entry == e {
				return merge.Place{Folder: folder, Name: name}, true, nil
			}
		}
	}
	return merge.Place{}, false, nil
}

// commit applies a plan, as a server does that checks versions.
func (s *server) commit(p *merge.Plan) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, put := range p.Puts {
		v := s.entries[put.Entry]
		if put.Version != v.number+1 || put.Node.Kind == 0 {
			return fmt.Errorf("put %s version %d after %d, %v", put.Entry, put.Version, v.number, put.Node.Kind)
		}
		if items := put.Node.File.Blocks.Items; put.Node.Kind == manifest.File && put.Node.File.Size > 0 && s.contents[string(items)] == nil {
			return fmt.Errorf("put %s with a content that was not stored: %q", put.Place.Name, items)
		}
		if put.Fresh || v.gone {
			v.kids = nil
		}
		v = version{number: put.Version, node: put.Node, kids: maps.Clone(v.kids)}
		for _, c := range put.Changes {
			if v.kids == nil {
				v.kids = map[string]manifest.Child{}
			}
			v.kids[c.Name] = c
			if c.Removed() {
				delete(v.kids, c.Name)
			}
		}
		s.entries[put.Entry] = v
	}
	for _, g := range p.Gone {
		if v := s.entries[g.Entry]; g.Version != v.number+1 || v.gone {
			return fmt.Errorf("gone %s version %d after %d", g.Entry, g.Version, v.number)
		}
		s.entries[g.Entry] = version{number: g.Version, gone: true}
	}
	return nil
}

// tree returns all paths with what is there.
func (s *server) tree() map[string]string {
	out := map[string]string{}
	s.walk(s.root, "", out)
	return out
}

func (s *server) walk(folder id.Entry, path string, out map[string]string) {
	for name, c := range s.entries[folder].kids {
		n := s.entries[c.Entry].node
		out[path+"/"+name] = describe(n.Kind, s.contents[string(n.File.Blocks.Items)], n.File.Executable, n.Target)
		if c.Kind == manifest.Folder {
			s.walk(c.Entry, path+"/"+name, out)
		}
	}
}

func describe(kind manifest.Kind, content []byte, executable bool, target string) string {
	switch kind {
	case manifest.File:
		if len(content) > 64 {
			content = fmt.Appendf(nil, "%d:%x", len(content), hash(content))
		}
		return fmt.Sprintf("file %v %q", executable, content)
	case manifest.Symlink:
		return "symlink " + target
	}
	return kind.String()
}

func hash(b []byte) (h uint64) {
	for _, c := range b {
		h = h*1099511628211 + uint64(c) + 1
	}
	return h
}
