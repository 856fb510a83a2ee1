package hostile_test

import (
	"bytes"
	"crypto/rand"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/id"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/files"
	"parsec/internal/client/mirror"
	"parsec/internal/client/remote"
	"parsec/internal/client/seal"
	"parsec/internal/format/pack"
	"parsec/internal/hostile"
)

// frame is one block of a download.
type frame struct {
	id     id.Block
	sealed []byte
}

// frames has the proxy change the blocks of every download.
func frames(p *hostile.Proxy, change func([]frame) []frame) {
	p.LieAboutBlocks(pack.DownloadPath, func(x *hostile.Transfer) {
		r := bytes.NewReader(x.Response)
		var all []frame
		for {
			b, sealed, err := pack.ReadFrame(r, func(n int) []byte { return make([]byte, n) })
			if err != nil {
				return // a refusal
			}
			if b.IsZero() {
				break
			}
			all = append(all, frame{b, sealed})
		}
		var out bytes.Buffer
		for _, f := range change(all) {
			_ = pack.WriteFrame(&out, f.id, uint32(len(f.sealed))) // a buffer takes everything
			out.Write(f.sealed)
		}
		_ = pack.WriteEnd(&out)
		x.Response = out.Bytes()
	})
}

// large has Alice write a file of several blocks, and returns its content.
func (s *scene) large(path string) string {
	s.Helper()
	content := make([]byte, 1100<<10)
	rand.Read(content)
	s.put(path, string(content))
	return string(content)
}

// export copies everything to a folder of this machine.
func (s *scene) export(p *clienttest.Person, dest string) error {
	tree, err := s.open(p)
	if err != nil {
		return err
	}
	root, err := tree.Stat(s.Context(), "/")
	if err != nil {
		return err
	}
	return tree.Export(s.Context(), root, filepath.Join(dest, "plans"), files.CopyOptions{})
}

func TestAttack11_FalseBlocks(t *testing.T) {
	s := newScene(t)
	large := s.large("/large")
	whole := map[string]string{"plans/large": large, "plans/notes.txt": "first draft", "plans/folder/deep.txt": "far below"}
	for _, v := range []variant[func([]frame) []frame]{
		{"a flipped bit", func(all []frame) []frame {
			all[0].sealed = flipped(all[0].sealed)
			return all
		}},
		{"a truncated block", func(all []frame) []frame {
			all[0].sealed = all[0].sealed[:len(all[0].sealed)/2]
			return all
		}},
		{"an extended block", func(all []frame) []frame {
			all[0].sealed = append(all[0].sealed, 0)
			return all
		}},
		{"swapped blocks", func(all []frame) []frame {
			last := len(all) - 1
			all[0].id, all[last].id = all[last].id, all[0].id
			return all
		}},
		{"a dropped block", func(all []frame) []frame { return all[1:] }},
		{"a duplicated block", func(all []frame) []frame { return append(all, all[0]) }},
		{"a block that nobody asked for", func(all []frame) []frame {
			return append([]frame{{id.New[id.Block](), all[0].sealed}}, all...)
		}},
	} {
		t.Run(v.name, func(t *testing.T) {
			in := *s
			in.T = t
			dest := t.TempDir()
			frames(s.proxy, v.lie)
			in.breaks(seal.PromiseContent, in.export(s.bob, dest))
			for path, content := range in.local(dest) {
				if content != whole[path] {
					t.Errorf("the export left %s with %d bytes that are not its content", path, len(content))
				}
			}
			in.breaks(seal.PromiseContent, in.read(nil)(s.bob))
		})
	}
	s.heals(s.bob, s.read(first().and("/large", large)))
	dest := t.TempDir()
	s.ok(s.export(s.bob, dest))
	if diff := cmp.Diff(whole, s.local(dest)); diff != "" {
		t.Errorf("the honest export differs (-want +got):\n%s", diff)
	}
}

// Blocks may come in any order: it is no attack, and changes nothing.
func TestAttack11_ReorderedBlocks(t *testing.T) {
	s := newScene(t)
	large := s.large("/large")
	frames(s.proxy, func(all []frame) []frame {
		slices.Reverse(all)
		return all
	})
	s.ok(s.read(first().and("/large", large))(s.bob))
}

func TestAttack11_BlocksFromElsewhere(t *testing.T) {
	s := newScene(t)
	earlier := s.blockOf("/notes.txt")
	s.put("/notes.txt", "2nd, better")
	diary := s.alice.CreateWorkspace("diary")
	s.ok(put(t.Context(), diary, "/notes.txt", "dear diary,"))
	var all []variant[func()]
	for _, v := range []variant[[]byte]{
		{"of another file", s.blockOf("/folder/deep.txt")},
		{"of an earlier version", earlier},
		{"of another workspace", s.blockIn(diary, "/notes.txt")},
	} {
		all = append(all, variant[func()]{v.name, func() {
			frames(s.proxy, func(all []frame) []frame {
				for i := range all {
					all[i].sealed = v.lie
				}
				return all
			})
		}})
	}
	s.tries(s.bob, expectation{seal.PromiseContent, true}, s.read(first().and("/notes.txt", "2nd, better")), all)
}

// blockOf returns the first block of a file as the server stores it.
func (s *scene) blockOf(path string) []byte {
	s.Helper()
	return s.blockIn(s.plans, path)
}

func (s *scene) blockIn(tree *files.Tree, path string) []byte {
	s.Helper()
	ref := s.refOf(tree, path)
	var found []byte
	s.ok(s.alice.Server().Download(s.Context(), tree.Workspace().ID(), []id.Block{ref.ID}, func(_ id.Block, sealed []byte) error {
		found = bytes.Clone(sealed)
		return nil
	}))
	return found
}

// chainOf returns the chain of an entry as the server has it now.
func (s *scene) chainOf(e id.Entry) remote.Chain {
	s.Helper()
	var chain remote.Chain
	s.ok(s.alice.Server().EntryManifests(s.Context(), s.workspace(), []id.Entry{e}, func(all []remote.Chain) error {
		chain = all[0]
		return nil
	}))
	return chain
}

func (s *scene) entryOf(path string) id.Entry {
	s.Helper()
	e, err := s.plans.Stat(s.Context(), path)
	s.ok(err)
	return e.ID
}

// of restricts a lie to the chain of one entry.
func of(e id.Entry, lie func(*parsecv1.Chain)) func(*parsecv1.Chain) {
	return func(c *parsecv1.Chain) {
		if bytes.Equal(c.GetEntry(), e[:]) {
			lie(c)
		}
	}
}

// onChains tries lies about the manifests of two files, of which each got a
// second version that Bob has not seen.
func onChains(t *testing.T, promise string, lies func(s *scene, notes, other id.Entry, old map[id.Entry]remote.SealedManifest) []variant[func(*parsecv1.Chain)]) {
	t.Helper()
	s := newScene(t)
	s.put("/other.txt", "another file")
	notes, other := s.entryOf("/notes.txt"), s.entryOf("/other.txt")
	old := map[id.Entry]remote.SealedManifest{}
	for _, e := range []id.Entry{notes, other} {
		old[e] = s.chainOf(e).Manifests[0]
	}
	s.put("/notes.txt", "second draft")
	s.put("/other.txt", "another text")
	var all []variant[func()]
	for _, v := range lies(s, notes, other, old) {
		all = append(all, variant[func()]{v.name, func() { eachChain(s.proxy, v.lie) }})
	}
	s.tries(s.bob, expectation{promise, true}, s.read(first().and("/notes.txt", "second draft").and("/other.txt", "another text")), all)
}

func TestAttack12_FalseManifests(t *testing.T) {
	onChains(t, seal.PromiseContent, func(_ *scene, notes, other id.Entry, old map[id.Entry]remote.SealedManifest) []variant[func(*parsecv1.Chain)] {
		return []variant[func(*parsecv1.Chain)]{
			{"an altered manifest", of(notes, func(c *parsecv1.Chain) { c.Manifests[0].Sealed = flipped(c.Manifests[0].Sealed) })},
			{"an older version in place of the newest", of(notes, func(c *parsecv1.Chain) { c.Manifests[0].Sealed = old[notes].Sealed })},
			{"a manifest of another entry", of(notes, func(c *parsecv1.Chain) { c.Manifests[0].Sealed = old[other].Sealed })},
			{"two entries exchanged", func(c *parsecv1.Chain) {
				switch {
				case bytes.Equal(c.GetEntry(), notes[:]):
					c.Entry = other[:]
				case bytes.Equal(c.GetEntry(), other[:]):
					c.Entry = notes[:]
				}
			}},
		}
	})
}

func TestAttack12_ManifestsLeftOut(t *testing.T) {
	onChains(t, mirror.PromiseComplete, func(_ *scene, notes, _ id.Entry, old map[id.Entry]remote.SealedManifest) []variant[func(*parsecv1.Chain)] {
		return []variant[func(*parsecv1.Chain)]{
			{"an older version under its own number", of(notes, func(c *parsecv1.Chain) {
				c.Manifests = []*parsecv1.SealedManifest{{Version: old[notes].Version, Sealed: old[notes].Sealed}}
			})},
			{"a number changed outside the signature", of(notes, func(c *parsecv1.Chain) { c.Manifests[0].Version++ })},
		}
	})
}

func TestAttack12_DeltaWithoutItsSnapshot(t *testing.T) {
	s := newScene(t)
	for _, name := range []string{"/a", "/b", "/c", "/d", "/e", "/f"} {
		s.put(name, name)
	}
	want, err := s.look(s.alice)
	s.ok(err)
	root := s.plans.Root()
	carol := s.newcomer("carol@example.com")
	eachChain(s.proxy, of(root, func(c *parsecv1.Chain) {
		c.Manifests = c.Manifests[len(c.Manifests)-1:] // its newest version alone
	}))
	s.brokenContent(carol, mirror.PromiseComplete, s.read(want))
}

// Size, times, type and mode stand in the sealed manifest and nowhere else, so
// that every byte of it is tried in turn.
func TestAttack13_AnyByteOfAManifest(t *testing.T) {
	s := newScene(t)
	s.put("/notes.txt", "second draft")
	notes := s.entryOf("/notes.txt")
	length := len(s.chainOf(notes).Manifests[0].Sealed)
	for _, at := range []int{0, 11, 12, length / 3, length / 2, length - 17, length - 16, length - 1} {
		eachChain(s.proxy, of(notes, func(c *parsecv1.Chain) { c.Manifests[0].Sealed[at] ^= 0x80 }))
		_, err := s.look(s.bob)
		s.breaks(seal.PromiseContent, err)
	}
	s.heals(s.bob, s.read(first().and("/notes.txt", "second draft")))
}

func TestAttack14_InjectedFile(t *testing.T) {
	s := newScene(t)
	s.put("/notes.txt", "second draft")
	notes := s.chainOf(s.entryOf("/notes.txt")).Manifests[0].Sealed
	lie(s.proxy, "WorkspaceService/Manifests", func(m *parsecv1.ManifestsResponse) {
		m.Chains = append(m.Chains, &parsecv1.Chain{
			Entry: id.New[id.Entry]().Bytes(), Manifests: []*parsecv1.SealedManifest{{Version: 1, Sealed: notes}},
		})
	})
	s.ok(s.read(first().and("/notes.txt", "second draft"))(s.bob)) // what no record names does not exist
}

func TestAttack14_DeletedFile(t *testing.T) {
	s := newScene(t)
	s.put("/new.txt", "new")
	e := s.entryOf("/new.txt")
	for _, procedure := range []string{"WorkspaceService/Manifests", "WorkspaceService/EntryManifests"} {
		lie(s.proxy, procedure, func(m *parsecv1.ManifestsResponse) {
			m.Chains = slices.DeleteFunc(m.Chains, func(c *parsecv1.Chain) bool { return bytes.Equal(c.GetEntry(), e[:]) })
		})
	}
	s.brokenContent(s.bob, mirror.PromiseComplete, s.read(first().and("/new.txt", "new")))
}

func TestAttack14_MovedFile(t *testing.T) {
	s := newScene(t)
	root, folder := s.plans.Root(), s.entryOf("/folder")
	s.put("/folder/more.txt", "more")
	s.put("/more.txt", "more")
	eachChain(s.proxy, func(c *parsecv1.Chain) {
		switch {
		case bytes.Equal(c.GetEntry(), root[:]):
			c.Entry = folder[:]
		case bytes.Equal(c.GetEntry(), folder[:]):
			c.Entry = root[:]
		}
	})
	s.brokenContent(s.bob, seal.PromiseContent, s.read(first().and("/folder/more.txt", "more").and("/more.txt", "more")))
}

func TestAttack16_BlockIDsOfTwoWorkspacesAreApart(t *testing.T) {
	s := newScene(t)
	diary := s.alice.CreateWorkspace("diary").Workspace().ID()
	block := id.New[id.Block]()
	for w, content := range map[id.Workspace]string{s.workspace(): "of the plans", diary: "of the diary"} {
		s.ok(s.upload(w, block, content))
		if err := s.upload(w, block, strings.Repeat("x", len(content))); err == nil {
			t.Error("a block was overwritten, or so the server says")
		}
	}
	for w, content := range map[id.Workspace]string{s.workspace(): "of the plans", diary: "of the diary"} {
		s.ok(s.alice.Server().Download(t.Context(), w, []id.Block{block}, func(_ id.Block, sealed []byte) error {
			if string(sealed) != content {
				t.Errorf("the block holds %q, want %q", sealed, content)
			}
			return nil
		}))
	}
}
