//go:build !linux

package doctor

import "errors"

// Examine needs Linux.
func Examine(string, string, func() error) ([]Finding, error) { return nil, errors.ErrUnsupported }
