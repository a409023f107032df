package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// DateFormat is how people are told when a report was made.
const DateFormat = "2006-01-02 15:04 UTC"

// Describe names a document for people.
func (d *Document) Describe() string {
	var at time.Time
	var version string
	var interrupted bool
	if d.Run != nil {
		at, version, interrupted = d.Run.Time, d.Run.Machine.Goipq, d.Run.Interrupted
	} else {
		at, version, interrupted = d.Peers.Time, d.Peers.Versions["goipq"], d.Peers.Interrupted
	}
	text := fmt.Sprintf("%s: goipq %s, %s", d.Path, version, at.UTC().Format(DateFormat))
	if interrupted {
		text += "; interrupted, so it is not all that was asked for"
	}
	return text
}

// settings are what a run was made on and with. The version of goipq is not
// among them: comparisons are made to compare it.
func (d *Document) settings() map[string]string {
	all := make(map[string]string)
	if d.Peers != nil {
		flatten(all, "machine", d.Peers.Machine)
		flatten(all, "options", d.Peers.Options)
		flatten(all, "version", d.Peers.Versions)
		delete(all, "version goipq")
		return all
	}
	flatten(all, "kind", d.Run.Kind)
	flatten(all, "machine", d.Run.Machine)
	flatten(all, "parameter", d.Run.Parameters)
	flatten(all, "setup", d.Run.Setup)
	if s := d.Run.Sweep; s != nil {
		flatten(all, "sweep", s.Parameter)
	}
	delete(all, "machine goipq")
	return all
}

// flatten writes the JSON fields of a value into all, named as in the file.
func flatten(all map[string]string, name string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		return // cannot be: all of these types have a form in JSON
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

// Differences is a sentence for each setting in which two documents differ,
// sorted.
func Differences(before, after *Document) []string {
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
