package fakekernel

import (
	"context"
	"errors"
	"fmt"
)

// Judge has f told of each verdict as it takes effect, in order, with the
// packet's tag; the first complaints that it returns are kept for Check. The
// verdict is borrowed, and Verdict does not know it afterwards. f is called in
// the middle of things: it must not call the Kernel.
func (k *Kernel) Judge(f func(id, tag uint32, v *Verdict) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.judge = f
}

// Waiting returns how many packets have no verdict.
func (k *Kernel) Waiting() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ledger.open()
}

// Verdict waits for the verdict on a packet.
func (k *Kernel) Verdict(ctx context.Context, id uint32) (v Verdict, err error) {
	err = k.await(ctx, func() (ok bool) {
		v, ok = k.verdicts[id]
		return ok
	})
	if err != nil {
		return Verdict{}, fmt.Errorf("no verdict on packet %d: %w", id, err)
	}
	return v, nil
}

// Decided waits until at most so many packets have no verdict.
func (k *Kernel) Decided(ctx context.Context, most int) error {
	return k.await(ctx, func() bool { return k.ledger.open() <= most })
}

// await waits until ready, which is called under the lock, returns true.
func (k *Kernel) await(ctx context.Context, ready func() bool) error {
	for {
		k.mu.Lock()
		ok := ready()
		if !ok && k.changed == nil {
			k.changed = make(chan struct{})
		}
		changed := k.changed
		k.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notify wakes those who await.
func (k *Kernel) notify() {
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
}

// Check returns an error unless every packet delivered has exactly one verdict,
// the right one. Those that the kernel has decided itself are not spared:
// nobody has told user space.
func (k *Kernel) Check() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.wrong.err()
	if n := k.ledger.open(); n != 0 {
		var some []uint32
		k.ledger.each(k.lastID, func(id uint32, e *entry) {
			if len(some) < 10 && e.state != refused {
				some = append(some, id)
			}
		})
		err = errors.Join(fmt.Errorf("%d of %d packets have no verdict, such as %d", n, k.count.Delivered, some), err)
	}
	return err
}

// complaints are what was wrong, the first few word by word.
type complaints struct {
	errs []error
	more int
}

func (c *complaints) add(format string, args ...any) {
	if len(c.errs) == 10 {
		c.more++
		return
	}
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *complaints) err() error {
	if c.more == 0 {
		return errors.Join(c.errs...)
	}
	return errors.Join(append(c.errs, fmt.Errorf("and %d more", c.more))...)
}
