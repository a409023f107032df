module github.com/goipq/goipq/compat/go-nfqueue

go 1.26.0

require (
	github.com/goipq/goipq/compat/go-nfqueue/v2 v2.1.0
	github.com/mdlayher/netlink v1.11.2
)

require (
	github.com/goipq/goipq v0.0.0 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/google/nftables v0.3.0 // indirect
	github.com/mdlayher/socket v0.6.0 // indirect
	github.com/panjf2000/ants/v2 v2.12.1 // indirect
	golang.org/x/net v0.55.0 // indirect
	golang.org/x/sync v0.20.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace (
	github.com/goipq/goipq => ../..
	github.com/goipq/goipq/compat/go-nfqueue/v2 => ./v2
)
