package state

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/fsm"
)

const (
	// replyPlace begins the place that a reply is sealed for. No row's key begins
	// so, and none can be shown as a reply.
	replyPlace = "\x00coffer/v1/reply/"
	// maxReplyBytes bounds what is kept of an answer: who asks again for a larger
	// one is told that it was made.
	maxReplyBytes = 256 << 10
	// settlePause is between two looks at what became of a command.
	settlePause = 20 * time.Millisecond
	// settleFor bounds how long is looked: elections end sooner, if they can.
	settleFor = 5 * time.Second
)

// Once makes an update that may be asked for again commit once.
type Once struct {
	// ID is what RequestID made; nil if the update will not be asked for again.
	ID []byte
	// Tried says that it may have been asked for before.
	Tried bool
	// Reply, if set, is called after the update's function for what is kept to
	// answer with if it is asked for again.
	Reply func() ([]byte, error)
}

// Done is a finished update.
type Done struct {
	// Index is that at which the outcome is visible.
	Index uint64
	// Again says that it had been committed before, and Reply what was kept then;
	// nil if nothing was. Whatever the function has made now counts for nothing.
	Again bool
	Reply []byte
}

// earlier looks whether an update had been committed by the time of a view. It
// has to come before the update's function runs on the view, which may refuse
// what its own earlier run has done.
func (s *Store) earlier(view *fsm.View, once Once) (Done, error) {
	if once.ID == nil || !once.Tried {
		return Done{}, nil
	}
	index, reply, ok, err := view.Request(once.ID)
	if err != nil {
		return Done{}, engines.Internal(err)
	}
	if !ok {
		return Done{}, nil
	}
	return s.again(once, index, reply)
}

func (s *Store) again(once Once, index uint64, reply []byte) (Done, error) {
	done := Done{Index: index, Again: true}
	if len(reply) == 0 {
		return done, nil
	}
	var err error
	if done.Reply, err = s.barrier.OpenValue(placeOf(once), reply); err != nil {
		return Done{}, engines.Internal(err)
	}
	if len(done.Reply) == 0 {
		done.Reply = nil // it was too large
	}
	return done, nil
}

// sealReply seals what is kept of an answer, if only that it was too large: no
// two runs of a request have the same sealed reply, which tells them apart.
func (s *Store) sealReply(once Once) ([]byte, error) {
	reply, err := once.Reply()
	if err != nil {
		return nil, err
	}
	if len(reply) > maxReplyBytes {
		reply = nil
	}
	sealed, err := s.barrier.SealValue(placeOf(once), reply)
	if err != nil {
		return nil, engines.Internal(err)
	}
	return sealed, nil
}

func placeOf(once Once) []byte { return append([]byte(replyPlace), once.ID...) }

// settle finds out what became of a command that was proposed in a term with a
// sealed reply, and whose outcome is not known. A later leader's log has it or
// never will: a view that is linearizable then, on any node, tells. What was
// committed under the id may be another run's of the same request, which has
// been handed on twice: then that one's answer counts.
func (s *Store) settle(ctx context.Context, once Once, reply []byte, term uint64, unknown error) (Done, error) {
	if once.ID == nil || !errors.Is(unknown, ErrUnknownOutcome) {
		return Done{}, unknown
	}
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	for ctx.Err() == nil {
		view, err := s.replica.Read(ctx)
		if err == nil {
			index, kept, ok, err := view.Request(once.ID)
			later := view.Term() > term
			view.Close()
			switch {
			case err != nil:
				return Done{}, engines.Internal(err)
			case ok && bytes.Equal(kept, reply):
				return Done{Index: index}, nil // by the run that asks: what it has made counts
			case ok:
				return s.again(once, index, kept)
			case later:
				return Done{}, proposeError(ErrNotLeader)
			}
		} else if !errors.Is(err, ErrNotLeader) {
			return Done{}, unknown
		}
		pause := time.NewTimer(settlePause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
	return Done{}, unknown
}
