package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/testing/bench/load"
)

const (
	// guesses is how many logins are tried with names that exist, and with names
	// that do not.
	guesses = 1000
	// guessHash is the bcrypt hash, of the cost that Coffer uses, of a password
	// that nobody tries.
	guessHash = "$2a$10$NwqbkjuQXPLXvJfTzdxCJe7S0T1mJZ2sQqk8bEuyhOnzxE2i0n2yq"
)

// measureTiming tries wrong passwords for names that exist and for names that
// do not, mixed at random, and compares how long the answers take by the
// two-sample Kolmogorov-Smirnov test: it should find no difference.
func measureTiming(ctx context.Context, o options) error {
	server, err := startDev(ctx, o.binary)
	if err != nil {
		return err
	}
	defer server.stop()
	a := admin{ctx: ctx, target: server}
	a.post("sys/auth/userpass", `{"type":"userpass"}`)
	for i := range guesses {
		a.post(fmt.Sprintf("auth/userpass/users/known%d", i), `{"password_hash":"`+guessHash+`"}`)
	}
	if a.err != nil {
		return a.err
	}
	names := make([]string, 0, 2*guesses)
	for i := range guesses {
		names = append(names, fmt.Sprintf("known%d", i), fmt.Sprintf("other%d", i))
	}
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] }) // #nosec G404 -- an order, not a secret
	took := make(map[byte][]time.Duration)
	next := 0
	c, err := load.Dial(ctx, server.addr, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for ; next < len(names) && ctx.Err() == nil; next++ {
		guess := load.Message(http.MethodPost, "/v1/auth/userpass/login/"+names[next], "", `{"password":"a guess"}`)
		began := time.Now()
		if err := c.Do(guess, http.StatusBadRequest); err != nil {
			return err
		}
		kind := names[next][0]
		took[kind] = append(took[kind], time.Since(began))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	known, other := took['k'], took['o']
	slices.Sort(known)
	slices.Sort(other)
	d := distance(known, other)
	fmt.Printf("%d logins with names that exist: median %s; %d with others: median %s\n",
		len(known), short(known[len(known)/2]), len(other), short(other[len(other)/2]))
	fmt.Printf("Kolmogorov-Smirnov: D = %.4f, p = %.3f (D above %.4f would tell them apart at 1 %%)\n",
		d, significance(d, guesses), 1.628*math.Sqrt(2.0/guesses))
	return nil
}

// distance is the largest difference of two empirical distribution functions.
// Both samples are sorted.
func distance(a, b []time.Duration) float64 {
	var d float64
	for i, j := 0, 0; i < len(a) && j < len(b); {
		at := min(a[i], b[j])
		for i < len(a) && a[i] == at {
			i++
		}
		for j < len(b) && b[j] == at {
			j++
		}
		d = max(d, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return d
}

// significance is the asymptotic probability of a distance of at least d between
// two samples of n of the same distribution (Smirnov 1948).
func significance(d float64, n int) float64 {
	x := d * math.Sqrt(float64(n)/2)
	var sum float64
	for k := 1.0; k <= 100; k++ {
		sum += math.Pow(-1, k-1) * math.Exp(-2*k*k*x*x)
	}
	return min(1, max(0, 2*sum))
}
