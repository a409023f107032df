//go:build !linux

package netlab

import (
	"errors"
	"fmt"
	"runtime"
)

var errNotLinux = fmt.Errorf("netlab: %w: network namespaces are Linux's, this is %s: %w",
	ErrUnavailable, runtime.GOOS, errors.ErrUnsupported)

// Enter returns an error matching [ErrUnavailable] and [errors.ErrUnsupported].
func Enter() error { return errNotLinux }

// Inside reports false.
func Inside() bool { return false }

// Privileged reports false.
func Privileged() bool { return false }

// New returns an error matching [ErrUnavailable] and [errors.ErrUnsupported].
func New() (*NS, error) { return nil, errNotLinux }

// Current returns an error matching [errors.ErrUnsupported].
func Current() (*NS, error) { return nil, errNotLinux }

// Veth returns an error matching [errors.ErrUnsupported].
func Veth(*NS, string, *NS, string) error { return errNotLinux }

// ProbeQueueExpr returns an error matching [errors.ErrUnsupported].
func ProbeQueueExpr(*NS) (bool, error) { return false, errNotLinux }

// Close returns nil: there is nothing to close.
func (n *NS) Close() error { return nil }

// Do returns an error matching [errors.ErrUnsupported] without calling f.
func (n *NS) Do(func() error) error { return errNotLinux }

// Sysctl returns an error matching [errors.ErrUnsupported].
func (n *NS) Sysctl(_, _ string) error { return errNotLinux }

// Addr returns an error matching [errors.ErrUnsupported].
func (n *NS) Addr(_, _ string) error { return errNotLinux }

// Route returns an error matching [errors.ErrUnsupported].
func (n *NS) Route(_, _ string) error { return errNotLinux }

// Local returns an error matching [errors.ErrUnsupported].
func (n *NS) Local(string) error { return errNotLinux }

// SetMTU returns an error matching [errors.ErrUnsupported].
func (n *NS) SetMTU(string, int) error { return errNotLinux }

// SetUp returns an error matching [errors.ErrUnsupported].
func (n *NS) SetUp(string) error { return errNotLinux }

// SetDown returns an error matching [errors.ErrUnsupported].
func (n *NS) SetDown(string) error { return errNotLinux }

// InstallQueue returns an error matching [errors.ErrUnsupported].
func (n *NS) InstallQueue(...Rule) (*Ruleset, error) { return nil, errNotLinux }

// InstallCounter returns an error matching [errors.ErrUnsupported].
func (n *NS) InstallCounter(Hook, int32, ...Match) (*Ruleset, error) { return nil, errNotLinux }

// InstallDrop returns an error matching [errors.ErrUnsupported].
func (n *NS) InstallDrop(Hook, int32, ...Match) (*Ruleset, error) { return nil, errNotLinux }

// QueueStats returns an error matching [errors.ErrUnsupported].
func (n *NS) QueueStats() ([]QueueStat, error) { return nil, errNotLinux }

// A Ruleset is a table of rules. There is none but on Linux.
type Ruleset struct{}

// UsesTarget returns false.
func (r *Ruleset) UsesTarget() bool { return false }

// Remove returns an error matching [errors.ErrUnsupported].
func (r *Ruleset) Remove() error { return errNotLinux }

// Counters returns an error matching [errors.ErrUnsupported].
func (r *Ruleset) Counters() ([]Counter, error) { return nil, errNotLinux }
