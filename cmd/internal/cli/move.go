package cli

import (
	"context"
	"net/http"
	"time"

	"github.com/coffer-secrets/coffer/client"
)

// moveEvery is how often it is asked how a move goes.
const moveEvery = 500 * time.Millisecond

// moveStatus is what the server tells of a move.
type moveStatus struct {
	Info struct {
		Status string `json:"status"`
	} `json:"migration_info"`
}

// awaitMove waits until a move has ended. The API has no way to be told.
func (a *app) awaitMove(ctx context.Context, c *client.Client, k mountKind, id, from, to string) error {
	tick := time.NewTicker(moveEvery)
	defer tick.Stop()
	for {
		s, err := c.Call(ctx, &client.Request{Method: http.MethodGet, Path: "sys/remount/status/" + id, Plain: true})
		if err != nil {
			return remotef(err, "Error asking how the move %s goes", id)
		}
		var status moveStatus
		if err := s.Decode(&status); err != nil {
			return remotef(err, "Error asking how the move %s goes", id)
		}
		switch status.Info.Status {
		case "success":
			return a.say("Success! Finished moving %s %s to %s, with migration ID %s", k.noun, from, to, id)
		case "in-progress":
		default:
			return failf("The move %s of %s to %s ended as %q", id, from, to, status.Info.Status)
		}
		select {
		case <-ctx.Done():
			return remotef(ctx.Err(), "Stopped waiting for the move %s", id)
		case <-tick.C:
		}
	}
}
