package zerocopy

// nlmsg_type of the messages that pass between the kernel's queue and us:
// NFNL_SUBSYS_QUEUE (3) in the high byte, enum nfqnl_msg_types in the low one.
const (
	TypePacket       uint16 = 3<<8 + iota // NFQNL_MSG_PACKET, kernel to user
	TypeVerdict                           // NFQNL_MSG_VERDICT, user to kernel
	TypeConfig                            // NFQNL_MSG_CONFIG, user to kernel
	TypeVerdictBatch                      // NFQNL_MSG_VERDICT_BATCH, user to kernel
)

// TypeError is the nlmsg_type of NLMSG_ERROR: an error or, with error number
// 0, an ACK.
const TypeError uint16 = 2

// requestFlag is NLM_F_REQUEST, the one nlmsg_flags bit of a verdict.
const requestFlag uint16 = 1

// Sizes of the fixed headers, in bytes.
const (
	HeaderLen     = 16 // struct nlmsghdr
	GenHeaderLen  = 4  // struct nfgenmsg
	AttrHeaderLen = 4  // struct nlattr

	// attrStart is where the attributes of an nfnetlink message begin.
	attrStart = HeaderLen + GenHeaderLen
)

// NFQA_* attributes of packet and verdict messages (enum nfqnl_attr_type).
// Their values are in network byte order, unlike netlink's own headers.
const (
	AttrPacketHdr     = 1  // NFQA_PACKET_HDR: struct nfqnl_msg_packet_hdr
	AttrVerdictHdr    = 2  // NFQA_VERDICT_HDR: struct nfqnl_msg_verdict_hdr
	AttrMark          = 3  // NFQA_MARK: u32
	AttrTimestamp     = 4  // NFQA_TIMESTAMP: struct nfqnl_msg_packet_timestamp
	AttrInDev         = 5  // NFQA_IFINDEX_INDEV: u32
	AttrOutDev        = 6  // NFQA_IFINDEX_OUTDEV: u32
	AttrPhysInDev     = 7  // NFQA_IFINDEX_PHYSINDEV: u32
	AttrPhysOutDev    = 8  // NFQA_IFINDEX_PHYSOUTDEV: u32
	AttrHWAddr        = 9  // NFQA_HWADDR: struct nfqnl_msg_packet_hw
	AttrPayload       = 10 // NFQA_PAYLOAD: bytes from the network header on
	AttrCT            = 11 // NFQA_CT: nest of CTA_*
	AttrCTInfo        = 12 // NFQA_CT_INFO: u32, enum ip_conntrack_info
	AttrCapLen        = 13 // NFQA_CAP_LEN: u32, length before truncation
	AttrSkbInfo       = 14 // NFQA_SKB_INFO: u32, Skb* bits
	AttrExp           = 15 // NFQA_EXP: nest of CTA_EXPECT_*, verdicts only
	AttrUID           = 16 // NFQA_UID: u32
	AttrGID           = 17 // NFQA_GID: u32
	AttrSecCtx        = 18 // NFQA_SECCTX: string
	AttrVLAN          = 19 // NFQA_VLAN: nest of NFQA_VLAN_*
	AttrL2Hdr         = 20 // NFQA_L2HDR: bytes of the link-layer header
	AttrPriority      = 21 // NFQA_PRIORITY: u32 (Linux 5.18)
	AttrCgroupClassID = 22 // NFQA_CGROUP_CLASSID: u32 (Linux 6.4)

	attrUnspec = 0 // NFQA_UNSPEC, never sent
	attrMax    = AttrCgroupClassID
)

// Members of the NFQA_VLAN nest (enum nfqnl_vlan_attr).
const (
	attrVLANProto = 1 // NFQA_VLAN_PROTO: be16
	attrVLANTCI   = 2 // NFQA_VLAN_TCI: be16
)

// Flag bits that share nla_type with the attribute number.
const (
	nestedFlag   = 0x8000 // NLA_F_NESTED
	attrTypeMask = 0x3fff // NLA_TYPE_MASK: without NESTED and NET_BYTEORDER
)

// NFQA_CFG_* attributes of config messages (enum nfqnl_attr_config).
const (
	CfgCmd         = 1 // NFQA_CFG_CMD: struct nfqnl_msg_config_cmd, 4 bytes
	CfgParams      = 2 // NFQA_CFG_PARAMS: struct nfqnl_msg_config_params, 5 bytes
	CfgQueueMaxlen = 3 // NFQA_CFG_QUEUE_MAXLEN: u32, packets
	CfgMask        = 4 // NFQA_CFG_MASK: u32, the Flag* bits to change
	CfgFlags       = 5 // NFQA_CFG_FLAGS: u32, the value of those bits
)

// Commands of NFQA_CFG_CMD (enum nfqnl_msg_config_cmds).
const (
	CmdBind     = 1 // NFQNL_CFG_CMD_BIND
	CmdUnbind   = 2 // NFQNL_CFG_CMD_UNBIND
	CmdPFBind   = 3 // NFQNL_CFG_CMD_PF_BIND: does nothing any more
	CmdPFUnbind = 4 // NFQNL_CFG_CMD_PF_UNBIND: likewise
)

// Bits of NFQA_CFG_FLAGS and NFQA_CFG_MASK.
const (
	FlagFailOpen  = 1 << 0 // NFQA_CFG_F_FAIL_OPEN
	FlagConntrack = 1 << 1 // NFQA_CFG_F_CONNTRACK
	FlagGSO       = 1 << 2 // NFQA_CFG_F_GSO
	FlagUIDGID    = 1 << 3 // NFQA_CFG_F_UID_GID
	FlagSecCtx    = 1 << 4 // NFQA_CFG_F_SECCTX
)

// Copy modes of NFQA_CFG_PARAMS (enum nfqnl_config_mode).
const (
	CopyNone   = 0 // NFQNL_COPY_NONE: the kernel drops every packet
	CopyMeta   = 1 // NFQNL_COPY_META: attributes without payload
	CopyPacket = 2 // NFQNL_COPY_PACKET: attributes and payload
)

// Bits of NFQA_SKB_INFO.
const (
	SkbCsumNotReady    = 1 << 0 // NFQA_SKB_CSUMNOTREADY: checksums are yet to be filled in; not an error
	SkbGSO             = 1 << 1 // NFQA_SKB_GSO: a super-packet, larger than the device's MTU
	SkbCsumNotVerified = 1 << 2 // NFQA_SKB_CSUM_NOTVERIFIED: nobody has checked the checksums
)

// MaxCopyRange is the most payload bytes that the kernel copies: what a
// 16-bit nla_len can count, less the attribute's header (0xffff - 4).
const MaxCopyRange = 0xffff - AttrHeaderLen

// Parts of MaxOverhead, in bytes. A security context has no bound in the
// kernel's interface; SELinux's are below 256 bytes but for long lists of
// categories.
const (
	maxSecCtx = 1024
	maxL2Hdr  = 64 // Ethernet 14, VLAN tags 4 each

	// maxTuple is CTA_TUPLE_*: nest 4, CTA_TUPLE_IP 4 with two IPv6 addresses
	// 2*(4+16), CTA_TUPLE_PROTO 4 with number and, for ICMP, id, type and code
	// 4*8, CTA_TUPLE_ZONE 8.
	maxTuple = 4 + (4 + 2*(4+16)) + (4 + 4*8) + 8

	// maxCT is what ctnetlink puts into NFQA_CT: original, reply and master
	// tuple; zone, id, status, timeout and mark 8 each; labels 4+16; TCP's
	// CTA_PROTOINFO 4+4+5*8; two counter nests 4+2*(4+8+4); timestamps
	// 4+2*(4+8+4); helper name 4+4+16; two sequence adjustments 4+3*8;
	// SYN proxy 4+3*8; security context 4+4 and its bytes.
	maxCT = 3*maxTuple + 5*8 + (4 + 16) + (4 + 4 + 5*8) + 2*(4+2*16) +
		(4 + 2*16) + (4 + 4 + 16) + 2*(4+3*8) + (4 + 3*8) + (4 + 4 + maxSecCtx)
)

// MaxOverhead is an upper bound of the bytes that precede the payload's own
// in a packet message. nlmsghdr and nfgenmsg 20; NFQA_PACKET_HDR 4+8; eleven
// 32-bit attributes 8 each (four interfaces, mark, priority, uid, gid,
// cgroup class, NFQA_CT_INFO, NFQA_CAP_LEN) and NFQA_SKB_INFO 8;
// NFQA_HWADDR 4+12; NFQA_VLAN 4+2*8; NFQA_TIMESTAMP 4+16; NFQA_L2HDR,
// NFQA_SECCTX and NFQA_CT 4 each and their bytes; NFQA_PAYLOAD's header 4.
const MaxOverhead = attrStart + (4 + 8) + 12*8 + (4 + 12) + (4 + 2*8) + (4 + 16) +
	(4 + maxL2Hdr) + (4 + maxSecCtx) + (4 + maxCT) + AttrHeaderLen
