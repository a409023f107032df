package fakekernel

import (
	"math/rand/v2"
	"slices"
	"syscall"

	"github.com/goipq/goipq/internal/zerocopy"
)

// A Fault is an error and how often it strikes, from 0, never, to 1, always.
type Fault struct {
	Errno syscall.Errno
	Rate  float64
}

// Faults are what goes wrong at random.
type Faults struct {
	Recv   []Fault // of the calls of RecvMsg
	Send   []Fault // of the calls of SendMsg
	Answer []Fault // of the verdict messages: refused, though nothing is wrong with them

	// Of the packets offered, how often one comes behind:
	Unasked []Fault // an NLMSG_ERROR for a verdict that was never given
	Foreign float64 // a message of another type, or none at all
	Gap     float64 // ids that no packet has, as after failed deliveries
}

type faults struct {
	Faults
	rand         *rand.Rand // nil: nothing is left to chance
	recv, send   []syscall.Errno
	verdicts     []syscall.Errno
	sendLimit    int // bytes; 0: none
	noCapability bool
}

// Inject has faults strike at random from now on, by a sequence that the seed
// chooses.
func (k *Kernel) Inject(f Faults, seed uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults.Faults, k.faults.rand = f, rand.New(rand.NewPCG(seed, uint64(k.number)))
}

// FailRecv has the next calls of RecvMsg fail, one with each errno.
func (k *Kernel) FailRecv(errnos ...syscall.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults.recv = append(k.faults.recv, errnos...)
}

// FailSend has the next calls of SendMsg fail, one with each errno; nothing is
// sent by them.
func (k *Kernel) FailSend(errnos ...syscall.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults.send = append(k.faults.send, errnos...)
}

// Stall makes a slow kernel: one that has no room for verdicts (EAGAIN) at the
// next calls of SendMsg. It does nothing while others are still to fail.
func (k *Kernel) Stall(calls int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.faults.send) == 0 {
		k.faults.send = slices.Repeat([]syscall.Errno{syscall.EAGAIN}, calls)
	}
}

// RefuseVerdicts has the next verdict messages that are good refused, one with
// each errno. Their packets stay in the queue until it goes.
func (k *Kernel) RefuseVerdicts(errnos ...syscall.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults.verdicts = append(k.faults.verdicts, errnos...)
}

// LimitSend has calls of SendMsg with more bytes fail with EMSGSIZE.
func (k *Kernel) LimitSend(bytes int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults.sendLimit = bytes
}

// DropCapability has every verdict answered with EPERM.
func (k *Kernel) DropCapability() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults.noCapability = true
}

// Flush decides all packets that wait, as the kernel does when a device goes
// down or a base chain is deleted.
func (k *Kernel) Flush() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.flush(false)
}

// Unbind gives the queue up without user space having asked for it.
func (k *Kernel) Unbind() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.queue.bound {
		k.unbind(false)
	}
}

// SetSequence makes id the one that was given last. It must not be before one
// that waits.
func (k *Kernel) SetSequence(id uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastID = id
}

// chance reports whether something of that rate happens.
func (f *faults) chance(rate float64) bool {
	return f.rand != nil && rate > 0 && f.rand.Float64() < rate
}

// next returns the error for an event: one that is due, or one by chance, or 0.
func (f *faults) next(due *[]syscall.Errno, rates []Fault) syscall.Errno {
	if len(*due) > 0 {
		errno := (*due)[0]
		*due = (*due)[1:]
		return errno
	}
	if f.rand == nil || len(rates) == 0 {
		return 0
	}
	x := f.rand.Float64()
	for _, r := range rates {
		if x -= r.Rate; x < 0 {
			return r.Errno
		}
	}
	return 0
}

func (f *faults) answer() syscall.Errno { return f.next(&f.verdicts, f.Answer) }

// noise sends what may come between two packets.
func (k *Kernel) noise() {
	f := &k.faults
	if f.rand == nil {
		return
	}
	if errno := f.next(new([]syscall.Errno), f.Unasked); errno != 0 {
		k.answer(errno, zerocopy.Header{Type: zerocopy.TypeVerdict, Seq: f.rand.Uint32()})
	}
	if f.chance(f.Foreign) && k.wire.write(foreign[f.rand.IntN(len(foreign))]) == nil {
		k.count.Foreign++
	}
	if f.chance(f.Gap) {
		k.lastID += 1 + f.rand.Uint32N(100)
	}
}

// foreign are messages that no queue sends: an acknowledgement nobody asked
// for, NLMSG_NOOP, another subsystem's, NLMSG_DONE.
var foreign = [][]byte{
	ErrorMessage(0, zerocopy.TypeVerdict, 1),
	bare(nlmsgNoop, 0),
	bare(nfnlSubsysCTNetlink<<8, 40),
	bare(nlmsgDone, 4),
}

func bare(typ uint16, n int) []byte {
	b := make([]byte, zerocopy.HeaderLen+n)
	putHeader(b, typ, 0)
	return b
}
