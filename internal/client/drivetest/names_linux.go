package drivetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// few is how many nodes there are before more are removed than made.
	few      = 120
	maxDepth = 6
	// many is how many files the large folder has: more than one call lists.
	many     = 120
	bigName  = "many"
	nameSlot = 5
)

// alphabet are the names that are given: few, so that operations meet, and some
// that programs trip over.
var alphabet = []string{
	"a", "b", "c", "d", "e", "f", ".hidden", "with space", "ünï", "u\u0308", "A", "con", "a:b*?", "new\nline", "$x", "x.tmp",
	strings.Repeat("l", maxName), strings.Repeat("ö", 127) + "o",
}

// held is an open file.
type held struct {
	fd   int
	node *node
}

// names is the machine of [Names].
type names struct {
	folder  string
	refused map[string]syscall.Errno
	root    *node
	open    [nameSlot]*held
	// begun says that the first operation was chosen.
	begun bool
}

// nameOp is an operation of [Names].
type nameOp struct {
	kind    string
	path    string
	other   string // the second path, or a symlink's target, or content
	flags   int    // of open or rename; 1 to follow symlinks
	mode    int
	slot    int
	time    int64
	add     []string
	removed []string
}

// String is the line of the log.
func (op nameOp) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q", op.kind, op.path)
	if op.other != "" {
		fmt.Fprintf(&b, " %q", op.other)
	}
	short := b.String()
	for _, long := range []string{"l", "ö", "n"} {
		short = strings.ReplaceAll(short, strings.Repeat(long, 127), "("+long+" 127 times)")
	}
	b.Reset()
	fmt.Fprintf(&b, "%s flags %#x mode %#o slot %d", short, op.flags, op.mode, op.slot)
	if op.kind == "set time" {
		fmt.Fprintf(&b, " time %d ns", op.time)
	}
	if op.kind == "list while changing" {
		fmt.Fprintf(&b, " add %q remove %q", op.add, op.removed)
	}
	return b.String()
}

func startNames(folder string, o Options) (machine[nameOp], error) {
	return &names{folder: folder, refused: o.Refused, root: newNode(unix.S_IFDIR)}, nil
}

func (m *names) close() {
	for _, h := range m.open {
		if h != nil {
			_ = unix.Close(h.fd)
		}
	}
}

func (m *names) path(p string) string {
	if p == "" {
		return m.folder
	}
	return m.folder + "/" + p // not cleaned: the system is to follow it as it is
}

// do does an operation, unless it leads to where the model knows nothing.
func (m *names) do(op nameOp) error { return nameKinds()[op.kind].do(m, op) }

// choice is what operations are chosen from.
type choice struct {
	r *rand.Rand
	// paths lead to what is there, folders to the folders among it.
	paths, folders []string
}

func (m *names) choices(r *rand.Rand) choice {
	c := choice{r: r, folders: []string{""}}
	m.root.each("", func(p string, n *node) {
		if n.parent != m.root.children[bigName] || r.IntN(30) == 0 {
			c.paths = append(c.paths, p)
		}
		if n.kind == unix.S_IFDIR {
			c.folders = append(c.folders, p)
		}
	})
	if len(c.paths) == 0 {
		c.paths = alphabet[:1]
	}
	return c
}

// known is a path that leads to something, mostly.
func (c choice) known() string {
	if c.r.IntN(12) == 0 {
		return c.fresh()
	}
	return c.paths[c.r.IntN(len(c.paths))]
}

// fresh is a path in a folder that is there, mostly.
func (c choice) fresh() string {
	name := alphabet[c.r.IntN(len(alphabet))]
	switch c.r.IntN(24) {
	case 0:
		return join(c.paths[c.r.IntN(len(c.paths))], name) // perhaps below a file or through a symlink
	case 1:
		return join(join(c.folder(), name), name)
	case 2:
		return join(c.folder(), strings.Repeat("n", maxName+1))
	}
	return join(c.folder(), name)
}

// folder is a path of a folder that is not too deep.
func (c choice) folder() string {
	for {
		if p := c.folders[c.r.IntN(len(c.folders))]; strings.Count(p, "/") < maxDepth-1 {
			return p
		}
	}
}

// target is where a symlink leads: out of some folders, and into others.
func (c choice) target(path string) string {
	up := c.r.IntN(1 + min(strings.Count(path, "/"), 2))
	p := strings.Repeat("../", up)
	for range 1 + c.r.IntN(2) {
		p += alphabet[c.r.IntN(len(alphabet)-2)] + "/"
	}
	if c.r.IntN(6) == 0 && up > 0 {
		p = strings.Repeat("../", up)
	}
	return strings.TrimSuffix(p, "/")
}

func (m *names) next(r *rand.Rand) nameOp {
	if !m.begun {
		m.begun = true
		return nameOp{kind: "fill folder", path: bigName}
	}
	c := m.choices(r)
	kinds, order := nameKinds(), nameOrder()
	weight := func(name string) int {
		k := kinds[name]
		switch {
		case k.onlyRefused && m.refused[name] == 0:
			return 0
		case k.removes && len(c.paths) > few:
			return 6 * k.weight
		}
		return k.weight
	}
	total := 0
	for _, name := range order {
		total += weight(name)
	}
	n := r.IntN(total)
	for _, name := range order {
		if n -= weight(name); n < 0 {
			op := nameOp{kind: name, slot: r.IntN(nameSlot)}
			kinds[name].choose(m, c, &op)
			return op
		}
	}
	panic("no operation")
}

// check compares the whole tree.
func (m *names) check() error {
	all := []error{m.list(""), m.stat("", false)}
	numbers := map[uint64]string{}
	m.root.each("", func(p string, n *node) {
		err := m.stat(p, false)
		switch n.kind {
		case unix.S_IFDIR:
			err = errors.Join(err, m.list(p))
		case unix.S_IFLNK:
			err = errors.Join(err, m.readLink(nameOp{path: p}))
		default:
			err = errors.Join(err, m.readFile(p, n))
		}
		if len(n.numbers) == 1 {
			if other, taken := numbers[n.numbers[0]]; taken {
				err = errors.Join(err, fmt.Errorf("it has the inode number of %q", other))
			}
			numbers[n.numbers[0]] = p
		}
		if err != nil {
			all = append(all, fmt.Errorf("at the end, %q: %w", p, err))
		}
	})
	for i, h := range m.open {
		if h != nil {
			if err := m.useHeld(h); err != nil {
				all = append(all, fmt.Errorf("at the end, slot %d: %w", i, err))
			}
		}
	}
	return errors.Join(all...)
}

// stat compares what is said of what a path leads to.
func (m *names) stat(path string, follow bool) error {
	at, want := m.root.resolve(path, follow)
	if want == outside {
		return nil
	}
	if want == 0 && at.node == nil {
		want = unix.ENOENT
	}
	flags := unix.AT_SYMLINK_NOFOLLOW
	if follow {
		flags = 0
	}
	var st unix.Stat_t
	err := again(func() error { return unix.Fstatat(unix.AT_FDCWD, m.path(path), &st, flags) })
	if err := differ(err, want); err != nil || want != 0 {
		return err
	}
	return at.node.said(&st)
}

// said compares what is said of a node.
func (n *node) said(st *unix.Stat_t) error {
	links, size := uint64(1), st.Size
	switch n.kind {
	case unix.S_IFREG:
		size = int64(len(n.content))
	case unix.S_IFLNK:
		size = int64(len(n.target))
	}
	if n.removed {
		links = 0
	}
	switch {
	case st.Mode&unix.S_IFMT != n.kind:
		return fmt.Errorf("the kind is %#o, the model's %#o", st.Mode&unix.S_IFMT, n.kind)
	case st.Size != size:
		return fmt.Errorf("the size is %d, the model's %d", st.Size, size)
	case n.kind != unix.S_IFDIR && uint64(st.Nlink) != links, n.kind == unix.S_IFDIR && !n.removed && st.Nlink == 0:
		return fmt.Errorf("the number of links is %d, the model's %d", st.Nlink, links)
	case n.kind == unix.S_IFREG && st.Mode&0o100 != 0 != n.executable:
		return fmt.Errorf("the mode is %#o, in the model it is executable: %t", st.Mode, n.executable)
	case n.modified != nil && unix.TimespecToNsec(st.Mtim) != *n.modified:
		return fmt.Errorf("the time of modification is %d ns, the model's %d ns", unix.TimespecToNsec(st.Mtim), *n.modified)
	}
	return n.number(st.Ino)
}

// number compares an inode number, or notes the first one.
func (n *node) number(number uint64) error {
	switch {
	case number == 0:
		return errors.New("the inode number is 0")
	case len(n.numbers) == 0:
		n.numbers = []uint64{number}
	case !slices.Contains(n.numbers, number):
		return fmt.Errorf("the inode number is %d, before it was %d", number, n.numbers)
	}
	return nil
}

// readFile compares a file's content.
func (m *names) readFile(path string, n *node) error {
	p, err := os.ReadFile(filepath.Join(m.folder, path))
	if err != nil {
		return differ(err, 0)
	}
	if string(p) != n.content {
		return fmt.Errorf("the content is %q, the model's %q", p, n.content)
	}
	return nil
}

// useHeld compares what there is of an open file.
func (m *names) useHeld(h *held) error {
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		return differ(err, 0)
	}
	p := make([]byte, len(h.node.content)+1)
	n := 0
	err := again(func() (err error) { n, err = unix.Pread(h.fd, p, 0); return err })
	if err != nil {
		return differ(err, 0)
	}
	if string(p[:n]) != h.node.content {
		return fmt.Errorf("the content is %q, the model's %q", p[:n], h.node.content)
	}
	return h.node.said(&st)
}
