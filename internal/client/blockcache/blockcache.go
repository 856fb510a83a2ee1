// Package blockcache keeps sealed blocks on the disk, exactly as the server
// sends them, so that what was read once needs no network. It is bounded: what
// was not used for longest goes. It opens nothing, and finds only what a disk
// does to a block: whoever gets one compares it with the digest in a manifest,
// as if it came from the server.
//
// Blocks are written and read side by side: no lock is held while the disk is
// waited for but those that keep a file from being removed.
//
// Invariants: a block that the disk has altered is not there; the files take no more than the budget and one segment; losing
// any of them loses time and no data, so nothing is ever synced.
package blockcache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"parsec/internal/base/id"
)

// Config says where a cache is and how large it may be.
type Config struct {
	// Dir is the cache's own folder; it is made when something is kept.
	Dir string
	// Budget is how many bytes the cache may take; 1 GiB by default.
	Budget int64
	// SegmentSize is the size of one file, at most 1 GiB; 64 MiB by default.
	SegmentSize int64
}

const (
	// MaxBlock is the longest sealed block that is kept, in bytes.
	MaxBlock = 8 << 20
	// mostBlocks is how many blocks are kept, since where each is takes some 70
	// bytes of memory.
	mostBlocks = 400_000
)

// Cache is an open cache. Its methods may be called from many goroutines.
type Cache struct {
	cfg Config
	mu  sync.RWMutex
	// The rest is guarded by mu.
	//
	// segments are the files, the oldest first; the last is written to.
	segments []*segment
	blocks   map[id.Block]place
	closed   bool
}

// place says which of a segment's blocks one is.
type place struct {
	segment *segment
	index   int
}

// segment is one file: blocks, each behind its id and length, and in a file
// that is not written to any more their index.
type segment struct {
	number uint64
	file   *os.File
	// What follows is guarded by the cache's mu.
	//
	// size is that of the blocks, index that of what stands behind them.
	size, index int64
	items       []item
	// going says that the file is about to be removed.
	going bool
	// using is held, shared, while the file is read or written to, and exclusively
	// to remove it.
	using sync.RWMutex
}

// item is a sealed block in a segment.
type item struct {
	id         id.Block
	at, length uint32
	sum        uint32
	used       uint32 // atomic: 1 if the block was read since it was written here
}

const (
	suffix    = ".blocks"
	frameSize = id.Size + 4 + 4 // id, length, checksum
	// An index has entries of id, offset, length and checksum, and ends with their
	// number and the magic number.
	entrySize = id.Size + 8 + 4 + 4
	endSize   = int64(4 + len(magic))
	magic     = "parsec blocks 1\n"
)

// Open opens the cache of a folder, which need not be there. What cannot be
// read of it is left out.
func Open(cfg Config) (*Cache, error) {
	if cfg.Budget == 0 {
		cfg.Budget = 1 << 30
	}
	if cfg.SegmentSize == 0 {
		cfg.SegmentSize = 64 << 20
	}
	cfg.SegmentSize = min(cfg.SegmentSize, 1<<30)
	c := &Cache{cfg: cfg, blocks: map[id.Block]place{}}
	items, err := os.ReadDir(cfg.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open block cache: %w", err)
	}
	for _, i := range items { // by name, which is by number
		text, ok := strings.CutSuffix(i.Name(), suffix)
		number, err := strconv.ParseUint(text, 16, 64)
		if !ok || err != nil {
			continue
		}
		if err := c.load(number); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

func (c *Cache) path(number uint64) string {
	return filepath.Join(c.cfg.Dir, fmt.Sprintf("%016x%s", number, suffix))
}

// load takes in a file of an earlier process.
func (c *Cache) load(number uint64) error {
	f, err := os.OpenFile(c.path(number), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open block cache: %w", err)
	}
	s := &segment{number: number, file: f}
	c.segments = append(c.segments, s)
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open block cache: %w", err)
	}
	if info.Size() > math.MaxUint32 {
		return nil // none of ours
	}
	if !c.readIndex(s, info.Size()) {
		c.readFrames(s, info.Size())
	}
	return nil
}

// readIndex takes in the index at the end of a file, if there is one.
func (c *Cache) readIndex(s *segment, size int64) bool {
	var end [endSize]byte
	if size < endSize {
		return false
	}
	if _, err := s.file.ReadAt(end[:], size-endSize); err != nil || string(end[4:]) != magic {
		return false
	}
	length := int64(binary.BigEndian.Uint32(end[:])) * entrySize
	start := size - endSize - length
	if start < 0 {
		return false
	}
	index := make([]byte, length)
	if _, err := s.file.ReadAt(index, start); err != nil {
		return false
	}
	s.size, s.index = start, size-start
	for ; len(index) > 0; index = index[entrySize:] {
		at, n := binary.BigEndian.Uint64(index[id.Size:]), binary.BigEndian.Uint32(index[id.Size+8:])
		if n <= MaxBlock && at <= uint64(start) && at+uint64(n) <= uint64(start) {
			c.add(s, item{id: id.Block(index[:id.Size]), at: uint32(at), length: n, sum: binary.BigEndian.Uint32(index[id.Size+12:])})
		}
	}
	return true
}

// readFrames takes in the blocks of a file without an index, up to where they
// make no sense.
func (c *Cache) readFrames(s *segment, size int64) {
	var frame [frameSize]byte
	for s.size+frameSize <= size {
		if _, err := s.file.ReadAt(frame[:], s.size); err != nil {
			return
		}
		b, n := id.Block(frame[:id.Size]), binary.BigEndian.Uint32(frame[id.Size:])
		if b.IsZero() || n > MaxBlock || s.size+frameSize+int64(n) > size {
			return // also what a killed process was about to write
		}
		c.add(s, item{id: b, at: uint32(s.size + frameSize), length: n, sum: binary.BigEndian.Uint32(frame[id.Size+4:])})
		s.size += frameSize + int64(n)
	}
}

// add notes a block; the caller holds mu.
func (c *Cache) add(s *segment, i item) {
	c.blocks[i.id] = place{s, len(s.items)}
	s.items = append(s.items, i)
}

// Get appends the sealed block to dst, if it is there.
func (c *Cache) Get(b id.Block, dst []byte) ([]byte, bool) {
	c.mu.RLock()
	at, ok := c.blocks[b]
	if !ok || c.closed {
		c.mu.RUnlock()
		return dst, false
	}
	s := at.segment
	atomic.StoreUint32(&s.items[at.index].used, 1)
	i := s.items[at.index]
	s.using.RLock() // before the file can be removed
	c.mu.RUnlock()
	start := len(dst)
	dst = slices.Grow(dst, int(i.length))[:start+int(i.length)]
	_, err := s.file.ReadAt(dst[start:], int64(i.at))
	s.using.RUnlock()
	if err != nil || checksum(dst[start:]) != i.sum {
		c.forget(b, at)
		return dst[:start], false
	}
	return dst, true
}

// checksum finds what a disk does to a block.
func checksum(sealed []byte) uint32 { return crc32.Checksum(sealed, crc32.MakeTable(crc32.Castagnoli)) }

// forget forgets a block that cannot be read, so that it is kept anew.
func (c *Cache) forget(b id.Block, at place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks[b] == at {
		delete(c.blocks, b)
	}
}

// Has reports whether a block is there.
func (c *Cache) Has(b id.Block) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, ok := c.blocks[b]
	return ok
}

// Put keeps a sealed block. Whoever cannot keep one loses time only, and need
// not act on the error.
func (c *Cache) Put(b id.Block, sealed []byte) error {
	if len(sealed) > MaxBlock || int64(len(sealed)) > c.cfg.Budget {
		return nil
	}
	if err := c.write(b, sealed, false); err != nil {
		return fmt.Errorf("keep block: %w", err)
	}
	if err := c.shrink(); err != nil {
		return fmt.Errorf("make room for blocks: %w", err)
	}
	return nil
}

// write appends a block to the last segment, unless it is there; again says that
// it is to be. No lock but that of the file is held while the disk is waited for:
// others read and write meanwhile.
func (c *Cache) write(b id.Block, sealed []byte, again bool) error {
	i := item{id: b, length: uint32(len(sealed)), sum: checksum(sealed)}
	to, err := c.reserve(&i, again)
	if to.segment == nil || err != nil {
		return err
	}
	var frame [frameSize]byte
	copy(frame[:], b[:])
	binary.BigEndian.PutUint32(frame[id.Size:], i.length)
	binary.BigEndian.PutUint32(frame[id.Size+4:], i.sum)
	_, err = to.segment.file.WriteAt(sealed, int64(i.at))
	if err == nil {
		_, err = to.segment.file.WriteAt(frame[:], int64(i.at)-frameSize)
	}
	to.segment.using.RUnlock()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !to.segment.going {
		c.blocks[b] = to
	}
	return nil
}

// reserve finds room for a block at the end of a segment, which is in use then; no
// segment means that it is not to be written.
func (c *Cache) reserve(i *item, again bool) (place, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.blocks[i.id]; ok && !again || c.closed {
		return place{}, nil
	}
	s, err := c.last()
	if err != nil {
		return place{}, err
	}
	i.at = uint32(s.size + frameSize)
	s.size += frameSize + int64(i.length)
	s.items = append(s.items, *i)
	s.using.RLock()
	return place{s, len(s.items) - 1}, nil
}

// last returns the segment that is written to, which is new where there is
// none or it is full; the caller holds mu.
func (c *Cache) last() (*segment, error) {
	next := uint64(1)
	if n := len(c.segments); n > 0 {
		s := c.segments[n-1]
		if s.index == 0 && s.size < c.cfg.SegmentSize {
			return s, nil
		}
		if err := c.finish(s); err != nil {
			return nil, err
		}
		next = s.number + 1
	}
	if err := os.MkdirAll(c.cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(c.path(next), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	s := &segment{number: next, file: f}
	c.segments = append(c.segments, s)
	return s, nil
}

// finish writes the index of a segment; the caller holds mu.
func (c *Cache) finish(s *segment) error {
	if s.index > 0 {
		return nil
	}
	index := make([]byte, 0, len(s.items)*entrySize+int(endSize))
	for _, i := range s.items {
		index = append(index, i.id[:]...)
		index = binary.BigEndian.AppendUint64(index, uint64(i.at))
		index = binary.BigEndian.AppendUint32(index, i.length)
		index = binary.BigEndian.AppendUint32(index, i.sum)
	}
	index = binary.BigEndian.AppendUint32(index, uint32(len(s.items)))
	index = append(index, magic...)
	if _, err := s.file.WriteAt(index, s.size); err != nil {
		return err
	}
	s.index = int64(len(index))
	return s.file.Truncate(s.size + s.index)
}

// shrink removes the oldest segments until the budget is kept. Their blocks
// that were used move to the end, so that what stays is what was used last: at
// most half of a segment, so that making room always makes some.
func (c *Cache) shrink() error {
	for {
		s, used := c.oldest()
		if s == nil {
			return nil
		}
		left := s.size / 2
		var sealed []byte
		for _, i := range used {
			if left -= int64(i.length); left < 0 {
				break
			}
			sealed = slices.Grow(sealed[:0], int(i.length))[:i.length]
			if _, err := s.file.ReadAt(sealed, int64(i.at)); err != nil || checksum(sealed) != i.sum {
				continue
			}
			if err := c.write(i.id, sealed, true); err != nil {
				return errors.Join(err, c.remove(s))
			}
		}
		if err := c.remove(s); err != nil {
			return err
		}
	}
}

// oldest returns the segment to remove next, and the blocks of it that were used;
// nil if there is no need.
func (c *Cache) oldest() (s *segment, used []item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.segments, func(s *segment) bool { return !s.going })
	if c.size() <= c.cfg.Budget && len(c.blocks) <= mostBlocks || i < 0 || i >= len(c.segments)-1 || c.closed {
		return nil, nil
	}
	s = c.segments[i]
	s.going = true
	for n := range s.items {
		if atomic.LoadUint32(&s.items[n].used) == 1 && c.blocks[s.items[n].id] == (place{s, n}) {
			used = append(used, s.items[n])
		}
	}
	return s, used
}

// remove removes a segment that is going, and the blocks that are nowhere else.
func (c *Cache) remove(s *segment) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.segments = slices.DeleteFunc(c.segments, func(other *segment) bool { return other == s })
	for _, i := range s.items {
		if c.blocks[i.id].segment == s {
			delete(c.blocks, i.id)
		}
	}
	c.mu.Unlock()
	s.using.Lock()
	defer s.using.Unlock()
	return errors.Join(s.file.Close(), os.Remove(c.path(s.number)))
}

// size returns what the files take, but for those that are going; the caller holds mu.
func (c *Cache) size() (n int64) {
	for _, s := range c.segments {
		if !s.going {
			n += s.size + s.index
		}
	}
	return n
}

// Size returns how many bytes the files take.
func (c *Cache) Size() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.size()
}

// Close closes the files. What is asked of a closed cache is not there.
func (c *Cache) Close() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	for _, s := range c.segments {
		s.using.Lock()
		err = errors.Join(err, s.file.Close())
		s.using.Unlock()
	}
	return err
}
