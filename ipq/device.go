package ipq

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

// nameCache remembers interface names. Readers take no lock.
type nameCache struct {
	mu    sync.Mutex // of writers
	names atomic.Pointer[map[int]cachedName]
}

type cachedName struct {
	name string
	at   time.Duration
}

// interfaceName returns the name of the interface with that index.
func (s *socket) interfaceName(index int) string {
	if index <= 0 {
		return ""
	}
	now := monotonic()
	if m := s.names.names.Load(); m != nil {
		if c, ok := (*m)[index]; ok && now-c.at < nameTTL {
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

var epoch = time.Now()

// monotonic returns the time since the program started. It reads one clock,
// where time.Now reads two.
func monotonic() time.Duration { return time.Since(epoch) }
