//go:build !race

package ipq

func (b *batch) poison() {}

func (e *deferral) poison() {}
