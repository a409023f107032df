//go:build race

package ring

// poisoned is the byte that recycled slots are filled with.
const poisoned = 0xDB

// poison overwrites what the batch received. The stores are ordinary Go
// stores, which the race detector sees: the kernel's it does not.
func (b *Batch) poison() {
	for i := range b.n {
		m := b.Msg(i)
		for j := range m {
			m[j] = poisoned
		}
	}
}
