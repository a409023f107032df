module github.com/goipq/goipq/bench/peers

go 1.26.0

require (
	github.com/florianl/go-nfqueue/v2 v2.1.0
	github.com/goipq/goipq v0.0.0
	github.com/goipq/goipq/compat/go-nfqueue/v2 v2.1.0
	github.com/gopacket/gopacket v1.7.7
	github.com/mdlayher/netlink v1.11.2
	golang.org/x/sys v0.49.0
)

require (
	github.com/aclements/go-moremath v0.0.0-20210112150236-f10218a38794 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/google/nftables v0.3.0 // indirect
	github.com/mdlayher/socket v0.6.0 // indirect
	github.com/panjf2000/ants/v2 v2.12.1 // indirect
	github.com/vishvananda/netlink v1.3.1 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
	golang.org/x/net v0.55.0 // indirect
	golang.org/x/sync v0.20.0 // indirect
)

replace (
	github.com/goipq/goipq => ../..
	github.com/goipq/goipq/compat/go-nfqueue/v2 => ../../compat/go-nfqueue/v2
)
