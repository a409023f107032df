package nfttable

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/goipq/goipq/internal/nftconn"
)

// Fill does what Apply does first for sets that do not fit into a message of limit
// bytes, and ends after some elements of each. Undo takes that back.
func Fill(conn *nftconn.Conn, t *Table, elements, limit int) (undo func(Keeper), err error) {
	now, err := look(conn, t)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	sets := slices.Clone(t.Sets)
	for i := range sets {
		sets[i].Elements = sets[i].Elements[:min(elements, len(sets[i].Elements))]
	}
	staged := &stage{table: t}
	return staged.undo, staged.fill(conn, now, sets, limit)
}
