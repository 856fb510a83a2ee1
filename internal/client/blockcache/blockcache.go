// Package blockcache keeps sealed blocks on the disk, exactly as the server
// sends them, so that what was read once needs no network. It is bounded: what
// was not used for longest goes. It opens nothing, and finds only what a disk
// does to a block: whoever gets one compares it with the digest in a manifest,
// as if it came from the server.
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
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"parsec/internal/base/id"
)

// Config says where a cache is and how large it may be.
type Config struct {
	// Dir is the cache's own folder; it is made when something is kept.
	Dir string
	// Budget is how many bytes the cache may take; 1 GiB by default.
	Budget int64
	// SegmentSize is the size of one file; 16 MiB by default.
	SegmentSize int64
}

// MaxBlock is the longest sealed block that is kept, in bytes.
const MaxBlock = 8 << 20

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

// segment is one file: blocks, each behind its id and length, and in a file
// that is not written to any more their index.
type segment struct {
	number uint64
	file   *os.File
	// size is that of the blocks, index that of what stands behind them.
	size, index int64
	// used are the blocks that were read since they were written here.
	used map[id.Block]bool
	// using is held, shared, while the file is read, and exclusively to remove it.
	using sync.RWMutex
}

// place is where a sealed block stands.
type place struct {
	segment *segment
	at      int64
	length  uint32
	sum     uint32
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
		cfg.SegmentSize = 16 << 20
	}
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
	s := &segment{number: number, file: f, used: map[id.Block]bool{}}
	c.segments = append(c.segments, s)
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open block cache: %w", err)
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
			c.blocks[id.Block(index[:id.Size])] = place{s, int64(at), n, binary.BigEndian.Uint32(index[id.Size+12:])}
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
		n := binary.BigEndian.Uint32(frame[id.Size:])
		if n > MaxBlock || s.size+frameSize+int64(n) > size {
			return
		}
		c.blocks[id.Block(frame[:id.Size])] = place{s, s.size + frameSize, n, binary.BigEndian.Uint32(frame[id.Size+4:])}
		s.size += frameSize + int64(n)
	}
}

// Get appends the sealed block to dst, if it is there.
func (c *Cache) Get(b id.Block, dst []byte) ([]byte, bool) {
	c.mu.RLock()
	at, ok := c.blocks[b]
	used := ok && at.segment.used[b]
	if !ok || c.closed {
		c.mu.RUnlock()
		return dst, false
	}
	at.segment.using.RLock() // before the file can be removed
	c.mu.RUnlock()
	start := len(dst)
	dst = slices.Grow(dst, int(at.length))[:start+int(at.length)]
	_, err := at.segment.file.ReadAt(dst[start:], at.at)
	at.segment.using.RUnlock()
	if err != nil || checksum(dst[start:]) != at.sum {
		c.forget(b, at)
		return dst[:start], false
	}
	if !used {
		c.touch(b)
	}
	return dst, true
}

// checksum finds what a disk does to a block.
func checksum(sealed []byte) uint32 { return crc32.Checksum(sealed, crc32.MakeTable(crc32.Castagnoli)) }

// touch notes that a block was used. The segment may be gone by then.
func (c *Cache) touch(b id.Block) {
	if !c.mu.TryLock() { // a hint is not worth waiting for
		return
	}
	defer c.mu.Unlock()
	if at, ok := c.blocks[b]; ok {
		at.segment.used[b] = true
	}
}

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
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.blocks[b]; ok || c.closed || len(sealed) > MaxBlock || int64(len(sealed)) > c.cfg.Budget {
		return nil
	}
	if err := c.write(b, sealed); err != nil {
		return fmt.Errorf("keep block: %w", err)
	}
	if err := c.shrink(); err != nil {
		return fmt.Errorf("make room for blocks: %w", err)
	}
	return nil
}

// write appends a block to the last segment; the caller holds mu.
func (c *Cache) write(b id.Block, sealed []byte) error {
	s, err := c.last()
	if err != nil {
		return err
	}
	frame := make([]byte, 0, frameSize+len(sealed))
	frame = append(frame, b[:]...)
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(sealed)))
	sum := checksum(sealed)
	frame = binary.BigEndian.AppendUint32(frame, sum)
	frame = append(frame, sealed...)
	if _, err := s.file.WriteAt(frame, s.size); err != nil {
		return err
	}
	c.blocks[b] = place{s, s.size + frameSize, uint32(len(sealed)), sum}
	s.size += int64(len(frame))
	return nil
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
	s := &segment{number: next, file: f, used: map[id.Block]bool{}}
	c.segments = append(c.segments, s)
	return s, nil
}

// finish writes the index of a segment; the caller holds mu.
func (c *Cache) finish(s *segment) error {
	if s.index > 0 {
		return nil
	}
	var index []byte
	for b, at := range c.blocks {
		if at.segment == s {
			index = append(index, b[:]...)
			index = binary.BigEndian.AppendUint64(index, uint64(at.at))
			index = binary.BigEndian.AppendUint32(index, at.length)
			index = binary.BigEndian.AppendUint32(index, at.sum)
		}
	}
	index = binary.BigEndian.AppendUint32(index, uint32(len(index)/entrySize))
	index = append(index, magic...)
	if _, err := s.file.WriteAt(index, s.size); err != nil {
		return err
	}
	s.index = int64(len(index))
	return s.file.Truncate(s.size + s.index)
}

// shrink removes the oldest segments until the budget is kept. Their blocks
// that were used move to the end, so that what stays is what was used last.
// The caller holds mu.
func (c *Cache) shrink() error {
	for c.size() > c.cfg.Budget && len(c.segments) > 1 {
		s := c.segments[0]
		again := c.worthKeeping(s)
		c.segments = c.segments[1:]
		for b, at := range c.blocks {
			if at.segment == s {
				delete(c.blocks, b)
			}
		}
		for b, sealed := range again {
			if err := c.write(b, sealed); err != nil {
				return err
			}
		}
		if err := c.remove(s); err != nil {
			return err
		}
	}
	return nil
}

// worthKeeping reads the blocks of a segment that were used, at most half of
// it, so that making room always makes some.
func (c *Cache) worthKeeping(s *segment) map[id.Block][]byte {
	again := map[id.Block][]byte{}
	left := s.size / 2
	for b := range s.used {
		at, ok := c.blocks[b]
		if !ok || at.segment != s || int64(at.length) > left {
			continue
		}
		sealed := make([]byte, at.length)
		if _, err := s.file.ReadAt(sealed, at.at); err == nil {
			again[b] = sealed
			left -= int64(at.length)
		}
	}
	return again
}

func (c *Cache) remove(s *segment) error {
	s.using.Lock()
	defer s.using.Unlock()
	return errors.Join(s.file.Close(), os.Remove(c.path(s.number)))
}

// size returns what the files take; the caller holds mu.
func (c *Cache) size() (n int64) {
	for _, s := range c.segments {
		n += s.size + s.index
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
