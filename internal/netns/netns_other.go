//go:build !linux

package netns

import (
	"errors"
	"os"
)

// Elsewhere there are no network namespaces.

// Dup returns errors.ErrUnsupported.
func Dup(int) (*os.File, error) { return nil, errors.ErrUnsupported }
