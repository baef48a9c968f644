package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	// shortly is how long the lease of a deposed leader's user lives, as that leader
	// knows it.
	shortly = 8 * time.Second
	// renewed is what another leader makes of it.
	renewed = 10 * time.Minute
)

// RunDeposed has a leader be cut off, the next one renew a lease, the first one see
// it end by what it knows, and then lead again: what it has decided on meanwhile
// must not count any more. Chance has all of that come together too seldom.
func RunDeposed(bugs Bugs) error {
	e := &estate{database: newDatabase(1, bugs)}
	e.world = &world{tick: time.Second, grow: e.grow}
	defer e.database.busy.Wait()
	defer e.close()
	if err := e.begin(1, 3, bugs); err != nil {
		return err
	}
	if err := e.open(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	t := &tenant{estate: e, rng: rand.New(rand.NewPCG(1, 10))} //nolint:gosec // repeatable
	if t.login(ctx); t.token == "" {
		return errors.New("sim: nobody can log in")
	}
	asked := time.Now()
	lease, err := e.ask(ctx, t.token, engines.Read, "users/creds/app", "", map[string][]string{"ttl": {fmt.Sprint(int(shortly.Seconds()))}})
	for err != nil && ctx.Err() == nil { // the database has its troubles
		asked = time.Now()
		lease, err = e.ask(ctx, t.token, engines.Read, "users/creds/app", "", map[string][]string{"ttl": {fmt.Sprint(int(shortly.Seconds()))}})
	}
	if err != nil {
		return err
	}
	old, user := e.leader(), username(lease.Data)
	e.isolate(old)
	for e.leader() == old && ctx.Err() == nil {
		wait(ctx, electionTimeout)
	}
	body := fmt.Sprintf(`{"lease_id":%q,"increment":%d}`, lease.LeaseID, int(renewed.Seconds()))
	for {
		answered, err := e.ask(ctx, t.token, engines.Update, "sys/leases/renew", body, nil)
		if err == nil {
			t.owe(user, asked, answered)
			break
		}
		if time.Since(asked) > shortly {
			return fmt.Errorf("sim: the lease cannot be renewed: %w", err)
		}
	}
	wait(ctx, time.Until(asked.Add(shortly+2*time.Second)))
	e.healAll()
	if err := e.depose(ctx, old); err != nil {
		return err
	}
	wait(ctx, settleWithin)
	err = e.settle()
	return errors.Join(err, e.failed, e.database.failed)
}

// depose has whoever leads step down until a host leads.
func (e *estate) depose(ctx context.Context, until string) error {
	for ctx.Err() == nil {
		leader := e.leader()
		if n := e.peer("", leader); n != nil && n.Status().Leader {
			if leader == until {
				return nil
			}
			_ = n.StepDown(ctx) // to any
		}
		wait(ctx, electionTimeout)
	}
	return fmt.Errorf("sim: %s does not lead again", until)
}
