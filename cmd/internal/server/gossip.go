package server

import (
	"context"

	"github.com/coffer-secrets/coffer/cluster/gossip"
	"github.com/coffer-secrets/coffer/fsm"
)

// startGossip begins to talk with the other nodes about who is there.
func (s *Server) startGossip(ctx context.Context) error {
	g, err := gossip.Start(ctx, gossip.Config{
		Wire: s.peers.port, Node: s.node.id, Logger: s.log.Logger,
		Members: func() (names []string) {
			for _, m := range s.node.Members() {
				names = append(names, m.ID)
			}
			return names
		},
		Meta: func() gossip.Meta {
			return gossip.Meta{APIAddr: s.cfg.APIAddr, Version: s.build.Version, Commands: fsm.CommandVersion, Sealed: s.core.Unsealed() == nil}
		},
	})
	if err != nil {
		return err
	}
	s.peers.gossip.Store(g)
	s.later(g.Close)
	return nil
}
