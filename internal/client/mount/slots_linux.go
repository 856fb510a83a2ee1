package mount

import "sync"

// slots are what the kernel knows by a file handle's number. The zero value is
// empty.
type slots[T any] struct {
	mu sync.Mutex
	// mu guards what follows.
	last uint64
	all  map[uint64]T
}

func (s *slots[T]) add(v T) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[uint64]T{}
	}
	s.last++
	s.all[s.last] = v
	return s.last
}

func (s *slots[T]) get(n uint64) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.all[n]
	return v, ok
}

func (s *slots[T]) remove(n uint64) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.all[n]
	delete(s.all, n)
	return v, ok
}

// rest removes and returns everything.
func (s *slots[T]) rest() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]T, 0, len(s.all))
	for _, v := range s.all {
		all = append(all, v)
	}
	clear(s.all)
	return all
}
