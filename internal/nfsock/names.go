package nfsock

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// nameTTL is how long an interface's name is believed. Indexes are not
	// reused soon, but interfaces are renamed as a system starts.
	nameTTL = time.Second
	// maxNames bounds the cache against callers that ask for any number.
	maxNames = 4096
)

// SetNames gives interfaces these names, by index. It is for tests.
func (s *Socket) SetNames(names map[int]string) { s.names.fixed = names }

// Unconnected returns a Socket that is none: it knows the names of interfaces, and how
// large payloads may be. It is for tests.
func Unconnected(names map[int]string) *Socket {
	return &Socket{sendLimit: MaxSendLimit, names: nameCache{fixed: names}}
}

// nameCache remembers interface names. Readers take no lock.
type nameCache struct {
	fixed map[int]string // not nil: all that there are
	mu    sync.Mutex     // of writers
	names atomic.Pointer[map[int]cachedName]
}

type cachedName struct {
	name string
	at   time.Time
}

// InterfaceName returns the name of the interface with that index in the socket's
// network namespace, or "" if there is none. It is remembered for a second.
func (s *Socket) InterfaceName(index int) string {
	if index <= 0 {
		return ""
	}
	if s.names.fixed != nil {
		return s.names.fixed[index]
	}
	now := time.Now()
	if m := s.names.names.Load(); m != nil {
		if c, ok := (*m)[index]; ok && now.Sub(c.at) < nameTTL {
			return c.name
		}
	}
	name := s.lookupName(index)

	s.names.mu.Lock()
	defer s.names.mu.Unlock()
	old := s.names.names.Load()
	m := make(map[int]cachedName)
	if old != nil && len(*old) < maxNames {
		for k, v := range *old {
			m[k] = v
		}
	}
	m[index] = cachedName{name, now}
	s.names.names.Store(&m)
	return name
}
