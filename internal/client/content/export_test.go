package content

// Held returns how many bytes of blocks are in memory, and how many blocks are
// there or on their way.
func (r *Reader) Held() (bytes, blocks int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.size, len(r.blocks)
}
