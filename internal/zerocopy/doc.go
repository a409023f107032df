// Package zerocopy is the wire codec of the packet path: NFQUEUE's nfnetlink
// messages decoded and encoded in place, Internet checksums, and flow keys.
//
// Nothing in it copies, allocates, logs or panics on input. Decoders keep
// offsets into the caller's bytes, so what they return is valid only as long
// as those are; encoders write into a buffer that the caller has made large
// enough, and index out of range if it is not. Errors are sentinels.
//
// Netlink's own headers (struct nlmsghdr, struct nlattr) are in the host's
// byte order, nfnetlink's attribute values in network order; the package makes
// no assumption about either being the host's.
package zerocopy
