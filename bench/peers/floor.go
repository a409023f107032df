//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

//go:embed c/floor.c
var floorSource []byte

// floor is the C program that all others are measured against: it does what
// the kernel asks for and nothing else.
var floor = consumer{
	name:   "c-floor",
	queues: 1,
	command: func(dir string, s setup) (*exec.Cmd, error) {
		program := filepath.Join(dir, "floor")
		if _, err := os.Stat(program); err != nil {
			if err := compile(floorSource, program); err != nil {
				return nil, err
			}
		}
		return exec.Command(program, strconv.Itoa(int(s.Queue)), strconv.Itoa(s.MaxLen), strconv.Itoa(s.ReadBuffer)), nil
	},
}

// compile makes a C source into a program with the system's compiler.
func compile(source []byte, program string) error {
	file := program + ".c"
	if err := os.WriteFile(file, source, 0o600); err != nil {
		return err
	}
	out, err := exec.Command("cc", "-O2", "-Wall", "-o", program, file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("compile %s (is a C compiler with the Linux headers installed?): %w\n%s", file, err, out)
	}
	return nil
}
