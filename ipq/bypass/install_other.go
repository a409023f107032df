//go:build !linux

package bypass

import "errors"

// Install returns an error that matches [errors.ErrUnsupported].
func (b *Bypasser) Install(Rules) (*Ruleset, error) { return nil, errors.ErrUnsupported }

// Remove returns an error that matches [errors.ErrUnsupported].
func (s *Ruleset) Remove() error { return errors.ErrUnsupported }

// Counters returns an error that matches [errors.ErrUnsupported].
func (s *Ruleset) Counters() (RuleCounters, error) { return RuleCounters{}, errors.ErrUnsupported }
