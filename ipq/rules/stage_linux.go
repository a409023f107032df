package rules

import (
	"slices"

	"github.com/goipq/goipq/internal/nftconn"
)

// A stage is sets that were filled before the transaction that uses them, because
// it would be too large with them. Nothing looks into them until then.
type stage struct {
	program *program
	table   bool // was made for them
	sets    []string
	used    bool
}

// fill makes the sets in transactions of no more than limit bytes.
func (s *stage) fill(conn *nftconn.Conn, now present, sets []kernelSet, limit int) error {
	commit := func(add func(*nftconn.Batch)) error {
		b := nftconn.NewBatch(s.program.family, s.program.set.Table)
		add(b)
		return conn.Commit(b, 0) // what others change does not matter yet
	}
	if !now.table {
		if err := commit(func(b *nftconn.Batch) { b.AddTable(comment) }); err != nil {
			return err
		}
		s.table = true
	}
	for _, set := range sets {
		err := commit(func(b *nftconn.Batch) {
			if slices.Contains(now.sets, set.name) {
				b.DeleteSet(set.name)
			}
			b.AddSet(set.what, set.name, set.typ, set.interval, nil)
		})
		if err != nil {
			return err
		}
		if !slices.Contains(s.sets, set.name) {
			s.sets = append(s.sets, set.name)
		}
		for some := range slices.Chunk(set.elements, max(limit/2/elementSize, 1)) {
			if err := commit(func(b *nftconn.Batch) { b.AddElements(set.what, set.name, some) }); err != nil {
				return err
			}
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
