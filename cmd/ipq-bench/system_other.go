//go:build !linux

package main

import (
	"errors"
	"net"
	"time"

	"github.com/goipq/goipq/internal/bench/report"
)

// main ends before any of these is called.

func inheritable(*net.TCPListener) (int, error) { return 0, errors.ErrUnsupported }

func keepTo([]int) error { return errors.ErrUnsupported }

func processCPU() (user, system time.Duration) { return 0, 0 }

func readMachineCPU() report.MachineCPU { return report.MachineCPU{} }

func residentMemory() (uint64, error) { return 0, errors.ErrUnsupported }

func openDescriptors() (int, error) { return 0, errors.ErrUnsupported }

func kernelRelease() string { return "" }

func cpuModel() string { return "" }
