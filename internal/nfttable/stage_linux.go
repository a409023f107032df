package nfttable

import (
	"slices"

	"github.com/goipq/goipq/internal/nftconn"
)

// A stage is sets that are filled before the transaction that uses them. Nothing
// looks into them until then. That is so for sets that would make it too large, and
// for all sets of intervals: at the end of the transaction that makes one, rules see
// it for a moment before its elements can be found (seen on Linux 6.18).
type stage struct {
	table *Table
	made  bool     // the table was made for them
	sets  []string // their names
	used  bool
}

// fill makes the sets, in transactions of no more than limit bytes.
func (s *stage) fill(conn *nftconn.Conn, now present, sets []Set, limit int) error {
	b := nftconn.NewBatch(s.table.Family, s.table.Name)
	if !now.table {
		b.AddTable(s.table.Comment)
	}
	size := b.Size()
	for _, set := range sets {
		size += 1024 + len(set.Elements)*elementSize
	}
	for _, set := range sets {
		if slices.Contains(now.sets, set.Name) { // and not whole
			b.DeleteSet(set.Name)
		}
		elements := set.Elements
		if size > limit {
			elements = nil
		}
		set.add(b, elements)
	}
	if err := conn.Commit(b, 0); err != nil { // what others change does not matter yet
		return err
	}
	s.made = s.made || !now.table
	for _, set := range sets {
		if !slices.Contains(s.sets, set.Name) {
			s.sets = append(s.sets, set.Name)
		}
		for len(set.Elements) > 0 && size > limit {
			n := min(len(set.Elements), max(limit/2/elementSize, 1))
			b := nftconn.NewBatch(s.table.Family, s.table.Name)
			b.AddElements(set.What, set.Name, set.Elements[:n])
			if err := conn.Commit(b, 0); err != nil {
				return err
			}
			set.Elements = set.Elements[n:]
		}
	}
	return nil
}

// elementSize is the most that an element takes in a message, that of IPv6.
const elementSize = 48

// undo takes away what was made for a transaction that failed.
func (s *stage) undo(k Keeper) {
	if s.used || s.sets == nil && !s.made {
		return
	}
	k.retry(func(conn *nftconn.Conn, generation uint32) error {
		now, err := look(conn, s.table)
		if err != nil {
			return err
		}
		b := nftconn.NewBatch(s.table.Family, s.table.Name)
		if s.made && len(now.chains) == 0 { // and nobody has taken it over meanwhile
			b.DeleteTable()
		} else {
			for _, name := range s.sets {
				b.DeleteSet(name)
			}
		}
		return conn.Commit(b, generation)
	})
}
