package main

import "fmt"

// churnBytes is what a short connection sends, and what it is answered with: as
// much as fits into one packet of any path.
const churnBytes = 512

// churn makes short TCP connections through a router.
type churn struct{}

func (churn) describe(p *parameters) string {
	return "TCP in both directions through a router between veth pairs" + p.segments()
}

func (churn) load(p *parameters) string {
	rate := "one after the other"
	if p.Rate > 0 {
		rate = fixed(p.Rate, 0) + " a second in all"
	}
	return fmt.Sprintf("connections%s of %d bytes each way, %d at once, %s", p.over(), churnBytes, p.Flows, rate)
}

func (churn) build(o *options) (*site, error) { return routeTCP(o) }

func (churn) start(s *site, o *options, on placement, _ int) (*load, error) {
	return startTCP(s, o, on, churnBytes)
}
