package ipqprom_test

import (
	"context"
	"log"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/ipqprom"
)

// A program that shows Prometheus what its queues do.
func Example() {
	q, err := ipq.Open(ipq.Config{Queues: 4, Histograms: true})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	prometheus.MustRegister(ipqprom.NewCollector(q))
	http.Handle("/metrics", promhttp.Handler())
	go func() { log.Fatal(http.ListenAndServe("localhost:9742", nil)) }()

	err = q.Run(context.Background(), ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept }))
	if err != nil {
		log.Fatal(err)
	}
}

// Two queues of the same number, in two network namespaces.
func ExampleNewCollector_namespaces() {
	var red, blue *ipq.Queue // from ipq.Open, with Config.NetNS
	for name, q := range map[string]*ipq.Queue{"red": red, "blue": blue} {
		labels := prometheus.Labels{"netns": name}
		prometheus.WrapRegistererWith(labels, prometheus.DefaultRegisterer).MustRegister(ipqprom.NewCollector(q))
	}
}
