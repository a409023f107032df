package zerocopy

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"
)

// A sumKind is a kind of packet with a checksum, and an oracle for it that
// shares nothing with the code under test: it lists the bytes that the standard
// has summed.
type sumKind struct {
	name  string
	proto uint8
	v6    bool
	at    int                    // of the checksum in the upper-layer header
	fixed []int                  // bytes of that header that say how it is to be read
	head  func(h []byte)         // fills them in
	parts func(p built) [][]byte // what is summed
	udp   bool                   // zero says that there is none

	// Of packets that are right by another reading than the standard's: what
	// that has summed.
	standard func(p built) [][]byte
}

// A built packet is one of a kind, and where things are in it.
type built struct {
	b        []byte // the datagram
	off      int    // of the upper layer
	src, dst []byte // of the pseudo-header
}

func (p built) upper() []byte { return p.b[p.off:] }

// pseudo is the pseudo-header for an upper layer of n bytes.
func (p built) pseudo(proto uint8, n int) []byte {
	return slices.Concat(p.src, p.dst, be32(uint32(n)), be32(uint32(proto)))
}

func withPseudo(proto uint8) func(p built) [][]byte {
	return func(p built) [][]byte { return [][]byte{p.pseudo(proto, len(p.upper())), p.upper()} }
}

func plain(p built) [][]byte { return [][]byte{p.upper()} }

func bytesOf(m map[int]byte) func(h []byte) {
	return func(h []byte) {
		for i, v := range m {
			h[i] = v
		}
	}
}

const (
	kindBody    = 80 // bytes of the upper layer
	kindTrailer = 12 // of those behind what a length in it says
)

var sumKinds = func() []sumKind {
	kinds := []sumKind{
		{name: "icmp", proto: 1, at: 2, parts: plain},
		{name: "igmp", proto: 2, at: 2, parts: plain},
		{name: "eigrp", proto: 88, at: 2, parts: plain},
		{name: "gre", proto: 47, at: 4, fixed: []int{0, 1}, head: bytesOf(map[int]byte{0: 0x80, 1: 0}), parts: plain},
		{name: "rsvp", proto: 46, at: 2, udp: true, fixed: []int{6, 7}, head: bytesOf(map[int]byte{6: 0, 7: kindBody - kindTrailer}),
			parts: func(p built) [][]byte { return [][]byte{p.upper()[:kindBody-kindTrailer]} }},
		{name: "ospf", proto: 89, at: 12, fixed: []int{2, 3, 14, 15}, head: bytesOf(map[int]byte{2: 0, 3: kindBody - kindTrailer, 14: 0, 15: 1}),
			parts: func(p built) [][]byte {
				h := p.upper()[:kindBody-kindTrailer]
				return [][]byte{h[:16], h[24:]}
			}},
		{name: "ospf", proto: 89, v6: true, at: 12, fixed: []int{2, 3}, head: bytesOf(map[int]byte{2: 0, 3: kindBody - kindTrailer}),
			parts: func(p built) [][]byte {
				h := p.upper()[:kindBody-kindTrailer]
				return [][]byte{p.pseudo(89, len(h)), h}
			}},
		{name: "pim hello", proto: 103, at: 2, fixed: []int{0}, head: bytesOf(map[int]byte{0: 0x20}), parts: plain},
		{name: "pim hello", proto: 103, v6: true, at: 2, fixed: []int{0}, head: bytesOf(map[int]byte{0: 0x20}), parts: withPseudo(103)},
		{name: "pim register", proto: 103, at: 2, fixed: []int{0}, head: bytesOf(map[int]byte{0: 0x21}),
			parts: func(p built) [][]byte { return [][]byte{p.upper()[:8]} }},
		{name: "pim register, all of it summed", proto: 103, at: 2, fixed: []int{0}, head: bytesOf(map[int]byte{0: 0x21}), parts: plain,
			standard: func(p built) [][]byte { return [][]byte{p.upper()[:8]} }},
		{name: "pim register", proto: 103, v6: true, at: 2, fixed: []int{0}, head: bytesOf(map[int]byte{0: 0x21}),
			parts: func(p built) [][]byte { return [][]byte{p.pseudo(103, 8), p.upper()[:8]} }},
		{name: "vrrp 2", proto: 112, at: 6, fixed: []int{0}, head: bytesOf(map[int]byte{0: 0x21}), parts: plain},
		{name: "vrrp 3", proto: 112, at: 6, fixed: []int{0}, head: bytesOf(map[int]byte{0: 0x31}), parts: withPseudo(112)},
		{name: "vrrp 3, no pseudo-header", proto: 112, at: 6, fixed: []int{0}, head: bytesOf(map[int]byte{0: 0x31}), parts: plain, standard: withPseudo(112)},
		{name: "vrrp 3", proto: 112, v6: true, at: 6, fixed: []int{0}, head: bytesOf(map[int]byte{0: 0x31}), parts: withPseudo(112)},
		{name: "icmp", proto: 58, v6: true, at: 2, parts: withPseudo(58)},
		{name: "shim6", proto: 140, v6: true, at: 4, fixed: []int{1, 2}, head: bytesOf(map[int]byte{1: 7, 2: 3}),
			parts: func(p built) [][]byte { return [][]byte{p.upper()[:64]} }},
		{name: "mobility", proto: 135, v6: true, at: 4, fixed: []int{1}, head: bytesOf(map[int]byte{1: 9}), parts: withPseudo(135)},
	}
	for _, v6 := range []bool{false, true} {
		kinds = append(kinds,
			sumKind{name: "tcp", proto: 6, v6: v6, at: 16, parts: withPseudo(6)},
			sumKind{name: "udp", proto: 17, v6: v6, at: 6, udp: true, fixed: []int{4, 5},
				head: bytesOf(map[int]byte{4: 0, 5: kindBody}), parts: withPseudo(17)},
			sumKind{name: "udp with a trailer", proto: 17, v6: v6, at: 6, udp: true, fixed: []int{4, 5},
				head: bytesOf(map[int]byte{4: 0, 5: kindBody - kindTrailer}),
				parts: func(p built) [][]byte {
					h := p.upper()[:kindBody-kindTrailer]
					return [][]byte{p.pseudo(17, len(h)), h}
				}},
			sumKind{name: "udp-lite, whole", proto: 136, v6: v6, at: 6, fixed: []int{4, 5}, head: bytesOf(map[int]byte{4: 0, 5: 0}), parts: withPseudo(136)},
			sumKind{name: "udp-lite, in part", proto: 136, v6: v6, at: 6, fixed: []int{4, 5}, head: bytesOf(map[int]byte{4: 0, 5: 21}),
				parts: func(p built) [][]byte { return [][]byte{p.pseudo(136, kindBody), p.upper()[:21]} }},
			sumKind{name: "dccp, whole", proto: 33, v6: v6, at: 6, fixed: []int{4, 5}, head: bytesOf(map[int]byte{4: 4, 5: 0x10}), parts: withPseudo(33)},
			sumKind{name: "dccp, in part", proto: 33, v6: v6, at: 6, fixed: []int{4, 5}, head: bytesOf(map[int]byte{4: 4, 5: 0x13}),
				parts: func(p built) [][]byte { return [][]byte{p.pseudo(33, kindBody), p.upper()[:24]} }},
			sumKind{name: "hip", proto: 139, v6: v6, at: 4, fixed: []int{1}, head: bytesOf(map[int]byte{1: 9}), parts: withPseudo(139)},
			sumKind{name: "sctp", proto: 132, v6: v6, at: 8},
		)
	}
	return kinds
}()

// A wrapping is what stands between the IP header and the upper layer.
type wrapping struct {
	name string
	v6   bool
	make func(next uint8) (first uint8, headers []byte)
	dst  string // the destination that is summed, if not the header's
	src  string // likewise
}

const v6Home = "\x20\x01\x0d\xb8\xee\xee\x00\x00\x00\x00\x00\x00\x00\x00\x00\x77"

var wrappings = []wrapping{
	{name: "no options", make: func(next uint8) (uint8, []byte) { return next, nil }},
	{name: "options", make: func(next uint8) (uint8, []byte) { return next, []byte{1, 1, 148, 4, 0, 0, 1, 0} }},
	{name: "source route", dst: "\xc6\x33\x64\x09",
		make: func(next uint8) (uint8, []byte) {
			return next, []byte("\x01\x83\x0b\x08\x0a\x01\x01\x01\xc6\x33\x64\x09")
		}},
	{name: "source route at its end",
		make: func(next uint8) (uint8, []byte) {
			return next, []byte("\x01\x83\x0b\x0c\x0a\x01\x01\x01\xc6\x33\x64\x09")
		}},
	{name: "plain", v6: true, make: func(next uint8) (uint8, []byte) { return next, nil }},
	{name: "hop-by-hop and destination options", v6: true, make: func(next uint8) (uint8, []byte) {
		return 0, slices.Concat(ext(60, 0), ext(next, 1))
	}},
	{name: "routing 0", v6: true, dst: v6Final, make: func(next uint8) (uint8, []byte) { return 43, routing(next, 0, 1, v6Src, v6Final) }},
	{name: "home address", v6: true, src: v6Home, make: func(next uint8) (uint8, []byte) {
		return 60, slices.Concat([]byte{next, 2, 1, 2, 0, 0, 201, 16}, []byte(v6Home))
	}},
	{name: "atomic fragment", v6: true, make: func(next uint8) (uint8, []byte) { return 44, fragmentHdr(next, 0) }},
}

// build makes a packet of a kind with a random body, and right checksums.
func (k *sumKind) build(w wrapping, random func() byte) built {
	first, headers := w.make(k.proto)
	h := make([]byte, kindBody)
	for i := range h {
		h[i] = random()
	}
	if k.head != nil {
		k.head(h)
	}
	var p built
	if k.v6 {
		p.b = ipv6(first, headers, h)
		binary.BigEndian.PutUint16(p.b[4:], uint16(len(p.b)-40))
		p.src, p.dst = p.b[8:24], p.b[24:40]
	} else {
		p.b = ipv4(first, 0x4000, headers, h)
		binary.BigEndian.PutUint16(p.b[2:], uint16(len(p.b)))
		p.src, p.dst = p.b[12:16], p.b[16:20]
	}
	p.off = len(p.b) - kindBody
	if w.dst != "" {
		i := bytes.LastIndex(p.b[:p.off], []byte(w.dst))
		p.dst = p.b[i : i+len(w.dst)]
	}
	if w.src != "" {
		i := bytes.LastIndex(p.b[:p.off], []byte(w.src))
		p.src = p.b[i : i+len(w.src)]
	}
	k.put(p)
	return p
}

// put writes the right checksums.
func (k *sumKind) put(p built) {
	if !k.v6 {
		p.b[10], p.b[11] = 0, 0
		binary.BigEndian.PutUint16(p.b[10:], ^naiveSum(p.b[:p.off]))
	}
	h := p.upper()
	if k.proto == protoSCTP {
		clear(h[8:12])
		binary.LittleEndian.PutUint32(h[8:], crc32.Checksum(h, castagnoli))
		return
	}
	h[k.at], h[k.at+1] = 0, 0
	ck := ^naiveSum(k.parts(p)...)
	if ck == 0 && (k.udp || k.proto == protoUDPLite) {
		ck = 0xffff
	}
	binary.BigEndian.PutUint16(h[k.at:], ck)
}

// right reports whether the IPv4 header's checksum and the upper layer's are.
func (k *sumKind) right(p built) (header, upper bool) {
	header = k.v6 || naiveSum(p.b[:p.off]) == 0xffff
	if k.proto == protoSCTP {
		h := bytes.Clone(p.upper())
		got := binary.LittleEndian.Uint32(h[8:])
		clear(h[8:12])
		return header, got == crc32.Checksum(h, castagnoli)
	}
	return header, naiveSum(k.parts(p)...) == 0xffff
}

// editable reports whether a byte may be changed at random: not what says how
// the packet is to be read, and not a checksum.
func (k *sumKind) editable(p built, i int) bool {
	switch {
	case i >= p.off:
		i -= p.off
		n := 2
		if k.proto == protoSCTP {
			n = 4
		}
		return !slices.Contains(k.fixed, i) && (i < k.at || i >= k.at+n)
	case k.v6:
		return i >= 1 && i <= 3 || i >= 7 && i < 40 || within16(p, i)
	}
	return i == 1 || i == 4 || i == 5 || i == 8 || i >= 12 && i < 20 || within16(p, i)
}

// within16 reports whether the byte is one of an address that is summed.
func within16(p built, i int) bool {
	for _, a := range [][]byte{p.src, p.dst} {
		if &p.b[i] == &a[0] || i > 0 && indexIn(p.b, a) <= i && i < indexIn(p.b, a)+len(a) {
			return true
		}
	}
	return false
}

func indexIn(b, part []byte) int { return cap(b) - cap(part) }

// checkEdit damages a packet's checksums, edits it, has Update mend it, and
// compares with the oracle.
func checkEdit(t *testing.T, k *sumKind, w wrapping, p built, damageHeader, damage uint16, edit func(i int, was byte) byte) {
	t.Helper()
	h := p.upper()
	if !k.v6 {
		binary.BigEndian.PutUint16(p.b[10:], fold16(uint32(binary.BigEndian.Uint16(p.b[10:]))+uint32(damageHeader)))
	}
	if field := h[k.at:]; k.proto == protoSCTP {
		binary.LittleEndian.PutUint16(field, binary.LittleEndian.Uint16(field)^damage)
	} else if ck := fold16(uint32(binary.BigEndian.Uint16(field)) + uint32(damage)); ck != 0 || !k.udp {
		binary.BigEndian.PutUint16(field, ck)
	}
	headerWas, upperWas := k.right(p)
	none := (k.udp || k.proto == protoUDPLite) && h[k.at] == 0 && h[k.at+1] == 0
	if k.standard != nil && (!upperWas || naiveSum(k.standard(p)...) == 0xffff) {
		return // which reading the sender goes by cannot be told
	}
	if u, _ := parseWhole(p.b); !upperWas && k.proto != protoSCTP {
		if _, other, _ := findSum(p.b, u, 0); other != 0 {
			if _, ok := rightOtherwise(p.b, u, other); ok {
				return // it is right by another reading
			}
		}
	}
	var s Sums
	if err := s.Take(p.b, false); err != nil {
		t.Fatalf("%s, %s: Take: %v", k.name, w.name, err)
	}
	changed := false
	for i := range p.b {
		if !k.editable(p, i) {
			continue
		}
		was := p.b[i]
		p.b[i] = edit(i, was)
		changed = changed || p.b[i] != was
	}
	before := bytes.Clone(p.b)
	s.Update(p.b)
	header, upper := k.right(p)
	if header != headerWas {
		t.Errorf("%s, %s: IPv4 header right: %v, it was %v", k.name, w.name, header, headerWas)
	}
	if upper != upperWas && !none {
		t.Errorf("%s, %s, v6 %v: checksum right: %v, it was %v\n%x", k.name, w.name, k.v6, upper, upperWas, p.b)
	}
	for i := range before {
		inHeader := !k.v6 && (i == 10 || i == 11)
		size := 2
		if k.proto == protoSCTP {
			size = 4
		}
		inUpper := i >= p.off+k.at && i < p.off+k.at+size
		if before[i] != p.b[i] && !inHeader && !inUpper {
			t.Errorf("%s, %s: byte %d changed", k.name, w.name, i)
		}
		if before[i] != p.b[i] && !changed {
			t.Errorf("%s, %s: nothing was edited, and byte %d changed", k.name, w.name, i)
		}
	}
	if headerWas && upperWas && !none {
		want := bytes.Clone(p.b)
		k.put(built{want, p.off, want[indexIn(p.b, p.src):][:len(p.src)], want[indexIn(p.b, p.dst):][:len(p.dst)]})
		if !bytes.Equal(p.b, want) {
			t.Errorf("%s, %s: right, but not as the standard computes it: %x, want %x", k.name, w.name, p.b, want)
		}
	}
}

// each calls f with every kind in every wrapping that it can have.
func each(f func(k *sumKind, w wrapping)) {
	for i := range sumKinds {
		for _, w := range wrappings {
			if w.v6 == sumKinds[i].v6 {
				f(&sumKinds[i], w)
			}
		}
	}
}

// An edit in place leaves what was right right, and what was wrong wrong.
func TestUpdate(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	random := func() byte { return byte(rng.Uint32()) }
	keep := func(_ int, was byte) byte { return was }
	each(func(k *sumKind, w wrapping) {
		for range 20 {
			for _, damage := range []uint16{0, 1, 0x1234, 0xfffe} {
				checkEdit(t, k, w, k.build(w, random), damage>>1, damage, keep)
				checkEdit(t, k, w, k.build(w, random), damage>>1, damage, func(_ int, _ byte) byte { return random() })
				only := rng.IntN(200)
				checkEdit(t, k, w, k.build(w, random), damage>>1, damage, func(i int, was byte) byte {
					if i == only {
						return was ^ 0x5a
					}
					return was
				})
			}
		}
	})
}

// Bytes that are all zero sum up to another zero than the rest, so that only one
// of the checksum's two zeroes is right.
func TestUpdateZero(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	random := func() byte { return byte(rng.Uint32()) }
	zero := func() byte { return 0 }
	each(func(k *sumKind, w wrapping) {
		for _, damage := range []uint16{0, 1, 0x1234, 0xfffe} {
			for _, build := range []func() byte{zero, random} {
				checkEdit(t, k, w, k.build(w, build), damage>>1, damage, func(int, byte) byte { return 0 })
				checkEdit(t, k, w, k.build(w, build), damage>>1, damage, func(int, byte) byte { return random() })
			}
		}
		if k.proto == protoSCTP || k.standard != nil {
			return
		}
		p := k.build(w, zero)
		clear(p.upper()[k.at:][:2])
		_, was := k.right(p)
		var s Sums
		if err := s.Take(p.b, false); err != nil {
			t.Fatal(err)
		}
		p.upper()[kindBody-kindTrailer-1] = 0x11
		s.Update(p.b)
		if _, right := k.right(p); right != was {
			t.Errorf("%s, %s: with no checksum, right after: %v, before: %v", k.name, w.name, right, was)
		}
		if err := FixPacket(p.b); err != nil {
			t.Fatal(err)
		}
		clear(p.upper()[kindBody-kindTrailer-1:][:1])
		if err := FixPacket(p.b); err != nil {
			t.Fatal(err)
		}
		if _, right := k.right(p); !right || !VerifyPacket(p.b) {
			t.Errorf("%s, %s: all zero, FixPacket leaves it wrong", k.name, w.name)
		}
	})
}

// An edit may bring a checksum to zero, which some protocols write as 0xffff.
func TestUpdateToZero(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	random := func() byte { return byte(rng.Uint32()) }
	each(func(k *sumKind, w wrapping) {
		if k.proto == protoSCTP || k.standard != nil {
			return
		}
		for i := 4; i < kindBody; i += 2 {
			p := k.build(w, random)
			if !k.editable(p, p.off+i) || !k.editable(p, p.off+i+1) {
				continue
			}
			field := binary.BigEndian.Uint16(p.upper()[k.at:])
			word := binary.BigEndian.Uint16(p.upper()[i:])
			word = fold16(uint32(word) + uint32(field)) // what the field has, the word has now
			var to [2]byte
			binary.BigEndian.PutUint16(to[:], word)
			zero := built{bytes.Clone(p.b), p.off, p.src, p.dst}
			copy(zero.upper()[i:], to[:])
			if naiveSum(k.parts(zero)...) != fold16(0xffff+uint32(field)) {
				continue // it is not covered
			}
			at := p.off + i
			checkEdit(t, k, w, p, 0, 0, func(j int, was byte) byte {
				if j == at || j == at+1 {
					return to[j-at]
				}
				return was
			})
			if got := binary.BigEndian.Uint16(p.upper()[k.at:]); got != 0 && got != 0xffff {
				t.Errorf("%s, %s: the checksum is %#x, not zero", k.name, w.name, got)
			}
			return
		}
		t.Errorf("%s, %s: no word is covered", k.name, w.name)
	})
}

// What is replaced has right sums, unless those of the packet before were wrong.
func TestFixAfterTake(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	random := func() byte { return byte(rng.Uint32()) }
	each(func(k *sumKind, w wrapping) {
		for _, damage := range []uint16{0, 0x1234} {
			p := k.build(w, random)
			var s Sums
			field := p.upper()[k.at:]
			binary.BigEndian.PutUint16(field, fold16(uint32(binary.BigEndian.Uint16(field))+uint32(damage)))
			if err := s.Take(p.b, false); err != nil {
				t.Fatal(err)
			}
			if k.standard != nil && damage != 0 {
				continue // which reading the sender goes by cannot be told
			}
			p.b[len(p.b)-kindTrailer-1] ^= 0x11 // covered by all but those in part, and the Register
			was := bytes.Clone(p.b)
			if err := s.Fix(p.b); err != nil {
				t.Fatal(err)
			}
			if _, right := k.right(p); right != (damage == 0) {
				t.Errorf("%s, %s, v6 %v: damaged by %#x, right after: %v", k.name, w.name, k.v6, damage, right)
			}
			if n := len(p.b); !bytes.Equal(p.b[n-kindTrailer:], was[n-kindTrailer:]) {
				t.Errorf("%s, %s: the end changed", k.name, w.name)
			}
			if k.udp && k.fixed != nil && (p.upper()[k.fixed[0]] != was[p.off+k.fixed[0]] || p.upper()[k.fixed[1]] != was[p.off+k.fixed[1]]) {
				t.Errorf("%s, %s: a length that was right changed", k.name, w.name)
			}
		}
	})
}

func FuzzUpdate(f *testing.F) {
	for i := range sumKinds {
		f.Add(uint8(i), uint8(i), uint64(i), uint16(i%2)*77, uint16(0), []byte{byte(i), 1, 2, 3})
	}
	f.Fuzz(func(t *testing.T, kind, wrap uint8, seed uint64, damage, damageHeader uint16, mask []byte) {
		k := &sumKinds[int(kind)%len(sumKinds)]
		var fit []wrapping
		for _, w := range wrappings {
			if w.v6 == k.v6 {
				fit = append(fit, w)
			}
		}
		w := fit[int(wrap)%len(fit)]
		rng := rand.New(rand.NewPCG(seed, 1))
		p := k.build(w, func() byte { return byte(rng.Uint32()) })
		checkEdit(t, k, w, p, damageHeader, damage, func(i int, was byte) byte {
			if len(mask) == 0 {
				return was
			}
			return was ^ mask[i%len(mask)]
		})
	})
}

// The first fragment of a datagram has the checksum of all of it: an edit there
// leaves the whole right.
func TestUpdateFirstFragment(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	random := func() byte { return byte(rng.Uint32()) }
	each(func(k *sumKind, w wrapping) {
		if k.proto != protoUDP && k.proto != protoTCP && k.proto != protoICMPv6 || w.name == "atomic fragment" {
			return
		}
		for _, damage := range []uint16{0, 0x1234} {
			whole := k.build(w, random)
			field := whole.upper()[k.at:]
			binary.BigEndian.PutUint16(field, fold16(uint32(binary.BigEndian.Uint16(field))+uint32(damage)))
			const kept = 40 // of the upper layer
			first := bytes.Clone(whole.b[:whole.off+kept])
			off := whole.off
			if k.v6 {
				first = slices.Concat(first[:40], fragmentHdr(first[6], 1), first[40:])
				first[6] = protoFragment
				off += 8
				binary.BigEndian.PutUint16(first[4:], uint16(len(first)-40))
			} else {
				binary.BigEndian.PutUint16(first[6:], 0x2000)
				binary.BigEndian.PutUint16(first[2:], uint16(len(first)))
			}
			var s Sums
			if err := s.Take(first, false); err != nil {
				t.Fatal(err)
			}
			for i := off + 30; i < len(first); i++ {
				first[i] ^= random()
			}
			s.Update(first)
			copy(whole.upper(), first[off:])
			if _, right := k.right(whole); right != (damage == 0) {
				t.Errorf("%s, %s, v6 %v: damaged by %#x, right after: %v", k.name, w.name, k.v6, damage, right)
			}
		}
	})
}
