package zerocopy

import "testing"

func TestDatagramLen(t *testing.T) {
	v4 := func(ihl byte, said, have int) []byte {
		b := make([]byte, have)
		b[0], b[2], b[3] = 4<<4|ihl, byte(said>>8), byte(said)
		return b
	}
	v6 := func(next byte, said, have int) []byte {
		b := make([]byte, have)
		b[0], b[4], b[5], b[6] = 6<<4, byte(said>>8), byte(said), next
		return b
	}
	for name, test := range map[string]struct {
		ip   []byte
		want int
	}{
		"all of it":                     {v4(5, 40, 40), 40},
		"padded to an Ethernet frame":   {v4(5, 40, 46), 40},
		"cut off":                       {v4(5, 1500, 128), 128},
		"less than its own header":      {v4(6, 20, 46), 46},
		"longer than the field can say": {v4(5, 0, 60000), 60000},
		"IPv6":                          {v6(protoTCP, 20, 60), 60},
		"IPv6, padded":                  {v6(protoTCP, 20, 66), 60},
		"IPv6, cut off":                 {v6(protoTCP, 1000, 128), 128},
		"IPv6, no payload":              {v6(59, 0, 46), 40},
		"IPv6, a jumbogram":             {v6(protoHopByHop, 0, 60000), 60000},
		"not IP":                        {make([]byte, 46), 46},
		"nothing":                       {nil, 0},
	} {
		if got := DatagramLen(test.ip); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}
