// Package ipqtest tests handlers of package ipq, without root, queue or namespace: a
// [Queue] is an ipq.Queue on a kernel that is made up.
//
//	func TestTelnetIsDropped(t *testing.T) {
//		q := ipqtest.New(t, ipq.Config{Workers: 2})
//		q.Run(ipq.HandlerFunc(myHandler))
//		if r := q.Send(packet, ipqtest.Hook(ipq.Forward), ipqtest.InDev("eth0")); r.Verdict != ipq.Drop {
//			t.Errorf("telnet: %v", r.Verdict)
//		}
//	}
//
// The engine is the real one: batches, the pool, order, deferral, time-outs and panics
// work as they do elsewhere. A test fails by itself when a packet gets no verdict, or
// two, or when Run fails.
//
// [Queue.Replay] sends the packets of a capture file. [Queue.Fault] has the kernel
// misbehave. [Packet] makes an *ipq.Packet, for handlers and their parts that need no
// queue around them.
//
// Tests may run in parallel and under the race detector, which reports handlers that
// keep a packet. They need no right, no feature of the kernel and not even Linux: the
// made-up kernel makes no system call. What is the real kernel's alone fails: File,
// FromFile and Inherit of package ipq; and Config.PinCPU pins nothing on other systems.
package ipqtest
