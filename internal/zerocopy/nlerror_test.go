package zerocopy

import (
	"encoding/binary"
	"testing"
)

// The first two were recorded from Linux 6.18 for a verdict on an id that its
// queue does not hold, the third for a config message's ACK.
func TestDecodeErrorGolden(t *testing.T) {
	littleEndian(t)
	for _, tt := range []struct {
		name, msg string
		want      Error
	}{
		{"whole request echoed", `34000000 0200 0000 efcdab00 41300000 feffffff
			20000000 0103 0100 efcdab00 00000000 00000102 0c000200 00000001 00abcdef`,
			Error{Errno: 2, Seq: 0xabcdef, Type: TypeVerdict}},
		{"NETLINK_CAP_ACK", `24000000 0200 0001 efcdab00 41300000 feffffff
			20000000 0103 0100 efcdab00 00000000`,
			Error{Errno: 2, Seq: 0xabcdef, Type: TypeVerdict}},
		{"ACK", `24000000 0200 0001 07000000 41300000 00000000
			1c000000 0203 0500 07000000 00000000`,
			Error{Errno: 0, Seq: 7, Type: TypeConfig}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeError(unhex(t, tt.msg))
			if err != nil || got != tt.want {
				t.Errorf("got %+v, error %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestDecodeErrorMalformed(t *testing.T) {
	msg := make([]byte, 52)
	binary.NativeEndian.PutUint32(msg, 52)
	binary.NativeEndian.PutUint16(msg[4:], TypeError)
	for n := range len(msg) {
		if _, err := DecodeError(msg[:n:n]); n < 36 && err != ErrShort || n >= 36 && err != nil {
			t.Errorf("%d bytes: error %v", n, err)
		}
	}
	with := func(off int, v uint32) []byte {
		b := append([]byte(nil), msg...)
		binary.NativeEndian.PutUint32(b[off:], v)
		return b
	}
	// The offending header's sequence number counts, not the error's own.
	if e, err := DecodeError(with(28, 7)); err != nil || e.Seq != 7 {
		t.Errorf("%+v, error %v", e, err)
	}
	if _, err := DecodeError(with(0, 35)); err != ErrShort {
		t.Errorf("nlmsg_len 35: error %v", err)
	}
	if _, err := DecodeError(with(16, 1)); err != ErrAttr {
		t.Errorf("positive error number: error %v", err)
	}
	if e, err := DecodeError(with(16, 1<<31)); err != nil || e.Errno != 1<<31 {
		t.Errorf("least error number: %+v, error %v", e, err)
	}
	if _, err := DecodeError(message(TypePacket, 2, 0, packetHdr(1, 0, 0), nla(AttrMark, be32(0)))); err != ErrType {
		t.Errorf("packet message: error %v", err)
	}
}
