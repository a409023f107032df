package nftconn

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// Generation returns the number of the namespace's rules as they are, which
// each transaction changes.
func (c *Conn) Generation() (generation uint32, err error) {
	err = c.ask(unix.NFT_MSG_GETGEN, 0, unix.AF_UNSPEC, nil, func(data []byte) {
		for typ, value := range all(data[4:]) {
			if typ == unix.NFTA_GEN_ID {
				generation = number(value)
			}
		}
	})
	return generation, err
}

// A Table is a table that is there.
type Table struct {
	Comment string
	Dormant bool // its chains are at no hooks for the time being
}

const tableDormant = 1 // NFT_TABLE_F_DORMANT

// Table returns a table. If there is none of that name the error is unix.ENOENT.
func (c *Conn) Table(family uint8, name string) (t Table, err error) {
	err = c.ask(unix.NFT_MSG_GETTABLE, 0, family, attrs(nil).text(unix.NFTA_TABLE_NAME, name), func(data []byte) {
		for typ, value := range all(data[4:]) {
			switch typ {
			case unix.NFTA_TABLE_FLAGS:
				t.Dormant = number(value)&tableDormant != 0
			case nftaTableUserdata:
				t.Comment = text(UserValue(value, nftCommentType))
			}
		}
	})
	return t, err
}

// A Chain is a chain that is there.
type Chain struct {
	Family      uint8
	Table, Name string
	Base        bool   // it is at a hook
	Hook        uint32 // where, if it is
	Priority    int32
	Policy      uint32 // what becomes of packets at its end, such as PolicyAccept
}

// Chains returns the chains of a family, or all for unix.AF_UNSPEC.
func (c *Conn) Chains(family uint8) (chains []Chain, err error) {
	err = c.ask(unix.NFT_MSG_GETCHAIN, unix.NLM_F_DUMP, family, nil, func(data []byte) {
		chain := Chain{Family: data[0]}
		for typ, value := range all(data[4:]) {
			switch typ {
			case unix.NFTA_CHAIN_TABLE:
				chain.Table = text(value)
			case unix.NFTA_CHAIN_NAME:
				chain.Name = text(value)
			case unix.NFTA_CHAIN_POLICY:
				chain.Policy = number(value)
			case unix.NFTA_CHAIN_HOOK:
				chain.Base = true
				for typ, value := range all(value) {
					switch typ {
					case unix.NFTA_HOOK_HOOKNUM:
						chain.Hook = number(value)
					case unix.NFTA_HOOK_PRIORITY:
						chain.Priority = int32(number(value))
					}
				}
			}
		}
		chains = append(chains, chain)
	})
	return chains, err
}

// A Rule is a rule that is there.
type Rule struct {
	Chain          string
	Handle         uint64
	UserData       []byte
	Packets, Bytes uint64 // of its counter
}

// Rules returns the rules of a table, those of a chain in their order.
func (c *Conn) Rules(family uint8, table string) (rules []Rule, err error) {
	err = c.ask(unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, family, attrs(nil).text(unix.NFTA_RULE_TABLE, table), func(data []byte) {
		var r Rule
		ours := true
		for typ, value := range all(data[4:]) {
			switch typ {
			case unix.NFTA_RULE_TABLE:
				ours = text(value) == table
			case unix.NFTA_RULE_CHAIN:
				r.Chain = text(value)
			case unix.NFTA_RULE_HANDLE:
				r.Handle = number64(value)
			case unix.NFTA_RULE_USERDATA:
				r.UserData = bytes.Clone(value)
			case unix.NFTA_RULE_EXPRESSIONS:
				r.count(value)
			}
		}
		if ours {
			rules = append(rules, r)
		}
	})
	return rules, err
}

// count reads the counter among the expressions of a rule.
func (r *Rule) count(expressions []byte) {
	for _, expression := range all(expressions) {
		name := ""
		for typ, value := range all(expression) {
			switch {
			case typ == unix.NFTA_EXPR_NAME:
				name = text(value)
			case typ == unix.NFTA_EXPR_DATA && name == "counter":
				for typ, value := range all(value) {
					switch typ {
					case unix.NFTA_COUNTER_PACKETS:
						r.Packets = number64(value)
					case unix.NFTA_COUNTER_BYTES:
						r.Bytes = number64(value)
					}
				}
			}
		}
	}
}

// Sets returns the names of a table's sets and maps, but those of rules' own.
func (c *Conn) Sets(family uint8, table string) (names []string, err error) {
	err = c.ask(unix.NFT_MSG_GETSET, unix.NLM_F_DUMP, family, attrs(nil).text(unix.NFTA_SET_TABLE, table), func(data []byte) {
		name, flags := "", uint32(0)
		for typ, value := range all(data[4:]) {
			switch typ {
			case unix.NFTA_SET_NAME:
				name = text(value)
			case unix.NFTA_SET_FLAGS:
				flags = number(value)
			}
		}
		if flags&unix.NFT_SET_ANONYMOUS == 0 {
			names = append(names, name)
		}
	})
	return names, err
}

// Elements returns what is in a set, in the kernel's order.
func (c *Conn) Elements(family uint8, table, set string) (elements []Element, err error) {
	body := attrs(nil).text(unix.NFTA_SET_ELEM_LIST_TABLE, table).text(unix.NFTA_SET_ELEM_LIST_SET, set)
	err = c.ask(unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, family, body, func(data []byte) {
		for typ, list := range all(data[4:]) {
			if typ != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			for _, element := range all(list) {
				elements = append(elements, decodeElement(element))
			}
		}
	})
	return elements, err
}

func decodeElement(element []byte) (e Element) {
	for typ, value := range all(element) {
		switch typ {
		case unix.NFTA_SET_ELEM_KEY:
			for _, key := range all(value) {
				e.Key = bytes.Clone(key)
			}
		case unix.NFTA_SET_ELEM_FLAGS:
			e.End = number(value)&unix.NFT_SET_ELEM_INTERVAL_END != 0
		}
	}
	return e
}
