package s3

// SetPage sets how many objects are asked for at once.
func (s *Store) SetPage(n int) { s.page = n }

// Conditional reports whether the service was found to honour conditions.
func (s *Store) Conditional() bool { return s.isConditional() }
