package server

import (
	"context"
	"time"
)

const (
	// lookSealed is how often a sealed node looks whether it leads.
	lookSealed   = 100 * time.Millisecond
	yieldTimeout = 5 * time.Second
)

// heir is the node that leadership is handed to: of those that are there and
// unsealed, as gossip has it, the one whose log is longest. false if none is known.
func (n *node) heir() (id string, ok bool) {
	var longest uint64
	for _, m := range n.Members() {
		if told := n.peers.told(m.ID); m.ID == n.id || !m.Voter || !told.Alive || told.Sealed {
			continue
		}
		if index, _, _ := n.Progress(m.ID); !ok || index > longest {
			id, longest, ok = m.ID, index, true
		}
	}
	return id, ok
}

// StepDown implements core.Node: leadership goes to a node that can use it.
func (n *node) StepDown(ctx context.Context) error {
	if id, ok := n.heir(); ok && n.StepDownTo(ctx, id) == nil {
		return nil
	}
	return n.Node.StepDown(ctx)
}

// yieldSealed hands leadership on while the node is sealed: it may be elected, since
// it votes and has the log, but only an unsealed node can do a leader's work. As long
// as no other is unsealed, nobody would be better.
func (s *Server) yieldSealed(ctx context.Context) {
	ticker := time.NewTicker(lookSealed)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if s.core.Unsealed() != nil || !s.node.Node.Status().Leader {
			continue
		}
		id, ok := s.node.heir()
		if !ok {
			continue
		}
		yield, cancel := context.WithTimeout(ctx, yieldTimeout)
		if err := s.node.StepDownTo(yield, id); err != nil {
			s.log.Warn("a sealed node leads, and cannot hand that on yet", "to", id, "error", err)
		} else {
			s.log.Info("this node is sealed: it has handed leadership on", "to", id)
		}
		cancel()
	}
}
