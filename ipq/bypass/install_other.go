//go:build !linux

package bypass

import (
	"errors"
	"os"

	"github.com/cilium/ebpf"
)

func isBefore511() bool { return false }

func adapt(*ebpf.CollectionSpec) {}

func lacksMatch(*os.File, *ebpf.Program, string) error { return nil }

// A Ruleset is a table of rules that [Bypasser.Install] has made. There is none but on
// Linux.
type Ruleset struct{}

// Install returns an error that matches [errors.ErrUnsupported].
func (b *Bypasser) Install(Rules) (*Ruleset, error) { return nil, errors.ErrUnsupported }

// Remove returns an error that matches [errors.ErrUnsupported].
func (s *Ruleset) Remove() error { return errors.ErrUnsupported }

// Counters returns an error that matches [errors.ErrUnsupported].
func (s *Ruleset) Counters() (RuleCounters, error) { return RuleCounters{}, errors.ErrUnsupported }
