package netlab

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// queueTable is where the kernel accounts for the queues of the calling
// thread's namespace; /proc/net is the main thread's.
const queueTable = "/proc/thread-self/net/netfilter/nfnetlink_queue"

// QueueStats returns the kernel's account of every queue that is bound in the
// namespace. In the namespace that Enter made for an ordinary user the error
// matches fs.ErrPermission: the kernel gave the file to root of the machine,
// because the user namespace had no root yet. Namespaces made by New are
// readable to whoever made them.
func (n *NS) QueueStats() ([]QueueStat, error) {
	var table []byte
	err := n.Do(func() (err error) {
		table, err = os.ReadFile(queueTable)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nobody has asked for a queue yet: the module that has them is not loaded
	}
	if err != nil {
		return nil, fmt.Errorf("netlab: queue stats: %w", err)
	}
	return parseQueueStats(table)
}

// parseQueueStats reads the lines that the kernel's seq_show writes: queue,
// peer_portid, queue_total, copy_mode, copy_range, queue_dropped,
// queue_user_dropped, id_sequence and a 1 that means nothing.
func parseQueueStats(table []byte) ([]QueueStat, error) {
	var stats []QueueStat
	for line := range bytes.Lines(table) {
		var s QueueStat
		_, err := fmt.Sscan(string(line), &s.Queue, &s.PortID, &s.Waiting, &s.CopyMode, &s.CopyRange,
			&s.Dropped, &s.UserDropped, &s.IDSequence)
		if err != nil {
			return nil, fmt.Errorf("netlab: queue stats: line %q: %w", line, err)
		}
		stats = append(stats, s)
	}
	return stats, nil
}
