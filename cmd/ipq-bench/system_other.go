//go:build !linux

package main

import (
	"errors"
	"time"
)

// main ends before any of these is called.

func allowedCPUs() ([]int, error) { return nil, errors.ErrUnsupported }

func keepTo([]int) error { return errors.ErrUnsupported }

func processCPU() time.Duration { return 0 }

func kernelRelease() string { return "" }

func cpuModel() string { return "" }
