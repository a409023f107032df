package fakekernel

import (
	"errors"
	"iter"

	"github.com/mdlayher/netlink"
)

// A Control is what the user's ends have in common as mdlayher/netlink wants them: it
// takes the config messages that the Conn sends. Packets and verdicts do not go that
// way.
type Control func(netlink.Message) error

// Send implements netlink.Socket.
func (c Control) Send(m netlink.Message) error { return c(m) }

// SendMessages implements netlink.Socket.
func (c Control) SendMessages(ms []netlink.Message) error {
	for _, m := range ms {
		if err := c(m); err != nil {
			return err
		}
	}
	return nil
}

// Receive is not how packets are received.
func (Control) Receive() ([]netlink.Message, error) { return nil, errors.ErrUnsupported }

// ReceiveIter is not how packets are received.
func (Control) ReceiveIter() iter.Seq2[netlink.Message, error] {
	return func(yield func(netlink.Message, error) bool) { yield(netlink.Message{}, errors.ErrUnsupported) }
}

// SetOption takes any option.
func (Control) SetOption(netlink.ConnOption, bool) error { return nil }
