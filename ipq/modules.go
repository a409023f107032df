package ipq

import "fmt"

// A module is one of the kernel's.
type module struct {
	openWrt string // the package that has it there, where none comes unasked
	config  string // the option that it is built by
}

// modules are those that goipq and its rules take.
var modules = map[string]module{
	"nfnetlink_queue":  {"kmod-nfnetlink-queue", "CONFIG_NETFILTER_NETLINK_QUEUE"},
	"nft_queue":        {"kmod-nft-queue", "CONFIG_NFT_QUEUE"},
	"xt_NFQUEUE":       {"kmod-ipt-nfqueue", "CONFIG_NFT_COMPAT and CONFIG_NETFILTER_XT_TARGET_NFQUEUE"},
	"nft_ct":           {"kmod-nft-core", "CONFIG_NFT_CT"},
	"nf_tables_bridge": {"kmod-nft-bridge", "CONFIG_NF_TABLES_BRIDGE"},
}

// moduleHint says what to do if a module is not there.
func moduleHint(name string) string {
	m := modules[name]
	return fmt.Sprintf("modprobe %s; if there is no such module, install it (%s on OpenWrt, linux-modules-extra-$(uname -r) on Ubuntu, "+
		"kernel-modules-extra on Fedora and its kin), or use a kernel with %s", name, m.openWrt, m.config)
}
