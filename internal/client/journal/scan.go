package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"parsec/internal/base/durable"
	"parsec/internal/base/fault"
)

// Damage is a part of the journal, behind which this device had made other
// parts durable, that does not hold what the device wrote.
type Damage struct {
	// Path is the file's.
	Path string
	// Offset and Length say which part of it.
	Offset, Length int64
}

// Error says where the damage is.
func (d Damage) Error() string {
	return fmt.Sprintf("%s is damaged: %d bytes from offset %d on are not what this device wrote", d.Path, d.Length, d.Offset)
}

// A spot is a place in the journal.
type spot struct {
	segment uint64
	at      int64
}

func (s spot) before(other spot) bool {
	return s.segment < other.segment || s.segment == other.segment && s.at < other.at
}

// scan is what stands in the segments of a folder.
type scan struct {
	cfg      Config
	segments []*segment
	frames   []scanned
	gaps     []gap
	// synced is up to where everything is known to have been on the disk.
	synced spot
}

// scanned is a frame of a record, without its payload.
type scanned struct {
	spot
	head
	bytes []byte
}

// gap is where frames should be and are not.
type gap struct {
	spot
	length int64
	path   string
	// sure says that it is no part of what a crash may leave.
	sure bool
}

// readAll reads all segments and decides what is torn and what is damaged.
func (s *scan) readAll() error {
	paths, err := segmentPaths(s.cfg.Dir)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := s.readSegment(path); err != nil {
			return err
		}
	}
	torn, err := s.tear()
	if err != nil || torn == nil {
		return err
	}
	return s.cut(*torn)
}

const suffix = ".journal"

func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, suffix) }

// segmentPaths returns the segments of a folder in order.
func segmentPaths(dir string) ([]string, error) {
	items, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	var paths []string
	for _, i := range items { // by name, which is by number
		if text, ok := strings.CutSuffix(i.Name(), suffix); ok {
			if _, err := strconv.ParseUint(text, 16, 64); err == nil {
				paths = append(paths, filepath.Join(dir, i.Name()))
			}
		}
	}
	return paths, nil
}

func (s *scan) readSegment(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open journal: %w", err), f.Close())
	}
	name, _ := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), suffix), 16, 64)
	g := &segment{header: header{number: name}, path: path, file: f, size: info.Size()}
	s.segments = append(s.segments, g)
	b := make([]byte, headerSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read journal: %w", err)
	}
	h, ok := decodeHeader(b[:n])
	if ok {
		if g.sealer, err = newSealer(s.cfg.Key, s.cfg.Device, s.cfg.Workspace, h); err != nil {
			return err
		}
	}
	if !ok || h.number != name || !bytes.Equal(g.sealer.proof(), b[headerSize-tagSize:]) {
		// A header was durable before anything followed it.
		s.gaps = append(s.gaps, gap{spot{name, 0}, g.size, path, g.size > int64(headerSize)})
		return nil
	}
	g.header = h
	return s.readFrames(g)
}

// readFrames reads the frames of a segment, over what is none, to its end.
func (s *scan) readFrames(g *segment) error {
	at := int64(headerSize)
	for at < g.size {
		h, body, err := g.readFrame(at)
		if errors.Is(err, errFrame) {
			next, err := g.find(at + align)
			if err != nil {
				return err
			}
			s.gaps = append(s.gaps, gap{spot{g.number, at}, next - at, g.path, false})
			at = next
			continue
		}
		if err != nil {
			return err
		}
		switch h.kind {
		case kindRecord:
			s.frames = append(s.frames, scanned{spot{g.number, at}, h, body})
		case kindSynced:
			if to := (spot{h.number, int64(h.body) * align}); s.synced.before(to) {
				s.synced = to
			}
		case kindEnd:
			g.ended = true
			g.size = at + h.size()
			return nil
		}
		at += h.size()
	}
	if !g.ended {
		s.gaps = append(s.gaps, gap{spot{g.number, at}, 0, g.path, false})
	}
	return nil
}

// readFrame reads the frame at an offset, without its payload.
func (g *segment) readFrame(at int64) (head, []byte, error) {
	var sealed [headSize]byte
	if err := g.readAt(sealed[:], at); err != nil {
		return head{}, nil, err
	}
	h, err := g.sealer.openHead(at, sealed[:])
	if err != nil {
		return h, nil, err
	}
	if h.kind != kindRecord {
		return h, nil, nil
	}
	if at+h.size() > g.size {
		return h, nil, errFrame
	}
	body := make([]byte, sealedSize(h.body))
	if err := g.readAt(body, at+headSize); err != nil {
		return h, nil, err
	}
	body, err = g.sealer.open(partBody, at, body)
	return h, body, err
}

// readAt reads all of p, or finds that the file ends before.
func (g *segment) readAt(p []byte, at int64) error {
	_, err := g.file.ReadAt(p, at)
	if errors.Is(err, io.EOF) {
		return errFrame
	}
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	return nil
}

// find returns the offset of the next frame that opens, or the file's size.
func (g *segment) find(from int64) (int64, error) {
	r := bufio.NewReaderSize(io.NewSectionReader(g.file, from, max(0, g.size-from)), 1<<20)
	for at := from; ; at += align {
		sealed, err := r.Peek(headSize)
		if errors.Is(err, io.EOF) {
			return max(from, g.size), nil
		}
		if err != nil {
			return 0, fmt.Errorf("read journal: %w", err)
		}
		if !bytes.Equal(sealed, zeros[:headSize]) { // as they are laid ahead
			if _, err := g.sealer.openHead(at, sealed); err == nil {
				return at, nil
			}
		}
		if _, err := r.Discard(align); err != nil {
			return 0, fmt.Errorf("read journal: %w", err)
		}
	}
}

// tear returns where the journal is torn: at the first gap that nothing proves
// to be damage. The payloads behind what is known to be synced are read, for a
// torn file may have them in parts.
func (s *scan) tear() (*spot, error) {
	var torn *spot
	if i := slices.IndexFunc(s.gaps, func(g gap) bool { return !g.sure && !g.before(s.synced) }); i >= 0 {
		torn = &s.gaps[i].spot
	}
	for _, f := range s.frames {
		if f.before(s.synced) || f.payload == 0 || torn != nil && !f.before(*torn) {
			continue
		}
		g := s.segment(f.segment)
		_, err := g.readPayload(f.at, f.head)
		if errors.Is(err, errFrame) {
			torn = &f.spot
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return torn, nil
}

func (s *scan) segment(number uint64) *segment {
	return s.segments[slices.IndexFunc(s.segments, func(g *segment) bool { return g.number == number })]
}

// cut removes what stands behind a torn place, and ends the segment there.
func (s *scan) cut(torn spot) error {
	s.frames = slices.DeleteFunc(s.frames, func(f scanned) bool { return !f.before(torn) })
	s.gaps = slices.DeleteFunc(s.gaps, func(g gap) bool { return !g.before(torn) })
	kept := s.segments[:0]
	for _, g := range s.segments {
		switch {
		case g.number < torn.segment:
			kept = append(kept, g)
		case g.number > torn.segment || torn.at < int64(headerSize):
			if err := g.remove(); err != nil {
				return err
			}
		default:
			if err := g.end(torn.at); err != nil {
				return err
			}
			kept = append(kept, g)
		}
	}
	s.segments = kept
	if len(kept) == 0 {
		return nil
	}
	return durable.SyncDir(s.cfg.Dir)
}

// end cuts a segment off at an offset and ends it there.
func (g *segment) end(at int64) error {
	err := g.file.Truncate(at)
	if err == nil {
		_, err = g.file.WriteAt(g.sealer.appendFrame(nil, at, head{kind: kindEnd}, nil, nil), at)
	}
	if err == nil {
		err = g.file.Sync()
	}
	if err != nil {
		return fault.WithHint(fmt.Errorf("mend journal %s: %w", g.path, err), "nothing is lost; check the disk that holds it and try again")
	}
	g.size, g.ended = at+head{kind: kindEnd}.size(), true
	return nil
}
