package mount

// Known returns how many node ids the kernel may ask for.
func (m *Mount) Known() int {
	m.drive.table.mu.Lock()
	defer m.drive.table.mu.Unlock()
	return len(m.drive.table.ids)
}
