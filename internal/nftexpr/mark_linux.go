package nftexpr

import (
	"encoding/binary"
	"math"

	"github.com/google/nftables/expr"
)

// A Mark is one of the two marks that rules read and write.
type Mark int

const (
	PacketMark Mark = iota // skb->mark
	ConnMark               // the mark of the packet's connection
)

// Is selects packets whose mark has, of the bits of mask, exactly those of
// value.
func (m Mark) Is(value, mask uint32) Condition {
	c := Condition{m.move(false)}
	if mask != math.MaxUint32 {
		c = append(c, change(mask, 0))
	}
	return append(c, equal(native(value)))
}

// Set gives the bits of mask the values that they have in value. The others
// stay.
func (m Mark) Set(value, mask uint32) []expr.Any {
	if mask == math.MaxUint32 {
		return []expr.Any{&expr.Immediate{Register: reg, Data: native(value)}, m.move(true)}
	}
	return []expr.Any{m.move(false), change(^mask, value&mask), m.move(true)}
}

// move loads the mark into the register, or stores it from there.
func (m Mark) move(store bool) expr.Any {
	if m == ConnMark {
		return &expr.Ct{Key: expr.CtKeyMARK, Register: reg, SourceRegister: store}
	}
	return &expr.Meta{Key: expr.MetaKeyMARK, Register: reg, SourceRegister: store}
}

// change keeps the bits of keep in the register, and then turns those of flip.
func change(keep, flip uint32) expr.Any {
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: native(keep), Xor: native(flip)}
}

// native returns a mark as the kernel's registers hold it.
func native(mark uint32) []byte { return binary.NativeEndian.AppendUint32(nil, mark) }
