package nfttable

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/nftconn"
)

// A Table is what should be in the kernel under a name.
type Table struct {
	Family  uint8 // unix.NFPROTO_INET, for example
	Name    string
	Comment string // by which its maker knows it again
	Sets    []Set
	Maps    []Map
	Chains  []Chain
	Lasting []string // names of chains that stay, with their rules, once they are there
}

func (t *Table) lasts(chain string) bool { return slices.Contains(t.Lasting, chain) }

// A Set is a constant set, or one that only rules add to. A constant one of other
// elements has another name.
type Set struct {
	Name     string
	What     string // it is for, as errors say it
	Type     nftconn.SetType
	Interval bool
	Elements []nftconn.Element

	// Values are what an element of a set is that rules add to, and Room is how
	// many it holds. Else they are nil and 0.
	Values []nftconn.SetType
	Room   uint32
}

// add makes the set, with the elements if it is a constant one.
func (s *Set) add(b *nftconn.Batch, elements []nftconn.Element) {
	if s.Values != nil {
		b.AddGrowingSet(s.What, s.Name, s.Values, s.Room)
		return
	}
	b.AddSet(s.What, s.Name, s.Type, s.Interval, elements)
}

// A Map leads from 0, 1, 2 and so on to chains. One to other chains has another name,
// and it begins with MapPrefix.
type Map struct {
	Name   string
	What   string // it is for, as errors say it
	Chains []string
}

// MapPrefix tells maps from sets.
const MapPrefix = "flows_"

// A Chain is a list of rules. One at another hook or priority has another name.
type Chain struct {
	Name     string
	What     string // it is for, as errors say it
	Base     bool   // it is at a hook
	Hook     uint32 // where, if it is
	Priority int32
	Rules    []Rule
}

// A Rule is a rule of the kernel's.
type Rule struct {
	What    string // it is for, as errors say it
	Comment string // is shown by nft
	Exprs   []expr.Any
	Sets    []string // that it looks into
	Counter int      // number of the counter that its own is a part of; Uncounted: of none

	id [16]byte // tells it from all that do something else
}

// Uncounted is the Counter of a rule that has none, or none that somebody asks for.
const Uncounted = -1

// identity is the type of the user data by which a rule is known again.
const identity = 0x67

// seal gives the rules of a table their ids.
func (t *Table) seal() error {
	for _, c := range t.Chains {
		for i := range c.Rules {
			r := &c.Rules[i]
			sum := sha256.New()
			fmt.Fprintf(sum, "2 %q", r.Comment)
			for _, e := range r.Exprs {
				encoded, err := expr.Marshal(t.Family, e)
				if err != nil {
					return err
				}
				sum.Write(encoded)
			}
			copy(r.id[:], sum.Sum(nil))
		}
	}
	return nil
}

// userData returns what a rule carries: its comment, for nft to show, and its id.
func (r *Rule) userData() (data []byte) {
	if r.Comment != "" {
		data = nftconn.UserComment(data, r.Comment)
	}
	return nftconn.UserData(data, identity, r.id[:])
}

// is reports whether the rule is the one that is there.
func (r *Rule) is(there nftconn.Rule) bool {
	return string(nftconn.UserValue(there.UserData, identity)) == string(r.id[:])
}

// String returns the table as nft calls it.
func (t *Table) String() string { return familyName(t.Family) + " " + t.Name }

var familyNames = map[uint8]string{
	unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_BRIDGE: "bridge",
}

func familyName(family uint8) string {
	if name, ok := familyNames[family]; ok {
		return name
	}
	return fmt.Sprintf("family %d", family)
}
