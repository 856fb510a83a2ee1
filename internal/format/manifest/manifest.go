// Package manifest holds the description of one version of an entry, as it is
// before sealing: folders with their children, files with their blocks,
// symlinks with their target. It says how manifests look and which of them
// are malformed; who may write one, and where, is decided elsewhere.
//
// A list that outgrows its manifest moves into pages, each stored as a block,
// and the list of pages into further pages when that outgrows it, so that a
// change rewrites only the pages it touches.
package manifest

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/format/canon"
	"parsec/internal/format/label"
	"parsec/internal/format/padding"
)

// Bounds.
const (
	// BlockSize is the length of a file's blocks in bytes; the last one may be shorter.
	BlockSize = 512 << 10
	// MaxBlockSize is the longest plaintext of any block that a manifest may name.
	MaxBlockSize = 4 << 20
	// MaxFileSize is the largest size of a file, holes included. Sums of a
	// page's items stay far from overflow.
	MaxFileSize = 1 << 53
	// PageItems is the largest number of blocks or pages in a list, inline or
	// in one page. Children are bounded by the bytes of their page.
	PageItems = 512
	// InlineSize is the most bytes that a manifest's list may take before it moves into pages.
	InlineSize = 64 << 10
	// MaxSealed is the longest sealed manifest that is accepted; honest ones
	// stay below 70 KiB.
	MaxSealed = 128 << 10
	// MaxName is the longest name in bytes.
	MaxName = 255
	// MaxTarget is the longest target of a symlink in bytes.
	MaxTarget = 4095
	// MaxDeltas is the largest number of deltas on one snapshot.
	MaxDeltas = 1024
	// MaxDepth bounds the levels of pages: 512^4 blocks are 32 PiB.
	MaxDepth = 3
)

// Kind is what an entry is.
type Kind uint8

// The kinds of entries. The root folder is a folder whose entry id is the workspace's.
const (
	Folder  Kind = 1
	File    Kind = 2
	Symlink Kind = 3
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case Folder:
		return "folder"
	case File:
		return "file"
	case Symlink:
		return "symlink"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Manifest describes one version of one entry.
type Manifest struct {
	_    struct{} `cbor:",toarray"`
	Kind Kind
	// Entry, Version and Author must equal those of the commit that introduced it.
	Entry   id.Entry
	Version uint64
	Author  id.Device
	// Parent is a hint: what counts is the folder that names the entry.
	Parent id.Entry
	// Name is that of the last write, for the recovery of an orphan; empty for the root folder.
	Name string
	// Created and Modified are in nanoseconds since the Unix epoch.
	Created, Modified int64
	// Body is the encoding of a [FileBody], [FolderBody] or [SymlinkBody].
	Body []byte
}

// Ref is how to find, open and check one stored block.
type Ref struct {
	_   struct{} `cbor:",toarray"`
	ID  id.Block
	Key secret.Key
	// Size is the length of the plaintext without padding.
	Size uint64
	// Digest is the SHA-256 of the sealed block.
	Digest [32]byte
}

// Hole reports whether the ref stands for Size zero bytes that are not stored.
func (r Ref) Hole() bool { return r.ID.IsZero() }

// Hole returns a ref for n zero bytes that are not stored.
func Hole(n uint64) Ref { return Ref{Size: n} }

// Page is a block that holds part of a list.
type Page struct {
	_   struct{} `cbor:",toarray"`
	Ref Ref
	// Span is what the list below the page measures: bytes of content for a
	// file's blocks, children for a folder's.
	Span uint64
}

// List is a list of items, inline or in pages.
type List struct {
	_ struct{} `cbor:",toarray"`
	// Depth is the number of levels of pages: 0 when Items is the list itself.
	Depth uint8
	// Items is the encoded list of items at depth 0, and empty above.
	Items []byte
	// Pages are the top level at a depth above 0, and empty at 0.
	Pages []Page
}

// FileBody is the content of a file.
type FileBody struct {
	_          struct{} `cbor:",toarray"`
	Size       uint64
	Executable bool
	// Blocks is a list of [Ref]: the blocks and holes in the order of the content.
	Blocks List
}

// FolderBody is a folder: all its children, or what differs from the version before.
type FolderBody struct {
	_ struct{} `cbor:",toarray"`
	// Delta says that Children holds changes to the previous version.
	Delta bool
	// Children is a list of [Child], by ascending name.
	Children List
}

// Child is an entry of a folder under its name. In a delta, a zero Entry
// takes the name away.
type Child struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	Entry id.Entry
	Kind  Kind
}

// Removed reports whether the child, in a delta, takes its name away.
func (c Child) Removed() bool { return c.Entry.IsZero() }

// SymlinkBody is where a symlink points.
type SymlinkBody struct {
	_      struct{} `cbor:",toarray"`
	Target string
}

// Body is one of [FileBody], [FolderBody], [SymlinkBody].
type Body interface {
	kind() Kind
	check() error
}

func (FileBody) kind() Kind    { return File }
func (FolderBody) kind() Kind  { return Folder }
func (SymlinkBody) kind() Kind { return Symlink }

// Encode returns the padded plaintext of m with this body; it sets m's kind
// and body.
func Encode(m Manifest, b Body) []byte {
	m.Kind, m.Body = b.kind(), canon.Marshal(b)
	return padding.Frame(canon.Marshal(m))
}

// Decode returns the manifest in a padded plaintext, and its body. A list
// within the manifest is checked, pages are when they are read. Anything
// malformed is [fault.Invalid]: content that hides only its own entry.
func Decode(plain []byte) (Manifest, Body, error) {
	var m Manifest
	content, err := padding.Unframe(plain)
	if err != nil {
		return m, nil, fault.Errorf(fault.Invalid, "decode manifest: %w", err)
	}
	if err := canon.Unmarshal(content, &m); err != nil {
		return m, nil, fault.Errorf(fault.KindOf(err), "decode manifest: %w", err)
	}
	b, err := m.body()
	if err != nil {
		return m, nil, fault.Errorf(fault.KindOf(err), "decode manifest: %w", err)
	}
	return m, b, nil
}

func (m Manifest) body() (Body, error) {
	if m.Entry.IsZero() || m.Version == 0 || m.Author.IsZero() || m.Parent == m.Entry {
		return nil, fault.Errorf(fault.Invalid, "version %d of entry %s in %s by device %s", m.Version, m.Entry, m.Parent, m.Author)
	}
	if root := m.Parent.IsZero(); root != (m.Name == "") || root && m.Kind != Folder {
		return nil, fault.Errorf(fault.Invalid, "a %s with parent %s and a name of %d bytes", m.Kind, m.Parent, len(m.Name))
	}
	if m.Name != "" {
		if err := CheckName(m.Name); err != nil {
			return nil, err
		}
	}
	switch m.Kind {
	case File:
		return decodeBody[FileBody](m.Body)
	case Folder:
		return decodeBody[FolderBody](m.Body)
	case Symlink:
		return decodeBody[SymlinkBody](m.Body)
	}
	return nil, fault.Errorf(fault.Upgrade, "an entry of unknown kind %d", uint8(m.Kind))
}

func decodeBody[B Body](data []byte) (Body, error) {
	var b B
	if err := canon.Unmarshal(data, &b); err != nil {
		return nil, err
	}
	return b, b.check()
}

func (b FileBody) check() error {
	err := b.Blocks.check()
	switch {
	case err != nil:
		return err
	case b.Size > MaxFileSize:
		return fault.Errorf(fault.Invalid, "a file of %d bytes", b.Size)
	case b.Blocks.Depth > 0:
		return checkSpan(b.Blocks.Pages, b.Size)
	}
	_, err = DecodeRefs(b.Blocks.Items, b.Size)
	return err
}

func (b FolderBody) check() error {
	err := b.Children.check()
	if err == nil && b.Children.Depth == 0 {
		_, err = DecodeChildren(b.Children.Items, b.Delta, "")
	}
	return err
}

func (b SymlinkBody) check() error { return CheckTarget(b.Target) }

// CheckTarget refuses what cannot be a symlink's target: empty, longer than
// 4,095 bytes, not UTF-8, or with a NUL. Where a target leads is not its concern.
func CheckTarget(target string) error {
	if target == "" || len(target) > MaxTarget || strings.Contains(target, "\x00") || !utf8.ValidString(target) {
		return fault.Errorf(fault.Invalid, "a symlink's target that is empty, too long, not UTF-8 or with a NUL")
	}
	return nil
}

func (l List) check() error {
	switch {
	case l.Depth > MaxDepth:
		return fault.Errorf(fault.Invalid, "a list %d levels deep", l.Depth)
	case l.Depth == 0 && (len(l.Pages) != 0 || len(l.Items) == 0),
		l.Depth > 0 && (len(l.Pages) == 0 || len(l.Items) != 0):
		return fault.Errorf(fault.Invalid, "a list with both items and pages, or neither")
	case len(l.Items) > InlineSize:
		return fault.Errorf(fault.Invalid, "a list of %d bytes in its manifest", len(l.Items))
	}
	return checkPages(l.Pages)
}

func checkPages(pages []Page) error {
	if len(pages) > PageItems {
		return fault.Errorf(fault.Invalid, "%d pages in one list", len(pages))
	}
	for _, p := range pages {
		if p.Ref.Hole() || p.Span == 0 || p.Span > MaxFileSize {
			return fault.Errorf(fault.Invalid, "a page that holds nothing, or too much")
		}
		if err := p.Ref.check(); err != nil {
			return err
		}
	}
	return nil
}

func (r Ref) check() error {
	switch {
	case r.Size == 0:
		return fault.Errorf(fault.Invalid, "an empty block")
	case r.Hole() && (!r.Key.IsZero() || r.Digest != [32]byte{}):
		return fault.Errorf(fault.Invalid, "a hole with a key")
	case r.Size > MaxFileSize, !r.Hole() && r.Size > MaxBlockSize:
		return fault.Errorf(fault.Invalid, "a block of %d bytes", r.Size)
	}
	return nil
}

// CheckName refuses what cannot be a name: empty, `.`, `..`, longer than 255
// bytes, not UTF-8, or with a slash or NUL.
func CheckName(name string) error {
	switch {
	case name == "":
		return fault.Errorf(fault.Invalid, "an empty name")
	case name == "." || name == "..":
		return fault.Errorf(fault.Invalid, "the name %q", name)
	case len(name) > MaxName:
		return fault.Errorf(fault.Invalid, "a name of %d bytes, longer than %d", len(name), MaxName)
	case strings.ContainsAny(name, "/\x00"):
		return fault.Errorf(fault.Invalid, "a name with a slash or NUL")
	case !utf8.ValidString(name):
		return fault.Errorf(fault.Invalid, "a name that is not UTF-8")
	}
	return nil
}

// EncodeItems returns the encoded form of part of a list, for [List.Items] or a page.
func EncodeItems[T Ref | Child | Page](items []T) []byte { return canon.Marshal(items) }

// DecodeRefs returns the refs in part of a file's list that measures span
// bytes of content: the file's size for the list in its manifest, the page's
// span for one in a page.
func DecodeRefs(data []byte, span uint64) ([]Ref, error) {
	refs, err := decodeItems(data, PageItems, Ref.check)
	if err != nil {
		return nil, err
	}
	var sum uint64
	for _, r := range refs {
		sum += r.Size
	}
	if sum != span {
		return nil, fault.Errorf(fault.Invalid, "blocks of %d bytes in place of %d", sum, span)
	}
	return refs, nil
}

// DecodePages returns the pages in a page of a higher level with this span.
func DecodePages(data []byte, span uint64) ([]Page, error) {
	pages, err := decodeItems(data, PageItems, func(Page) error { return nil })
	if err != nil {
		return nil, err
	}
	if err := checkPages(pages); err != nil {
		return nil, err
	}
	return pages, checkSpan(pages, span)
}

func checkSpan(pages []Page, span uint64) error {
	var sum uint64
	for _, p := range pages {
		sum += p.Span
	}
	if sum != span {
		return fault.Errorf(fault.Invalid, "pages that span %d in place of %d", sum, span)
	}
	return nil
}

// DecodeChildren returns the children in part of a folder's list, all of them
// behind the name after, which is the last one of the page before. Only a
// delta may hold removed ones. The caller compares their number with the
// page's span.
func DecodeChildren(data []byte, delta bool, after string) ([]Child, error) {
	last := after
	return decodeItems(data, MaxBlockSize/20, func(c Child) error {
		if err := CheckName(c.Name); err != nil {
			return err
		}
		if c.Name <= last {
			return fault.Errorf(fault.Invalid, "children are not by ascending name")
		}
		last = c.Name
		switch {
		case c.Removed() != (c.Kind == 0), c.Removed() && !delta:
			return fault.Errorf(fault.Invalid, "a child that is neither there nor removed")
		case c.Kind > Symlink:
			return fault.Errorf(fault.Upgrade, "a child of unknown kind %d", uint8(c.Kind))
		}
		return nil
	})
}

func decodeItems[T any](data []byte, most int, check func(T) error) ([]T, error) {
	var items []T
	if err := canon.Unmarshal(data, &items); err != nil {
		return nil, err
	}
	if len(items) > most {
		return nil, fault.Errorf(fault.Invalid, "a list of %d items, at most %d are allowed", len(items), most)
	}
	for _, item := range items {
		if err := check(item); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// Context is what a sealed manifest is bound to.
type Context struct {
	Organization id.Fingerprint
	Workspace    id.Workspace
	Entry        id.Entry
	Version      uint64
	Generation   uint64
}

// AssociatedData is authenticated beside the sealed manifest.
func (c Context) AssociatedData() []byte {
	return label.Manifest.Join(c.Organization[:], c.Workspace[:], c.Entry[:], label.Uint(c.Version), label.Uint(c.Generation))
}

// BlockAssociatedData is authenticated beside a sealed block.
func BlockAssociatedData(f id.Fingerprint, w id.Workspace, b id.Block) []byte {
	return label.Block.Join(f[:], w[:], b[:])
}
