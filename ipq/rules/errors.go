package rules

import (
	"errors"
	"fmt"
	"syscall"
)

var (
	// ErrConfig is matched by what is wrong with a [Set]. Nothing was installed
	// then.
	ErrConfig = errors.New("bad rules")
	// ErrChanged is returned when others change the namespace's rules all the time,
	// so that there was no moment for a change of ours. Nothing was changed.
	ErrChanged = errors.New("others change the rules of this network namespace all the time: try again later")
)

// A FieldError says what is wrong with a field of a [Set]: with its value, and
// then it matches [ErrConfig], or because the kernel refuses it, and then it
// unwraps to the kernel's answer, and matches errors.ErrUnsupported if this
// kernel has no such thing.
type FieldError struct {
	Field  string // such as "Chains[0].Rules[2].Match.DstPorts[1]"
	Reason string
	Err    error // the kernel's answer; nil if it was not asked
}

// Error implements error.
func (e *FieldError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("rules: %s: %s: %v", e.Field, e.Reason, e.Err)
	}
	return fmt.Sprintf("rules: %s: %s", e.Field, e.Reason)
}

// Unwrap returns the kernel's answer.
func (e *FieldError) Unwrap() error { return e.Err }

// Is reports whether target is ErrConfig or errors.ErrUnsupported, see the type.
func (e *FieldError) Is(target error) bool {
	switch target {
	case ErrConfig:
		return e.Err == nil
	case errors.ErrUnsupported:
		return lacks(e.Err)
	}
	return false
}

// lacks reports whether the kernel says by err that it has no such thing.
func lacks(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.EAFNOSUPPORT) ||
		errors.Is(err, syscall.EPROTONOSUPPORT) ||
		errors.Is(err, syscall.EPROTO) // no connection tracking of that family
}

func bad(field, format string, args ...any) error {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}
