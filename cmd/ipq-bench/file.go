package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goipq/goipq/internal/bench/render"
	"github.com/goipq/goipq/internal/bench/report"
)

// checkWritable finds out before a run whether its report can be written to the
// file name. flag is where the name was given. It leaves everything as it was.
func checkWritable(flag, name string) error {
	t, err := aim(flag, name)
	if err != nil {
		return err
	}
	if t.exists {
		f, err := os.OpenFile(t.path, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
		f.Close()
	}
	if !t.replace {
		return nil
	}
	f, err := t.create()
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}

// writeJSON writes a report to the file name.
func writeJSON(name string, rep *report.Report) error {
	text, err := json.MarshalIndent(rep, "", "\t")
	if err != nil {
		return fmt.Errorf("-json: %w", err)
	}
	return writeFile("-json", name, append(text, '\n'))
}

// writeHTML writes the page of a run to the file name.
func writeHTML(name string, rep *report.Report) error {
	text, err := render.HTML([]report.Document{{Run: rep}})
	if err != nil {
		return err
	}
	return writeFile("-html", name, text)
}

// writeFile writes the text to the file name: all of it or, after an error, nothing.
// flag is where the name was given.
func writeFile(flag, name string, text []byte) error {
	t, err := aim(flag, name)
	if err != nil {
		return err
	}
	if !t.replace {
		return os.WriteFile(t.path, text, 0)
	}
	f, err := t.create()
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails when the file has its new name
	_, err = f.Write(text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), t.path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	return nil
}

// A target is where a report goes.
type target struct {
	flag    string
	path    string // behind all symbolic links
	exists  bool
	replace bool // with a new file; a device or a pipe is written to instead
}

func aim(flag, name string) (target, error) {
	t := target{flag: flag, path: name, replace: true}
	info, err := os.Stat(name)
	if os.IsNotExist(err) {
		return t, nil
	}
	if err != nil {
		return t, fmt.Errorf("%s: %w", flag, err)
	}
	t.exists, t.replace = true, info.Mode().IsRegular()
	if t.replace {
		t.path, err = filepath.EvalSymlinks(name)
	}
	return t, err
}

// create opens a new file beside the target, to take its place.
func (t target) create() (*os.File, error) {
	name := fmt.Sprintf("%s.%d.tmp", t.path, os.Getpid())
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		var cause *os.PathError
		if errors.As(err, &cause) {
			err = cause.Err // the user did not name the new file
		}
		return nil, fmt.Errorf("%s %s: cannot make a file in its directory: %w", t.flag, t.path, err)
	}
	return f, nil
}
