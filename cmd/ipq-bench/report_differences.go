package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// dateFormat is how people are told when a report was made.
const dateFormat = "2006-01-02 15:04 UTC"

// describe names a document for people.
func (d *document) describe() string {
	var at time.Time
	var version string
	var interrupted bool
	if d.run != nil {
		at, version, interrupted = d.run.Time, d.run.Machine.Goipq, d.run.Interrupted
	} else {
		at, version, interrupted = d.peers.Time, d.peers.Versions["goipq"], d.peers.Interrupted
	}
	text := fmt.Sprintf("%s: goipq %s, %s", d.path, version, at.UTC().Format(dateFormat))
	if interrupted {
		text += "; interrupted, so it is not all that was asked for"
	}
	return text
}

// settings are what a run was made on and with, without what a comparison is
// made for: goipq itself.
func (d *document) settings() map[string]string {
	all := make(map[string]string)
	if d.peers != nil {
		flatten(all, "machine", d.peers.Machine)
		flatten(all, "options", d.peers.Options)
		flatten(all, "version", d.peers.Versions)
		delete(all, "version goipq")
		return all
	}
	flatten(all, "kind", d.run.Kind)
	flatten(all, "machine", d.run.Machine)
	flatten(all, "parameter", d.run.Parameters)
	flatten(all, "setup", d.run.Setup)
	if s := d.run.Sweep; s != nil {
		flatten(all, "sweep", s.Parameter)
	}
	delete(all, "machine goipq")
	return all
}

// flatten writes the JSON fields of a value into all, named as in the file.
func flatten(all map[string]string, name string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		return // of types that marshal
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil {
		all[name] = strings.Trim(string(text), `"`)
		return
	}
	for key, field := range fields {
		all[name+" "+key] = strings.Trim(string(field), `"`)
	}
}

// differences is a sentence for each setting in which two documents differ,
// sorted.
func differences(before, after *document) []string {
	settings, now := before.settings(), after.settings()
	names := maps.Clone(settings)
	maps.Copy(names, now)
	var all []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, is := settings[name], now[name]
		if was == is {
			continue
		}
		for _, text := range []*string{&was, &is} {
			if *text == "" {
				*text = "not given"
			}
		}
		all = append(all, fmt.Sprintf("%s: %s, now %s", name, was, is))
	}
	return all
}
