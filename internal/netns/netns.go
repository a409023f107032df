// Package netns holds on to network namespaces by their descriptors.
//
// A namespace that is given as a number, as in int(f.Fd()), is nobody's: the
// garbage collector may close f as soon as the number has been read, and the
// next file that is opened gets the number. So whoever takes such a number
// duplicates it first, with [Dup], and goes on with the duplicate.
package netns

import "errors"

// ErrNotNetNS is returned for a descriptor of anything but a network namespace.
// The error that matches it matches syscall.EINVAL, too, which is what setns(2)
// would answer.
var ErrNotNetNS = errors.New("not a network namespace")
