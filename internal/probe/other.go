//go:build !linux

package probe

import "errors"

// Ask returns errors.ErrUnsupported: elsewhere there is no netfilter.
func Ask() (Answers, error) { return Answers{}, errors.ErrUnsupported }
