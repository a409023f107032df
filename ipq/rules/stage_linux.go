package rules

import (
	"slices"

	"github.com/goipq/goipq/internal/nftconn"
)

// A stage is sets that are filled before the transaction that uses them. Nothing
// looks into them until then. That is so for sets that would make it too large, and
// for all sets of intervals: at the end of the transaction that makes one, rules see
// it for a moment before its elements can be found (seen on Linux 6.18).
type stage struct {
	program *program
	table   bool // was made for them
	sets    []string
	used    bool
}

// fill makes the sets, in transactions of no more than limit bytes.
func (s *stage) fill(conn *nftconn.Conn, now present, sets []kernelSet, limit int) error {
	b := nftconn.NewBatch(s.program.family, s.program.set.Table)
	if !now.table {
		b.AddTable(comment)
	}
	size := b.Size()
	for _, set := range sets {
		size += 1024 + len(set.elements)*elementSize
	}
	for _, set := range sets {
		if slices.Contains(now.sets, set.name) { // and not whole
			b.DeleteSet(set.name)
		}
		elements := set.elements
		if size > limit {
			elements = nil
		}
		b.AddSet(set.what, set.name, set.typ, set.interval, elements)
	}
	if err := conn.Commit(b, 0); err != nil { // what others change does not matter yet
		return err
	}
	s.table = s.table || !now.table
	for _, set := range sets {
		if !slices.Contains(s.sets, set.name) {
			s.sets = append(s.sets, set.name)
		}
		for len(set.elements) > 0 && size > limit {
			n := min(len(set.elements), max(limit/2/elementSize, 1))
			b := nftconn.NewBatch(s.program.family, s.program.set.Table)
			b.AddElements(set.what, set.name, set.elements[:n])
			if err := conn.Commit(b, 0); err != nil {
				return err
			}
			set.elements = set.elements[n:]
		}
	}
	return nil
}

// elementSize is the most that an element takes in a message, that of IPv6.
const elementSize = 48

// undo takes away what was made for a transaction that failed.
func (s *stage) undo(r *Ruleset) {
	if s.used || s.sets == nil && !s.table {
		return
	}
	r.retry(func(conn *nftconn.Conn, generation uint32) error {
		b := nftconn.NewBatch(s.program.family, s.program.set.Table)
		if s.table {
			b.DeleteTable()
		} else {
			for _, name := range s.sets {
				b.DeleteSet(name)
			}
		}
		return conn.Commit(b, generation)
	})
}
