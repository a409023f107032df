//go:build !linux

package main

import "errors"

// examine is for Linux.
func examine(string, func() error) ([]finding, error) { return nil, errors.ErrUnsupported }
