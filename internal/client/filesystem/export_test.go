package filesystem

// Waits reports whether an owner waits for a lock.
func (v *View) Waits(o Owner) bool {
	for _, n := range v.device.top() {
		n.volume.locks.mu.Lock()
		_, ok := n.volume.locks.waits[o]
		n.volume.locks.mu.Unlock()
		if ok {
			return true
		}
	}
	return false
}
