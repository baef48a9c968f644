package load

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Worker does one operation after the other, on a connection of its own.
type Worker interface {
	// Do does the n-th operation. An error that is a *StatusError counts; any
	// other ends the round.
	Do(n int) error
	Close()
}

// Pace says how long a round of load is, and how dense.
type Pace struct {
	For time.Duration
	// Rate is how many operations a second all workers begin, whatever they
	// take (an open loop); each begins the next one at once if it is 0.
	Rate float64
}

// Outcome is what one round, or several, came to.
type Outcome struct {
	// Rate is successes a second.
	Rate float64
	// Took are the times of the successes, in ascending order, and of those Late
	// operations of an open loop that could not even begin by its end, and had
	// waited so long.
	Took []time.Duration
	Late int
	// Errors counts the answers of a wrong status; First is one of them.
	Errors int
	First  error
}

// Quantile is the time that the part q of the operations did not exceed.
func (o *Outcome) Quantile(q float64) time.Duration {
	if len(o.Took) == 0 {
		return 0
	}
	return o.Took[min(len(o.Took)-1, int(q*float64(len(o.Took))))]
}

// Run lets workers work for a while. It fails if none got anything done.
func Run(workers []Worker, pace Pace) (Outcome, error) {
	var wg sync.WaitGroup
	var stop atomic.Bool
	all := make([]one, len(workers))
	start := time.Now()
	timer := time.AfterFunc(pace.For, func() { stop.Store(true) })
	defer timer.Stop()
	for i, w := range workers {
		wg.Go(func() {
			if pace.Rate > 0 {
				every := time.Duration(float64(len(workers)) / pace.Rate * float64(time.Second))
				all[i].paced(w, start.Add(every*time.Duration(i)/time.Duration(len(workers))), every, pace.For-time.Since(start))
				return
			}
			all[i].free(w, &stop)
		})
	}
	wg.Wait()
	return gather(all, time.Since(start))
}

func gather(all []one, elapsed time.Duration) (Outcome, error) {
	var out Outcome
	var broken []error
	took := make([][]time.Duration, len(all))
	for i := range all {
		took[i] = all[i].took
		out.Errors += all[i].errors
		out.Late += all[i].late
		if out.First == nil {
			out.First = all[i].first
		}
		broken = append(broken, all[i].broken)
	}
	out.Took = slices.Concat(took...)
	slices.Sort(out.Took)
	out.Rate = float64(len(out.Took)-out.Late) / elapsed.Seconds()
	err := errors.Join(broken...)
	if err == nil && len(out.Took) == 0 {
		err = errors.Join(errors.New("nothing succeeded"), out.First)
	}
	if err != nil {
		return out, fmt.Errorf("load: %d done, then: %w", len(out.Took), err)
	}
	return out, nil
}

// one is what one worker has got done.
type one struct {
	took   []time.Duration
	late   int
	errors int
	first  error
	broken error
}

// free begins each operation when the last one is done.
func (o *one) free(w Worker, stop *atomic.Bool) {
	for n := 0; !stop.Load(); n++ {
		begun := time.Now()
		if !o.note(w.Do(n), begun) {
			return
		}
	}
}

// paced begins operations when they are due, or at once if that has passed, and
// counts their time from when they were due.
func (o *one) paced(w Worker, due time.Time, every, left time.Duration) {
	end := time.Now().Add(left)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; due.Before(end); n++ {
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			<-timer.C
		}
		if time.Now().After(end) {
			o.late++
			o.took = append(o.took, end.Sub(due))
		} else if !o.note(w.Do(n), due) {
			return
		}
		due = due.Add(every)
	}
}

// note counts an operation, and reports whether the worker can go on.
func (o *one) note(err error, begun time.Time) bool {
	if err == nil {
		o.took = append(o.took, time.Since(begun))
		return true
	}
	var wrong *StatusError
	if !errors.As(err, &wrong) {
		o.broken = err
		return false
	}
	if o.errors++; o.first == nil {
		o.first = err
	}
	return true
}

// Merge joins rounds to one outcome, whose rate is that of the median round,
// and tells the lowest and the highest rate.
func Merge(rounds []Outcome) (out Outcome, lowest, highest float64) {
	rates := make([]float64, 0, len(rounds))
	for i := range rounds {
		rates = append(rates, rounds[i].Rate)
		out.Took = append(out.Took, rounds[i].Took...)
		out.Errors += rounds[i].Errors
		out.Late += rounds[i].Late
		if out.First == nil {
			out.First = rounds[i].First
		}
	}
	slices.Sort(rates)
	slices.Sort(out.Took)
	out.Rate = rates[len(rates)/2]
	return out, rates[0], rates[len(rates)-1]
}
