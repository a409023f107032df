// Package nfqueue stands in for github.com/florianl/go-nfqueue/v2. A program that uses
// that package runs on goipq after one line in its go.mod, and go mod tidy:
//
//	replace github.com/florianl/go-nfqueue/v2 => github.com/goipq/goipq/compat/go-nfqueue/v2 v2.1.0
//
// Every exported name is that of go-nfqueue 2.1.0 and means the same. What is beneath is
// not: packets come many to a system call, and verdicts leave many to a system call,
// whichever goroutines give them.
//
// # What is better
//
//   - Packets of all families are delivered: also those of bridges, which go-nfqueue
//     leaves in the queue for ever.
//   - Nfqueue.Close works from anywhere: in a hook, from many goroutines, or twice. No
//     hook runs when it has returned, but for the one that has called it.
//   - An end is no error. ErrorFunc is not called because a context has ended, or because
//     of Close.
//   - That the kernel does not know a packet any more, which is what it answers to a
//     second verdict, is no error of receiving: Logger.Debugf is told.
//   - A label that the kernel cannot set costs neither the verdict nor the mark that go
//     with it.
//   - A verdict that the kernel would refuse, and leave the packet waiting, is an error of
//     the call that gives it.
//   - The receive buffer holds a full queue, unless Con.SetReadBuffer has set another
//     size, and what overflows it is dropped without bringing the queue to a halt:
//     NoENOBUFS is always set.
//   - A Nfqueue whose context has ended can register again.
//
// # What is different
//
//   - A verdict has not left when SetVerdict returns. It leaves when the packets that have
//     been received are with their hooks, when there are 64 of them, or within about a
//     millisecond. That it could not be sent is the error of a later call.
//   - What Attribute points to may be kept, as with go-nfqueue. Packets that came together
//     can share memory, 16 KiB at the most, which lives as long as the longest of them.
//   - Con sends, and sets what it likes. While a hook is registered it receives nothing but
//     the answer to what it has sent, and that says that it was sent: what the kernel
//     refuses comes to the ErrorFunc.
//   - Of TCP, a packet of another length and a mark of its connection do not go together
//     where addresses are translated, or where it is not known whether they are because
//     NfQaCfgFlagConntrack is not set: the kernel would warn. The packet is dropped, and
//     the call returns an error. So it is with a packet that is none of IP.
//   - Config.WriteTimeout and ReadTimeout do nothing: the kernel takes a verdict at once,
//     or says why not.
//   - Close waits for a hook that is running for five seconds at the most.
//
// Programs that want more than that, such as packets without a copy, use package
// github.com/goipq/goipq/ipq itself; docs/from-go-nfqueue.md there has both, call by call.
package nfqueue
