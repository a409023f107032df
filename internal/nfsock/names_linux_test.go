package nfsock

import (
	"testing"
	"time"
)

// The first interface of every network namespace.
const loIndex, loName = 1, "lo"

// A name is remembered, for a second.
func TestInterfaceNamesAreRemembered(t *testing.T) {
	s := newFake(t)
	if got := s.InterfaceName(loIndex); got != loName {
		t.Fatalf("interface %d is %q", loIndex, got)
	}
	if c, ok := (*s.names.names.Load())[loIndex]; !ok || c.name != loName {
		t.Errorf("not remembered: %+v", c)
	}
	for _, x := range []struct {
		what string
		at   time.Time
		want string
	}{
		{"fresh", time.Now().Add(time.Hour), "renamed"}, // as of an hour from now, so that no pause makes it old
		{"expired", time.Now().Add(-nameTTL), loName},
	} {
		s.names.names.Store(&map[int]cachedName{loIndex: {"renamed", x.at}})
		if got := s.InterfaceName(loIndex); got != x.want {
			t.Errorf("%s: %q, want %q", x.what, got, x.want)
		}
	}
	if c := (*s.names.names.Load())[loIndex]; c.name != loName || time.Since(c.at) > time.Minute {
		t.Errorf("what expired was not replaced: %+v", c)
	}
}

// Whoever asks for any number at all does not fill the memory; nor are the
// names that are known lost for each new one.
func TestInterfaceNamesAreBounded(t *testing.T) {
	s := newFake(t)
	const first = 1 << 30 // there are no such interfaces
	known := func() int { return len(*s.names.names.Load()) }
	full := map[int]cachedName{}
	for i := range maxNames - 1 {
		full[first+i] = cachedName{"", time.Now()}
	}
	s.names.names.Store(&full)
	for i := range 3 {
		if got := s.InterfaceName(first + maxNames + i); got != "" {
			t.Errorf("an interface that does not exist is %q", got)
		}
		if i == 0 && known() != maxNames {
			t.Errorf("%d names are known, want %d", known(), maxNames)
		}
		if known() > maxNames {
			t.Errorf("%d names are known, more than %d", known(), maxNames)
		}
	}
	for _, index := range []int{0, -1} {
		if got := s.InterfaceName(index); got != "" {
			t.Errorf("interface %d is %q", index, got)
		}
	}
}
