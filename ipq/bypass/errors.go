package bypass

import (
	"errors"
	"fmt"
	"os"
)

// Errors that callers compare with [errors.Is].
var (
	// ErrClosed is returned by what is called after Close.
	ErrClosed = os.ErrClosed
	// ErrConfig reports a [Config], [Rules] or [Inspection] that makes no sense.
	ErrConfig = errors.New("bypass: bad config")
	// ErrFlow is returned for a packet or flow that the kernel could not tell
	// apart for certain, so that it is never settled: fragments, ICMP other than
	// echo, what is [ipq.Flow].Unknown, such as headers that are cut off, what is
	// not IP, and every packet of a queue with [ipq.CopyMeta].
	ErrFlow = errors.New("bypass: no flow that the kernel could recognise")
	// ErrMarked is returned for a verdict with a mark: packets that the kernel
	// decides by itself would go on without it.
	ErrMarked = errors.New("bypass: the verdict sets a mark, which the rest of the flow would not get")
	// ErrVerdict is returned for verdicts other than Accept and Drop.
	ErrVerdict = errors.New("bypass: neither Accept nor Drop")
	// ErrNotFound is returned for a flow that is not in the table.
	ErrNotFound = errors.New("bypass: no such flow in the table")
	// ErrNoRules is returned for a packet at whose hook no rules of the Bypasser
	// act on what is settled: call [Bypasser.Install] for that hook, or
	// [Bypasser.Lines] and load what it returns.
	ErrNoRules = errors.New("bypass: no rules at the packet's hook act on settled flows: call Install or Lines for that hook")
	// ErrNoTable is returned by the methods of the [Table] of a Bypasser whose
	// backend is not [EBPF]. It matches errors.ErrUnsupported.
	ErrNoTable = fmt.Errorf("bypass: there is no table without eBPF: %w", errors.ErrUnsupported)
)

// Reasons behind ErrFlow. They are made once, so that a packet costs no
// allocation.
var (
	errNotIP    = fmt.Errorf("%w: no IP packet, or none was copied", ErrFlow)
	errFragment = fmt.Errorf("%w: a fragment", ErrFlow)
	errHeaders  = fmt.Errorf("%w: headers are cut off, or hide what follows", ErrFlow)
	errNoPorts  = fmt.Errorf("%w: no ports", ErrFlow)
	errNotEcho  = fmt.Errorf("%w: ICMP, but no echo", ErrFlow)
	// errExtensions and errHiddenFlow are NFTSet's.
	errExtensions = fmt.Errorf("%w: IPv6 extension headers, behind which rules of nft see less than the library", ErrFlow)
	errHiddenFlow = fmt.Errorf("%w: an authentication header, behind which rules of nft see no flow to unsettle", ErrFlow)
	errAddresses  = fmt.Errorf("%w: addresses of different families", ErrFlow)
)

// A FieldError says what of a [Config], or of [Rules], the backend cannot do. It matches
// [errors.ErrUnsupported].
type FieldError struct {
	Field   string // "Config.Lease", for example
	Backend Backend
	Reason  string
}

// Error implements error.
func (e *FieldError) Error() string {
	return fmt.Sprintf("bypass: %s: the backend %v cannot do it: %s", e.Field, e.Backend, e.Reason)
}

// Is reports whether target is errors.ErrUnsupported.
func (e *FieldError) Is(target error) bool { return target == errors.ErrUnsupported }

// UnavailableError says that the kernel, or the caller's lack of privileges,
// rules out the backend that was asked for, or both. It matches
// [errors.ErrUnsupported], and its causes.
type UnavailableError struct {
	// EBPF, ConnMark and NFTSet are why each backend failed; nil if it was not tried.
	EBPF, ConnMark, NFTSet error
}

// Error implements error.
func (e *UnavailableError) Error() string {
	switch {
	case e.NFTSet != nil:
		return fmt.Sprintf("bypass: no sets that rules add to: %v: they need Linux 5.10 or newer with CONFIG_NF_TABLES_INET", e.NFTSet)
	case e.ConnMark == nil:
		return fmt.Sprintf("bypass: no eBPF: %v: run as root outside of user namespaces, on Linux 5.10 or newer with "+
			"CONFIG_BPF_SYSCALL, CONFIG_NFT_COMPAT and CONFIG_NETFILTER_XT_MATCH_BPF, or choose Config.Backend ConnMark", e.EBPF)
	case e.EBPF == nil:
		return fmt.Sprintf("bypass: no connection marks: %v: they need CONFIG_NF_CONNTRACK_MARK and CONFIG_NFT_CT", e.ConnMark)
	}
	return fmt.Sprintf("bypass: neither eBPF (%v) nor connection marks (%v): run as root outside of user namespaces, "+
		"or change what the latter cannot do", e.EBPF, e.ConnMark)
}

// Unwrap returns the causes.
func (e *UnavailableError) Unwrap() []error {
	var causes []error
	for _, err := range []error{e.EBPF, e.ConnMark, e.NFTSet} {
		if err != nil {
			causes = append(causes, err)
		}
	}
	return causes
}

// Is reports whether target is errors.ErrUnsupported.
func (e *UnavailableError) Is(target error) bool { return target == errors.ErrUnsupported }

// errSole is for a second ruleset with NFTSet.
var errSole = &FieldError{"Rules", NFTSet, "sets are those of one ruleset: remove the former one, or make another Bypasser for this one"}
