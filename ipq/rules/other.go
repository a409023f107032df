//go:build !linux

package rules

import (
	"context"
	"errors"
	"fmt"
)

// A Ruleset is a table that [Install] has made. There is none but on Linux.
type Ruleset struct{}

// A Counter is how many packets a rule has matched, and their bytes.
type Counter struct{ Packets, Bytes uint64 }

var errOther = fmt.Errorf("rules: nftables is Linux's: %w", errors.ErrUnsupported)

// Install returns errors.ErrUnsupported.
func Install(s Set) (*Ruleset, error) { return Config{}.Install(s) }

// Install returns errors.ErrUnsupported.
func (Config) Install(Set) (*Ruleset, error) { return nil, errOther }

// Update returns errors.ErrUnsupported.
func (*Ruleset) Update(Set) error { return errOther }

// Watch returns errors.ErrUnsupported.
func (*Ruleset) Watch(context.Context) error { return errOther }

// Repairs returns 0.
func (*Ruleset) Repairs() uint64 { return 0 }

// Counters returns errors.ErrUnsupported.
func (*Ruleset) Counters() ([][]Counter, error) { return nil, errOther }

// Remove returns errors.ErrUnsupported.
func (*Ruleset) Remove() error { return errOther }

// NFT returns errors.ErrUnsupported.
func (Set) NFT() (string, error) { return "", errOther }
