// Package output keeps commands from taking for written what was not.
package output

import (
	"fmt"
	"os"
	"sync"
)

// ExitStatus is that of a command that did all it should, and could not say so.
const ExitStatus = 3

// A Writer is a file that a command prints to. It remembers the first error, so
// that nothing that prints needs to look at its own. Its methods may be called
// from any goroutine.
type Writer struct {
	file *os.File
	mu   sync.Mutex
	err  error
}

// To returns a Writer to the file.
func To(f *os.File) *Writer { return &Writer{file: f} }

// Write implements [io.Writer].
func (w *Writer) Write(b []byte) (int, error) {
	n, err := w.file.Write(b)
	w.keep(err)
	return n, err
}

func (w *Writer) keep(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// File returns the file, for programs that are to print there, too, and for who
// asks whether it is a terminal.
func (w *Writer) File() *os.File { return w.file }

// Close closes the file and returns the first error of all: some file systems
// tell only now that there was no room.
func (w *Writer) Close() error {
	w.keep(w.file.Close())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return fmt.Errorf("the output could not be written: %w", w.err)
	}
	return nil
}

// End closes the Writer and returns the exit status of a command: its own or, in
// place of 0, [ExitStatus] after an error. tell is given the error.
func (w *Writer) End(status int, tell func(error)) int {
	err := w.Close()
	if err == nil {
		return status
	}
	tell(err)
	if status == 0 {
		return ExitStatus
	}
	return status
}
