// Package journal keeps what a device did and has not committed yet: records
// of a body and a payload, sealed, in append-only segments, one journal for
// each workspace. It does not know what records mean; see package overlay.
//
// Invariants:
//   - After a kill, what is there is a prefix of what was appended that
//     includes all of the last Flush; after power loss, of the last Sync.
//   - No nonce is used twice under a key: a nonce is a place in a segment, each
//     segment has a key of its own, and one that was opened again is never
//     appended to.
//   - What is damaged is told from what a crash has torn: only behind the last
//     Sync can anything be torn. Damage costs what it covers and nothing else.
//   - Nothing is removed before what lives of it is durable elsewhere.
package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"parsec/internal/base/durable"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
)

// Bounds of a record.
const (
	// MaxBody is the longest body in bytes. Bodies are in memory at replay.
	MaxBody = 16 << 20
	// MaxPayload is the longest payload in bytes.
	MaxPayload = 128 << 10
)

// flushSize is how much is gathered before it is written without being asked.
const flushSize = 1 << 20

// Config says where a journal is and under which key.
type Config struct {
	// Dir is the journal's own folder; it is made when something is appended.
	Dir string
	// Key is the device storage key.
	Key       secret.Key
	Device    id.Device
	Workspace id.Workspace
	// SegmentSize is from which size on a segment is followed by another;
	// 64 MiB by default.
	SegmentSize int64
}

// Record is one record as it is replayed.
type Record struct {
	Number uint64
	// Body belongs to the receiver.
	Body []byte
	// Payload is the length of the payload, which [Journal.ReadAt] reads.
	Payload int
}

// Journal is an open journal. Its methods may be called from many goroutines.
type Journal struct {
	cfg Config
	// compacting is held by the one compaction at a time; taken before syncing and mu.
	compacting sync.Mutex
	// syncing is held by the one sync at a time; taken before mu.
	syncing sync.Mutex
	mu      sync.RWMutex
	// The rest is guarded by mu.
	//
	// segments are all on the disk, by number; active is the last of them while
	// it is appended to, and nil otherwise.
	segments map[uint64]*segment
	active   *segment
	// buffer holds what belongs at the end of active and is not written yet.
	buffer []byte
	// live says where the records stand that were not released.
	live map[uint64]place
	// next is the number of the next record, nextSegment that of the next segment.
	next, nextSegment uint64
	// unsynced are segments that were written to since the last sync.
	unsynced map[uint64]*segment
	// synced is up to where the last sync reached, and whether a frame says so.
	synced spot
	noted  bool
	// inches counts the syncs in a row that made the file a little longer.
	inches int
	// failed is why nothing can be made durable any more.
	failed error
	closed bool
}

// segment is one file.
type segment struct {
	header
	sealer sealer
	path   string
	file   *os.File
	// size is that of all frames, written or in the buffer; laid is how long the
	// file is, with the zeros behind them, and grown says that it was shorter at
	// the last sync.
	size, laid int64
	grown      bool
	// live is how much of it the live records take, dead how much others do.
	live, dead int64
	// ended says that an end stands at its end.
	ended bool
	// damaged says that the file is kept aside when it would be removed.
	damaged bool
	// using is held, shared, while the file is read, and exclusively to close it.
	using sync.RWMutex
}

// place is where a record stands.
type place struct {
	spot
	head
}

// Open opens the journal of a folder, which need not be there, and replays
// every record that is intact, by ascending number. Damage is returned, beside
// a journal that works.
func Open(cfg Config, replay func(Record) error) (*Journal, []Damage, error) {
	if cfg.SegmentSize == 0 {
		cfg.SegmentSize = 64 << 20
	}
	s := scan{cfg: cfg}
	j := &Journal{cfg: cfg, segments: map[uint64]*segment{}, live: map[uint64]place{}, unsynced: map[uint64]*segment{}}
	err := s.readAll()
	for _, g := range s.segments {
		j.segments[g.number] = g
		j.nextSegment = max(j.nextSegment, g.number)
	}
	if err == nil {
		err = j.take(s, replay)
	}
	if err == nil {
		err = j.settle()
	}
	if err != nil {
		return nil, nil, errors.Join(err, j.closeFiles())
	}
	var damage []Damage
	for _, g := range s.gaps {
		j.segments[g.segment].damaged = true
		damage = append(damage, Damage{g.path, g.at, g.length})
	}
	return j, damage, nil
}

// settle makes durable what a killed process had only handed to the kernel.
func (j *Journal) settle() error {
	for _, g := range j.segments {
		if err := datasync(g.file); err != nil {
			return fmt.Errorf("sync journal %s: %w", g.path, err)
		}
	}
	j.synced, j.noted = j.end(), true
	return nil
}

// take takes in what a scan has found. Of two frames of one record, the later
// is the copy that a compaction was making of the other.
func (j *Journal) take(s scan, replay func(Record) error) error {
	j.next, j.nextSegment = 1, j.nextSegment+1
	for _, g := range s.segments {
		j.next = max(j.next, g.next)
	}
	for _, f := range s.frames {
		j.next = max(j.next, f.number+1)
	}
	slices.SortStableFunc(s.frames, func(a, b scanned) int { return cmp.Compare(a.number, b.number) })
	for i, f := range s.frames {
		if i+1 < len(s.frames) && s.frames[i+1].number == f.number {
			continue
		}
		j.live[f.number] = place{f.spot, f.head}
		j.segments[f.segment].live += f.size()
	}
	for i, f := range s.frames {
		if i+1 < len(s.frames) && s.frames[i+1].number == f.number {
			continue
		}
		if err := replay(Record{f.number, f.bytes, int(f.payload)}); err != nil {
			return err
		}
	}
	return nil
}

// Append adds a record and returns its number. It is in memory only until it
// is flushed, or until many are. Neither slice is kept.
func (j *Journal) Append(body, payload []byte) (uint64, error) {
	if len(body) > MaxBody || len(payload) > MaxPayload {
		return 0, fault.Errorf(fault.TooLarge, "keep local change: a record of %d and %d bytes", len(body), len(payload))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.ready(); err != nil {
		return 0, err
	}
	number := j.next
	j.next++
	j.add(number, body, payload)
	return number, nil
}

// ready makes room for a frame; the caller holds mu.
func (j *Journal) ready() error {
	switch {
	case j.closed:
		return fault.Errorf(fault.Failed, "keep local change: the journal is closed")
	case j.failed != nil:
		return j.failed
	}
	if len(j.buffer) >= flushSize {
		if err := j.write(); err != nil {
			return err
		}
	}
	if j.active != nil && j.active.size >= j.cfg.SegmentSize {
		if err := j.roll(); err != nil {
			return err
		}
	}
	if j.active == nil {
		return j.begin()
	}
	return nil
}

// begin begins a segment; the caller holds mu.
func (j *Journal) begin() error {
	if err := os.MkdirAll(j.cfg.Dir, 0o700); err != nil {
		return unwritten(err)
	}
	h := newHeader(j.nextSegment, j.next)
	g := &segment{header: h, path: filepath.Join(j.cfg.Dir, segmentName(h.number)), size: int64(headerSize)}
	var err error
	if g.sealer, err = newSealer(j.cfg.Key, j.cfg.Device, j.cfg.Workspace, h); err != nil {
		return err
	}
	if g.file, err = os.OpenFile(g.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return unwritten(err)
	}
	_, err = g.file.WriteAt(append(h.encode(), g.sealer.proof()...), 0)
	if err == nil {
		err = datasync(g.file)
	}
	if err == nil {
		err = durable.SyncDir(j.cfg.Dir)
	}
	if err != nil {
		return errors.Join(unwritten(err), g.remove())
	}
	g.laid = g.size
	j.nextSegment++
	j.segments[g.number], j.active, j.unsynced[g.number] = g, g, g
	return nil
}

// add adds the frame of a record to the buffer; the caller holds mu and has
// called ready.
func (j *Journal) add(number uint64, body, payload []byte) {
	if !j.noted && j.synced != (spot{}) {
		j.noted = true
		j.frame(head{kindSynced, j.synced.segment, uint32(j.synced.at / align), 0}, nil, nil)
	}
	h := head{kindRecord, number, uint32(len(body)), uint32(len(payload))}
	j.live[number] = place{spot{j.active.number, j.active.size}, h}
	j.active.live += h.size()
	j.frame(h, body, payload)
}

// frame adds a frame to the buffer; the caller holds mu.
func (j *Journal) frame(h head, body, payload []byte) {
	j.buffer = j.active.sealer.appendFrame(j.buffer, j.active.size, h, body, payload)
	j.active.size += h.size()
}

// write writes the buffer; the caller holds mu. After a failure, the same
// bytes are written to the same place with the next attempt.
func (j *Journal) write() error {
	if len(j.buffer) == 0 {
		return nil
	}
	at := j.active.size - int64(len(j.buffer))
	if _, err := j.active.file.WriteAt(j.buffer, at); err != nil {
		return unwritten(err)
	}
	if len(j.buffer) >= flushSize { // much is on its way: the disk need not wait for a sync to begin
		begin(j.active.file, at, int64(len(j.buffer)))
	}
	j.buffer = j.buffer[:0]
	j.unsynced[j.active.number] = j.active
	if j.active.size > j.active.laid {
		j.active.laid, j.active.grown = j.active.size, true
	}
	return nil
}

const (
	// inch is up to how many bytes a sync concerns little.
	inch = 64 << 10
	// maxInches is how many syncs of little in a row make room for more of them, and
	// layAhead how many bytes.
	maxInches = 4
	layAhead  = 1 << 20
)

// lay writes what is in the buffer, for a sync. A file that becomes longer costs
// the file system more than the data to make durable, since it notes the length
// beside it. So who syncs little, and again and again, gets zeros ahead that are
// written over then. A scan takes them for the end. The caller holds mu.
func (j *Journal) lay() error {
	g := j.active
	if err := j.write(); err != nil || g == nil || !g.grown {
		return err
	}
	g.grown = false
	if j.synced.segment != g.number || g.size-j.synced.at > inch {
		j.inches = 0
		return nil
	}
	if j.inches++; j.inches < maxInches || g.ended {
		return nil
	}
	if _, err := g.file.WriteAt(zeros[:], g.size); err != nil {
		return g.unlay() // there is no room for more than what is written
	}
	g.laid = g.size + layAhead
	return nil
}

// zeros is what is laid.
var zeros [layAhead]byte

// unlay removes the zeros behind the frames, all of which are written.
func (g *segment) unlay() error {
	if err := g.file.Truncate(g.size); err != nil {
		return unwritten(err)
	}
	g.laid = g.size
	return nil
}

// roll ends the active segment; the caller holds mu.
func (j *Journal) roll() error {
	if !j.active.ended {
		j.frame(head{kind: kindEnd}, nil, nil)
		j.active.ended = true
	}
	if err := j.write(); err != nil {
		return err
	}
	if j.active.laid > j.active.size {
		if err := j.active.unlay(); err != nil {
			return err
		}
	}
	j.active, j.buffer = nil, nil
	return nil
}

// Flush hands everything that was appended to the kernel: from then on it
// survives a kill of the process.
func (j *Journal) Flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return j.failed
	}
	return j.write()
}

// Sync makes everything durable that was appended before: it survives power
// loss. Of several callers at once, one syncs for all that wait.
func (j *Journal) Sync() error {
	j.mu.RLock()
	want := j.end()
	j.mu.RUnlock()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	if j.failed == nil && !j.synced.before(want) {
		j.mu.Unlock()
		return nil
	}
	err := j.failed
	if err == nil {
		err = j.lay()
	}
	if err != nil {
		j.mu.Unlock()
		return err
	}
	to, files := j.end(), slices.Collect(maps.Values(j.unsynced))
	clear(j.unsynced)
	j.mu.Unlock()
	for _, g := range files {
		if err := datasync(g.file); err != nil {
			return j.fail(err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.synced.before(to) {
		j.synced, j.noted = to, false
	}
	return nil
}

// fail notes that the kernel has dropped what it could not write: what is on
// the disk is not known any more, so nothing is claimed from then on.
func (j *Journal) fail(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed = fault.WithHint(fault.Errorf(fault.Failed, "sync local changes in %s: %w", j.cfg.Dir, err),
		"the disk does not keep what is written; check it, and restart the program")
	return j.failed
}

// end returns where the next frame goes; the caller holds mu.
func (j *Journal) end() spot {
	if j.active == nil {
		return spot{j.nextSegment, 0}
	}
	return spot{j.active.number, j.active.size}
}

// Synced returns the segments and how long each was at the last Sync, for
// whoever wants to see what power loss leaves.
func (j *Journal) Synced() map[string]int64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	lengths := map[string]int64{}
	for _, g := range j.segments {
		switch {
		case g.number < j.synced.segment || j.unsynced[g.number] == nil:
			lengths[g.path] = g.size
		case g.number == j.synced.segment:
			lengths[g.path] = max(j.synced.at, int64(headerSize))
		default:
			lengths[g.path] = int64(headerSize)
		}
	}
	return lengths
}

// Next returns a number that is above those of all records so far, and not
// above that of the next one.
func (j *Journal) Next() uint64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.next
}

// ReadAt reads a part of a record's payload. It fails with an integrity error
// where the payload is damaged, and with not found where the record was
// released or was never there.
func (j *Journal) ReadAt(number uint64, p []byte, off int) error {
	j.mu.RLock()
	at, ok := j.live[number]
	if !ok || off < 0 || off+len(p) > int(at.payload) {
		j.mu.RUnlock()
		return fault.Errorf(fault.NotFound, "read local change: no %d bytes at %d of record %d", len(p), off, number)
	}
	g := j.segments[at.segment]
	if from := g.size - int64(len(j.buffer)); g == j.active && at.at >= from { // not written yet
		sealed := slices.Clone(j.buffer[at.at-from:][:at.size()])
		j.mu.RUnlock()
		return g.copyPayload(at, sealed[headSize+sealedSize(at.body):], p, off)
	}
	g.using.RLock() // before a compaction can close the file
	defer g.using.RUnlock()
	j.mu.RUnlock()
	sealed := make([]byte, sealedSize(at.payload))
	if err := g.readAt(sealed, at.at+headSize+sealedSize(at.body)); err != nil {
		return j.broken(g, at, err)
	}
	return j.broken(g, at, g.copyPayload(at, sealed, p, off))
}

func (j *Journal) broken(g *segment, at place, err error) error {
	if !errors.Is(err, errFrame) {
		return err
	}
	return fault.Broken("local data is what this device wrote", "read local change: %w", Damage{g.path, at.at, at.size()})
}

func (g *segment) copyPayload(at place, sealed, p []byte, off int) error {
	plain, err := g.sealer.open(partPayload, at.at, sealed[:sealedSize(at.payload)])
	if err != nil {
		return err
	}
	copy(p, plain[off:])
	return nil
}

// readPayload reads the payload of the frame at an offset.
func (g *segment) readPayload(at int64, h head) ([]byte, error) {
	sealed := make([]byte, sealedSize(h.payload))
	if err := g.readAt(sealed, at+headSize+sealedSize(h.body)); err != nil {
		return nil, err
	}
	return g.sealer.open(partPayload, at, sealed)
}

// Release says that records are superseded. At the next Open they may be
// replayed once more, before what superseded them.
func (j *Journal) Release(numbers ...uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, n := range numbers {
		if at, ok := j.live[n]; ok {
			j.segments[at.segment].bury(at.size())
			delete(j.live, n)
		}
	}
}

// bury counts a live record as dead.
func (g *segment) bury(size int64) {
	g.live -= size
	g.dead += size
}

// Held returns how many bytes the journal takes, and how many of them live
// records do.
func (j *Journal) Held() (size, live int64) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for _, g := range j.segments {
		size += g.size
		live += g.live
	}
	return size, live
}

// Close writes and syncs what is left and closes the files.
func (j *Journal) Close() error {
	err := j.Sync()
	j.compacting.Lock()
	defer j.compacting.Unlock()
	if err == nil {
		err = j.seal()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	return errors.Join(err, j.closeFiles())
}

// seal ends the active segment with a proof of what was synced, so that what
// is missing later is known to be damage.
func (j *Journal) seal() error {
	j.mu.Lock()
	if j.active == nil || j.active.ended {
		j.mu.Unlock()
		return nil
	}
	j.frame(head{kindSynced, j.synced.segment, uint32(j.synced.at / align), 0}, nil, nil)
	err := j.roll()
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.Sync()
}

// Abandon closes the files as a kill of the process would.
func (j *Journal) Abandon() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed, j.buffer = true, nil
	return j.closeFiles()
}

func (j *Journal) closeFiles() (err error) {
	for _, g := range j.segments {
		err = errors.Join(err, g.close())
	}
	return err
}

func (g *segment) close() error {
	g.using.Lock()
	defer g.using.Unlock()
	return g.file.Close()
}

// remove removes the file, or keeps it aside where some of it cannot be read.
func (g *segment) remove() error {
	err := g.close()
	if g.damaged {
		return errors.Join(err, os.Rename(g.path, g.path+".damaged"))
	}
	return errors.Join(err, os.Remove(g.path))
}

// Due reports whether a compaction would free much.
func (j *Journal) Due() bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return len(j.due()) > 0
}

// smallSegment is up to which size an active segment waits to be empty.
const smallSegment = 4 << 20

// due returns the segments that hold more dead than living bytes; the caller
// holds mu.
func (j *Journal) due() []*segment {
	var due []*segment
	for _, g := range j.segments {
		if g.damaged && g.live > 0 { // what lives of it may be what cannot be copied
			continue
		}
		if g != j.active && g.dead >= g.live || g == j.active && g.dead > g.live && (g.live == 0 || g.size > smallSegment) {
			due = append(due, g)
		}
	}
	slices.SortFunc(due, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	return due
}

// Compact copies what lives of segments that are due to the end of the
// journal, under the same numbers, and removes them once that is durable.
func (j *Journal) Compact(ctx context.Context) error {
	j.compacting.Lock()
	defer j.compacting.Unlock()
	j.mu.Lock()
	due := j.due()
	if j.closed || len(due) == 0 {
		j.mu.Unlock()
		return nil
	}
	if due[len(due)-1] == j.active {
		if err := j.roll(); err != nil {
			j.mu.Unlock()
			return err
		}
	}
	j.mu.Unlock()
	for _, g := range due {
		if err := j.evacuate(ctx, g); err != nil {
			return err
		}
	}
	if err := j.Sync(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, g := range due {
		if g.live > 0 { // it was found damaged
			continue
		}
		if err := g.remove(); err != nil {
			return fmt.Errorf("compact local changes: %w", err)
		}
		delete(j.segments, g.number)
		delete(j.unsynced, g.number)
	}
	return durable.SyncDir(j.cfg.Dir)
}

// evacuate copies what lives of a segment, a record at a time.
func (j *Journal) evacuate(ctx context.Context, g *segment) error {
	j.mu.RLock()
	var numbers []uint64
	for n, at := range j.live {
		if at.segment == g.number {
			numbers = append(numbers, n)
		}
	}
	j.mu.RUnlock()
	slices.Sort(numbers)
	for _, n := range numbers {
		if err := ctx.Err(); err != nil {
			return fault.Errorf(fault.Canceled, "compact local changes: %w", err)
		}
		if err := j.copyRecord(g, n); err != nil {
			return err
		}
	}
	return nil
}

func (j *Journal) copyRecord(g *segment, number uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	at, ok := j.live[number]
	if !ok || j.closed {
		return nil
	}
	_, body, err := g.readFrame(at.at)
	var payload []byte
	if err == nil && at.payload > 0 {
		payload, err = g.readPayload(at.at, at.head)
	}
	if errors.Is(err, errFrame) {
		g.damaged = true // whoever reads the record is told
		return nil
	}
	if err != nil {
		return fmt.Errorf("compact local changes: %w", err)
	}
	if err := j.ready(); err != nil {
		return err
	}
	j.add(number, body, payload)
	g.bury(at.size())
	return nil
}

// unwritten is an error of writing the journal.
func unwritten(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fault.WithHint(fault.Errorf(fault.Full, "keep local change: %w", err),
			"free some room on the disk of your home; what was not closed yet can be written again")
	}
	return fmt.Errorf("keep local change: %w", err)
}
