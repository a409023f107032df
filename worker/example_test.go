package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/goipq/goipq/worker"
)

// Deposits to one account are booked in order, and need no lock, because an
// account is always on the same strand; different accounts run in parallel.
func ExampleNew() {
	type deposit struct{ account, amount int }

	const accounts = 3
	var journal [accounts][]int
	pool, err := worker.New(worker.Config[deposit]{
		Strands: accounts,
		Run: func(d deposit) {
			journal[d.account] = append(journal[d.account], d.amount)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for amount := 1; amount <= 12; amount++ {
		d := deposit{account: amount % accounts, amount: amount}
		if err := pool.Submit(d.account, d); err != nil {
			log.Fatal(err)
		}
	}
	if err := pool.Close(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(journal)
	// Output: [[3 6 9 12] [1 4 7 10] [2 5 8 11]]
}

// Close with a deadline gives up waiting, but loses nothing: the tasks run
// on, and a second Close waits for them.
func ExamplePool_Close() {
	gate := make(chan struct{})
	pool, err := worker.New(worker.Config[string]{
		Strands: 1,
		Run: func(s string) {
			<-gate
			fmt.Println("ran", s)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range []string{"first", "second"} {
		if err := pool.Submit(0, s); err != nil {
			log.Fatal(err)
		}
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	err = pool.Close(ctx)
	fmt.Println(err)
	fmt.Println(errors.Is(pool.Submit(0, "third"), worker.ErrClosed))

	close(gate)
	fmt.Println(pool.Close(context.Background()))
	// Output:
	// worker: close: 2 tasks remain: context deadline exceeded
	// true
	// ran first
	// ran second
	// <nil>
}

// A task that panics is reported, and its strand goes on.
func ExampleConfig_onPanic() {
	pool, err := worker.New(worker.Config[int]{
		Strands: 1,
		Run:     func(n int) { fmt.Println("12 /", n, "=", 12/n) },
		OnPanic: func(n int, value any, _ []byte) { fmt.Println("12 /", n, "panicked:", value) },
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, n := range []int{2, 0, 3} {
		if err := pool.Submit(0, n); err != nil {
			log.Fatal(err)
		}
	}
	if err := pool.Close(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 12 / 2 = 6
	// 12 / 0 panicked: runtime error: integer divide by zero
	// 12 / 3 = 4
}
