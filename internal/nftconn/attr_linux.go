package nftconn

import (
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// attrs are netlink attributes: struct nlattr, then the value, padded to four
// bytes.
type attrs []byte

const attrHeader = 4 // u16 nla_len, u16 nla_type in native order

func (a attrs) bytes(typ uint16, value []byte) attrs {
	a = binary.NativeEndian.AppendUint16(a, uint16(attrHeader+len(value)))
	a = binary.NativeEndian.AppendUint16(a, typ)
	a = append(a, value...)
	return append(a, make([]byte, -len(value)&3)...)
}

func (a attrs) text(typ uint16, value string) attrs {
	return a.bytes(typ, append([]byte(value), 0))
}

// nf_tables' numbers are in network order.
func (a attrs) uint32(typ uint16, value uint32) attrs {
	return a.bytes(typ, binary.BigEndian.AppendUint32(nil, value))
}

func (a attrs) uint64(typ uint16, value uint64) attrs {
	return a.bytes(typ, binary.BigEndian.AppendUint64(nil, value))
}

func (a attrs) nested(typ uint16, value attrs) attrs {
	return a.bytes(typ|unix.NLA_F_NESTED, value)
}

// all returns the attributes in b, by type and value. It ends where b makes no
// sense.
func all(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= attrHeader {
			n := int(binary.NativeEndian.Uint16(b))
			if n < attrHeader || n > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED, b[attrHeader:n]) {
				return
			}
			b = b[min(len(b), (n+3)&^3):]
		}
	}
}

// text returns an attribute's string without the zero at its end.
func text(value []byte) string {
	if n := len(value); n > 0 && value[n-1] == 0 {
		value = value[:n-1]
	}
	return string(value)
}

func number(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(value)
}

func number64(value []byte) uint64 {
	if len(value) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}
