package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goipq/goipq/ipq"
)

// NFT returns the Set as text that nft -f takes, for people who keep their rules
// themselves: the table that [Install] makes, without the comment by which it
// would take the table for its own. It takes nft 1.0 or later, and a kernel with
// nft's queue expression if the Set queues.
func (s Set) NFT() (string, error) {
	if err := s.Check(); err != nil {
		return "", err
	}
	return compile(s, features{queue: true, socket: true}).text(), nil
}

func (p *program) text() string {
	var blocks []string
	for _, s := range p.sets {
		flags := "constant"
		if s.Interval {
			flags += ",interval"
		}
		var lines []string
		for some := range slices.Chunk(s.text(), 4) {
			lines = append(lines, strings.Join(some, ", "))
		}
		blocks = append(blocks, fmt.Sprintf("\tset %s {\n\t\ttype %s\n\t\tflags %s\n\t\telements = { %s }\n\t}\n",
			s.Name, s.Type.Name, flags, strings.Join(lines, ",\n\t\t             ")))
	}
	for _, c := range p.chains {
		var b strings.Builder
		fmt.Fprintf(&b, "\tchain %s {\n", c.Name)
		if c.Base {
			fmt.Fprintf(&b, "\t\ttype filter hook %v priority %d; policy accept;\n", ipq.Hook(c.Hook), c.Priority)
		}
		for _, r := range c.rules {
			b.WriteString("\t\t" + r.text)
			if r.Comment != "" {
				fmt.Fprintf(&b, " comment \"%s\"", r.Comment)
			}
			b.WriteString("\n")
		}
		b.WriteString("\t}\n")
		blocks = append(blocks, b.String())
	}
	return fmt.Sprintf("table %v %s {\n%s}\n", p.set.Family, p.set.Table, strings.Join(blocks, "\n"))
}
