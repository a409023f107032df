package nftconn

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Attributes that golang.org/x/sys/unix does not have (linux/netfilter/nf_tables.h).
const (
	nftaTableUserdata = 6 // NFTA_TABLE_USERDATA, Linux 5.10
	nftCommentType    = 0 // NFTNL_UDATA_TABLE_COMMENT, NFTNL_UDATA_RULE_COMMENT
	nftKeyByteOrder   = 0 // NFTNL_UDATA_SET_KEYBYTEORDER
)

// PolicyAccept lets packets go on at the end of a base chain (NF_ACCEPT).
const PolicyAccept = 1

// A Batch is what one transaction does to one table. The kernel takes the
// changes in the order in which they were added.
type Batch struct {
	family  uint8
	table   string
	changes []change
	size    int  // in bytes, on the wire
	fresh   bool // the transaction makes the table
	ids     uint32
	err     error // of an expression that could not be encoded
}

type change struct {
	what  string // what it is for, as the caller calls it
	typ   uint16
	flags uint16
	body  attrs
}

// NewBatch returns an empty Batch for a table.
func NewBatch(family uint8, table string) *Batch {
	return &Batch{family: family, table: table}
}

// Size returns how many bytes the transaction takes.
func (b *Batch) Size() int { return b.size + 2*(messageHeader+8) }

// Empty reports whether nothing was added.
func (b *Batch) Empty() bool { return len(b.changes) == 0 }

const messageHeader = unix.SizeofNlMsghdr + 4 // and struct nfgenmsg

func (b *Batch) add(what string, typ, flags uint16, body attrs) {
	b.changes = append(b.changes, change{what, typ, flags, body})
	b.size += messageHeader + len(body)
}

// AddTable makes the table, which must not be there, with a comment.
func (b *Batch) AddTable(comment string) {
	b.fresh = true
	b.add("", unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, attrs(nil).
		text(unix.NFTA_TABLE_NAME, b.table).
		uint32(unix.NFTA_TABLE_FLAGS, 0).
		bytes(nftaTableUserdata, UserComment(nil, comment)))
}

// WakeTable puts a table's chains at their hooks again.
func (b *Batch) WakeTable() {
	b.add("", unix.NFT_MSG_NEWTABLE, 0, attrs(nil).text(unix.NFTA_TABLE_NAME, b.table).uint32(unix.NFTA_TABLE_FLAGS, 0))
}

// DeleteTable removes the table with all that is in it.
func (b *Batch) DeleteTable() {
	b.add("", unix.NFT_MSG_DELTABLE, 0, attrs(nil).text(unix.NFTA_TABLE_NAME, b.table))
}

// AddChain makes a chain that only rules lead to.
func (b *Batch) AddChain(name string) {
	b.add("", unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, b.chain(name))
}

// AddBaseChain makes a chain at a hook, of type filter, whose packets go on
// unless a rule decides otherwise.
func (b *Batch) AddBaseChain(what, name string, hook uint32, priority int32) {
	b.add(what, unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, b.chain(name).
		nested(unix.NFTA_CHAIN_HOOK, attrs(nil).
			uint32(unix.NFTA_HOOK_HOOKNUM, hook).
			uint32(unix.NFTA_HOOK_PRIORITY, uint32(priority))).
		uint32(unix.NFTA_CHAIN_POLICY, PolicyAccept).
		text(unix.NFTA_CHAIN_TYPE, "filter"))
}

// DeleteChain removes a chain without rules that nothing leads to.
func (b *Batch) DeleteChain(name string) { b.add("", unix.NFT_MSG_DELCHAIN, 0, b.chain(name)) }

func (b *Batch) chain(name string) attrs {
	return attrs(nil).text(unix.NFTA_CHAIN_TABLE, b.table).text(unix.NFTA_CHAIN_NAME, name)
}

// AddRule adds a rule at the end of a chain or, if before is the handle of one
// that stands there, before that.
func (b *Batch) AddRule(what, chain string, exprs []expr.Any, userData []byte, before uint64) {
	body := attrs(nil).text(unix.NFTA_RULE_TABLE, b.table).text(unix.NFTA_RULE_CHAIN, chain)
	var list attrs
	for _, e := range exprs {
		encoded, err := expr.Marshal(b.family, e)
		if err != nil && b.err == nil {
			b.err = err
		}
		list = list.nested(unix.NFTA_LIST_ELEM, encoded)
	}
	body = body.nested(unix.NFTA_RULE_EXPRESSIONS, list).bytes(unix.NFTA_RULE_USERDATA, userData)
	flags := uint16(unix.NLM_F_CREATE)
	if before != 0 { // without NLM_F_APPEND: before that rule
		body = body.uint64(unix.NFTA_RULE_POSITION, before)
	} else {
		flags |= unix.NLM_F_APPEND
	}
	b.add(what, unix.NFT_MSG_NEWRULE, flags, body)
}

// DeleteRule removes a rule.
func (b *Batch) DeleteRule(chain string, handle uint64) {
	b.add("", unix.NFT_MSG_DELRULE, 0, attrs(nil).text(unix.NFTA_RULE_TABLE, b.table).
		text(unix.NFTA_RULE_CHAIN, chain).uint64(unix.NFTA_RULE_HANDLE, handle))
}

// A SetType is what the elements of a set are, as nft calls them.
type SetType struct {
	Name   string // "ipv4_addr"
	Number uint32 // nft's own: enum datatypes
	Len    int    // bytes of an element
	Host   bool   // in the machine's byte order, not the network's
}

// The types of sets.
var (
	IPv4    = SetType{"ipv4_addr", 7, 4, false}
	IPv6    = SetType{"ipv6_addr", 8, 16, false}
	Port    = SetType{"inet_service", 13, 2, false}
	UID     = SetType{"uid", 24, 4, true}
	IfName  = SetType{"ifname", 41, 16, true}
	integer = SetType{"integer", 4, 4, true}

	Protocol = SetType{"inet_proto", 12, 1, false}
)

// An Element is a value or, in a set of intervals, the first value of one, or
// the first behind its end. An interval to the end of all values has no end.
type Element struct {
	Key []byte
	End bool
}

// chunk is how many bytes of elements a message has at the most: the list of
// them is an attribute, whose length has 16 bits.
const chunk = 60000

// AddSet makes a constant set: once a rule uses it, nobody can change it.
func (b *Batch) AddSet(what, name string, typ SetType, interval bool, elements []Element) {
	flags := uint32(unix.NFT_SET_CONSTANT)
	if interval {
		flags |= unix.NFT_SET_INTERVAL
	}
	b.add(what, unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b.set(name, typ, flags).
		uint32(unix.NFTA_SET_ID, b.id()).
		bytes(unix.NFTA_SET_USERDATA, byteOrder(typ)))
	b.AddElements(what, name, elements)
}

// AddGrowingSet makes an empty set that rules add to and take from. It has room for so
// many elements, of several values each, padded to four bytes. They may have
// time-outs and expressions.
func (b *Batch) AddGrowingSet(what, name string, values []SetType, room uint32) {
	typ := SetType{}
	for _, v := range values {
		typ.Number = typ.Number<<6 | v.Number // TYPE_BITS of nft
		typ.Len += (v.Len + 3) &^ 3
	}
	b.add(what, unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b.set(name, typ, unix.NFT_SET_TIMEOUT|unix.NFT_SET_EVAL).
		uint32(unix.NFTA_SET_ID, b.id()).
		nested(unix.NFTA_SET_DESC, attrs(nil).uint32(unix.NFTA_SET_DESC_SIZE, room)).
		bytes(unix.NFTA_SET_USERDATA, byteOrder(typ)))
}

func (b *Batch) set(name string, typ SetType, flags uint32) attrs {
	return attrs(nil).text(unix.NFTA_SET_TABLE, b.table).text(unix.NFTA_SET_NAME, name).
		uint32(unix.NFTA_SET_FLAGS, flags).
		uint32(unix.NFTA_SET_KEY_TYPE, typ.Number).
		uint32(unix.NFTA_SET_KEY_LEN, uint32(typ.Len))
}

// id returns the next number of a set in this transaction.
func (b *Batch) id() uint32 {
	b.ids++
	return b.ids
}

// AddElements adds to a set that nothing uses yet.
func (b *Batch) AddElements(what, name string, elements []Element) {
	for len(elements) > 0 {
		var list attrs
		n := 0
		for n < len(elements) && len(list) < chunk {
			list = list.nested(unix.NFTA_LIST_ELEM, elements[n].encode())
			n++
		}
		elements = elements[n:]
		b.elements(what, name, list)
	}
}

func (e Element) encode() attrs {
	a := attrs(nil).nested(unix.NFTA_SET_ELEM_KEY, attrs(nil).bytes(unix.NFTA_DATA_VALUE, e.Key))
	if e.End {
		a = a.uint32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	}
	return a
}

// DeleteSet removes a set or a map that no rule uses.
func (b *Batch) DeleteSet(name string) {
	b.add("", unix.NFT_MSG_DELSET, 0, attrs(nil).text(unix.NFTA_SET_TABLE, b.table).text(unix.NFTA_SET_NAME, name))
}

// AddMap makes a constant map from 0, 1, 2 and so on to a jump to each of the chains.
func (b *Batch) AddMap(what, name string, chains []string) {
	b.add(what, unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b.set(name, integer, unix.NFT_SET_CONSTANT|unix.NFT_SET_MAP).
		uint32(unix.NFTA_SET_DATA_TYPE, unix.NFT_DATA_VERDICT).
		uint32(unix.NFTA_SET_DATA_LEN, 0).
		uint32(unix.NFTA_SET_ID, b.id()).
		bytes(unix.NFTA_SET_USERDATA, byteOrder(integer)))
	var list attrs
	for i, chain := range chains {
		verdict := attrs(nil).uint32(unix.NFTA_VERDICT_CODE, uint32(0x100000000+int64(expr.VerdictGoto))).
			text(unix.NFTA_VERDICT_CHAIN, chain)
		list = list.nested(unix.NFTA_LIST_ELEM, attrs(nil).
			nested(unix.NFTA_SET_ELEM_KEY, attrs(nil).bytes(unix.NFTA_DATA_VALUE, binary.NativeEndian.AppendUint32(nil, uint32(i)))).
			nested(unix.NFTA_SET_ELEM_DATA, attrs(nil).nested(unix.NFTA_DATA_VERDICT, verdict)))
	}
	b.elements(what, name, list)
}

func (b *Batch) elements(what, set string, list attrs) {
	b.add(what, unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, attrs(nil).
		text(unix.NFTA_SET_ELEM_LIST_TABLE, b.table).
		text(unix.NFTA_SET_ELEM_LIST_SET, set).
		nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list))
}

// byteOrder returns the user data by which nft knows how to read elements.
func byteOrder(typ SetType) []byte {
	order := uint32(2)
	if typ.Host {
		order = 1
	}
	return UserData(nil, nftKeyByteOrder, binary.LittleEndian.AppendUint32(nil, order))
}

// UserComment appends an entry that nft shows as a comment to the user data of a
// table or a rule.
func UserComment(to []byte, text string) []byte {
	return UserData(to, nftCommentType, append([]byte(text), 0))
}

// UserData appends an entry to the user data of a rule: a type, which nft
// ignores if it does not know it, a length and the value, of at most 255 bytes.
func UserData(to []byte, typ uint8, value []byte) []byte {
	return append(append(to, typ, uint8(len(value))), value...)
}

// UserValue returns the entry of a type in user data, nil if there is none.
func UserValue(data []byte, typ uint8) []byte {
	for len(data) >= 2 {
		n := int(data[1])
		if len(data) < 2+n {
			return nil
		}
		if data[0] == typ {
			return data[2 : 2+n]
		}
		data = data[2+n:]
	}
	return nil
}

// encode returns the transaction as one buffer. Its messages are numbered from
// first on.
func (b *Batch) encode(first, generation uint32) []byte {
	buf := make([]byte, 0, b.Size())
	number := first
	message := func(typ, flags uint16, family uint8, resource uint16, body attrs) {
		buf = appendMessage(buf, typ, flags|unix.NLM_F_REQUEST, number, family, resource, body)
		number++
	}
	message(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES,
		attrs(nil).uint32(unix.NFNL_BATCH_GENID, generation))
	for i, c := range b.changes {
		if i == len(b.changes)-1 {
			c.flags |= unix.NLM_F_ACK
		}
		message(unix.NFNL_SUBSYS_NFTABLES<<8|c.typ, c.flags, b.family, 0, c.body)
	}
	message(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	return buf
}

// appendMessage appends struct nlmsghdr, struct nfgenmsg and the attributes.
func appendMessage(buf []byte, typ, flags uint16, number uint32, family uint8, resource uint16, body attrs) []byte {
	buf = binary.NativeEndian.AppendUint32(buf, uint32(messageHeader+len(body)))
	buf = binary.NativeEndian.AppendUint16(buf, typ)
	buf = binary.NativeEndian.AppendUint16(buf, flags)
	buf = binary.NativeEndian.AppendUint32(buf, number)
	buf = binary.NativeEndian.AppendUint32(buf, 0) // the kernel knows the port
	buf = append(buf, family, unix.NFNETLINK_V0)
	buf = binary.BigEndian.AppendUint16(buf, resource)
	return append(buf, body...)
}
