package output

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestEnd(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		flag         int
		closed       bool
		status, want int
		told         bool
	}{
		{os.O_WRONLY, false, 0, 0, false},
		{os.O_WRONLY, false, 2, 2, false},
		{os.O_RDONLY, false, 0, ExitStatus, true}, // cannot be written
		{os.O_RDONLY, false, 2, 2, true},
		{os.O_WRONLY, true, 0, ExitStatus, true}, // cannot be closed
	} {
		f, err := os.OpenFile(name, tt.flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		w := To(f)
		if w.File() != f {
			t.Error("another file")
		}
		for range 2 {
			if _, err := w.Write([]byte("x")); (err != nil) != (tt.flag == os.O_RDONLY) {
				t.Errorf("%+v: %v", tt, err)
			}
		}
		if tt.closed {
			f.Close()
		}
		var told []error
		status := w.End(tt.status, func(err error) { told = append(told, err) })
		if status != tt.want || (len(told) == 1) != tt.told || len(told) > 1 {
			t.Errorf("%+v: status %d, told %v", tt, status, told)
		}
		var first *fs.PathError
		if tt.told && (!errors.As(told[0], &first) || tt.flag == os.O_RDONLY && first.Op != "write") {
			t.Errorf("%+v: told %v, which is not the first error", tt, told)
		}
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%+v: it was left open", tt)
		}
	}
}
