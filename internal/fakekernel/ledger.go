package fakekernel

// state is what the ledger knows of a packet id.
type state uint8

const (
	settled state = iota // has its one verdict, or was never given to a packet
	waiting              // wants a verdict
	flushed              // was decided by the kernel itself; user space, which cannot know, is still to answer
	refused              // was answered, but the verdict refused: it waits for another, or the end of the queue
)

// A ledger has an entry for each id from the oldest that is not settled to the
// latest: what is settled before that is folded into their distance. Ids wrap
// around.
type ledger struct {
	entries []entry // by id modulo their number, a power of two
	first   uint32  // id of the oldest entry
	n       uint32  // entries
	count   [refused + 1]int
}

type entry struct {
	tag   uint32
	state state
}

func (l *ledger) at(id uint32) *entry { return &l.entries[id&uint32(len(l.entries)-1)] }

// has reports whether id is between the oldest and the latest.
func (l *ledger) has(id uint32) bool { return id-l.first < l.n }

// waits returns how many packets the kernel holds.
func (l *ledger) waits() int { return l.count[waiting] + l.count[refused] }

// open returns how many packets user space has not answered.
func (l *ledger) open() int { return l.count[waiting] + l.count[flushed] }

// add enters a packet that waits. Its id is later than all before it; ids that
// were passed over count as settled.
func (l *ledger) add(id, tag uint32) {
	if l.n == 0 {
		l.first = id
	}
	for need := id - l.first + 1; need > uint32(len(l.entries)); {
		l.grow()
	}
	for l.n < id-l.first {
		*l.at(l.first + l.n) = entry{}
		l.n++
	}
	l.n++
	*l.at(id) = entry{tag, waiting}
	l.count[waiting]++
}

func (l *ledger) grow() {
	old := *l
	l.entries = make([]entry, max(64, 2*len(old.entries)))
	for id := l.first; id != l.first+l.n; id++ {
		*l.at(id) = *old.at(id)
	}
}

// set moves an entry that is not settled to another state.
func (l *ledger) set(id uint32, s state) {
	e := l.at(id)
	l.count[e.state]--
	e.state = s
	if s != settled {
		l.count[s]++
		return
	}
	for l.n > 0 && l.at(l.first).state == settled {
		l.first++
		l.n--
	}
}

// each calls f for every entry that is not settled, up to id, oldest first. f
// may set that entry.
func (l *ledger) each(id uint32, f func(id uint32, e *entry)) {
	for i, n := l.first, l.n; n > 0 && int32(i-id) <= 0; i, n = i+1, n-1 {
		if e := l.at(i); e.state != settled {
			f(i, e)
		}
	}
}
