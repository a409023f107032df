package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
)

// save writes a value as JSON to a new file.
func save(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(t.TempDir(), "*.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func readReport(t *testing.T, name string) *report.Report {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var rep report.Report
	if err := d.Decode(&rep); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return &rep
}

func TestReportRoundTrip(t *testing.T) {
	rep := benchtest.Report(1000, 600, 1200, 560)
	name := filepath.Join(t.TempDir(), "report.json")
	if err := writeJSON(name, rep); err != nil {
		t.Fatal(err)
	}
	if got := readReport(t, name); !reflect.DeepEqual(got, rep) {
		t.Errorf("got %+v, want %+v", got, rep)
	}
	// What programs look up by name.
	var raw struct {
		Schema int
		Modes  []struct {
			Mode    string
			Summary map[string]report.Spread
			Rounds  []map[string]any
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	if raw.Schema != 3 || raw.Modes[1].Mode != "pool" || raw.Modes[1].Summary["verdicts_per_second"].Median != 300_000 ||
		raw.Modes[1].Rounds[2]["verdicts"] != 560_000.0 || raw.Modes[1].Rounds[2]["window_ns"] != 2e9 {
		t.Errorf("names have changed; raise schema: %s", text)
	}
}

func TestJSONFileIsCheckedBefore(t *testing.T) {
	dir := t.TempDir()
	for _, bad := range []string{dir, filepath.Join(dir, "none", "f")} {
		if err := checkWritable("-json", bad); err == nil || !strings.HasPrefix(err.Error(), "-json") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	file := filepath.Join(dir, "f")
	if err := checkWritable("-json", file); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("the check left %v", left)
	}
	if runtime.GOOS != "windows" {
		if err := checkWritable("-json", os.DevNull); err != nil {
			t.Error(err)
		}
		if err := writeJSON(os.DevNull, new(report.Report)); err != nil {
			t.Error(err)
		}
	}
}

// A report replaces what a symbolic link points to, not the link.
func TestJSONFileBehindLink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "f"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	if err := writeJSON(link, benchtest.Report(1)); err != nil {
		t.Fatal(err)
	}
	if got := readReport(t, file); got.Schema == 0 {
		t.Errorf("got %+v", got)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("files left: %v", left)
	}
}
