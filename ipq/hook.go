package ipq

import "strconv"

// A Hook is the place in the kernel's packet path at which a packet was
// queued. The IPv4, IPv6, inet and bridge families number their hooks alike
// (NF_INET_PRE_ROUTING and so on). Current kernels queue nowhere else: not at
// the hooks of the netdev and arp families, nor at inet's ingress.
type Hook uint8

// The hooks of the IPv4, IPv6, inet and bridge families.
const (
	Prerouting  Hook = 0
	Input       Hook = 1
	Forward     Hook = 2
	Output      Hook = 3
	Postrouting Hook = 4
)

var hookNames = [...]string{"prerouting", "input", "forward", "output", "postrouting"}

// String returns the hook's name as nft spells it.
func (h Hook) String() string {
	if int(h) < len(hookNames) {
		return hookNames[h]
	}
	return "hook " + strconv.Itoa(int(h))
}
