//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
)

// consumerEnv marks a process that inGo makes; it holds the setup.
const consumerEnv = "GOIPQ_PEERS_CONSUMER"

var goBodies = make(map[string]func(setup, *meter) error)

// inGo makes c a contestant within this program: body binds the queue, calls
// ready once it has, counts its packets with m, and returns when m.done is
// closed.
func inGo(c contestant, body func(s setup, m *meter) error) contestant {
	goBodies[c.name] = body
	c.command = func(_ string, s setup) (*exec.Cmd, error) {
		mark, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		cmd := exec.Command("/proc/self/exe", c.name)
		cmd.Env = append(os.Environ(), consumerEnv+"="+string(mark))
		return cmd, nil
	}
	return c
}

// runGoContestant does not return in a process that inGo made.
func runGoContestant() {
	mark := os.Getenv(consumerEnv)
	if mark == "" {
		return
	}
	var s setup
	err := json.Unmarshal([]byte(mark), &s)
	if err == nil {
		m := newMeter()
		if err = goBodies[os.Args[1]](s, m); err == nil {
			err = m.report()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
