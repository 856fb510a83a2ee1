package swift

// SetPage sets how many objects are asked for at once.
func (s *Store) SetPage(n int) { s.page = n }
