package rules

import (
	"fmt"
	"slices"
	"strings"
)

// flagNames returns TCP's flags as nft writes them.
func flagNames(flags uint8) string {
	if flags == 0 {
		return "0x0"
	}
	return "(" + strings.Join(flagList(flags), "|") + ")"
}

func flagList(flags uint8) (names []string) {
	for i, name := range []string{"fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"} {
		if flags>>i&1 != 0 {
			names = append(names, name)
		}
	}
	return names
}

func stateNames(s ConnState) (names []string) {
	for _, state := range []struct {
		bit  ConnState
		name string
	}{{Invalid, "invalid"}, {Established, "established"}, {Related, "related"}, {New, "new"}, {Untracked, "untracked"}} {
		if s&state.bit != 0 {
			names = append(names, state.name)
		}
	}
	return names
}

// sorted returns a list in order, without doubles.
func sorted[T uint8 | uint32](list []T) []T {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// decimal returns a list in order, as text.
func decimal[T uint8 | uint32](values []T) (texts []string) {
	for _, v := range sorted(values) {
		texts = append(texts, fmt.Sprint(v))
	}
	return texts
}
