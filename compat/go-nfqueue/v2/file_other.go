//go:build !linux

package nfqueue

import "os"

// Elsewhere everything compiles, and Open fails.

func duplicate(uintptr) (*os.File, error) { return nil, ErrNotLinux }

func discard(uintptr) error { return ErrNotLinux }
