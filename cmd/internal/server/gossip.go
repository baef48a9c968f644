package server

import (
	"context"
	"os"

	"github.com/coffer-secrets/coffer/cluster/gossip"
	"github.com/coffer-secrets/coffer/fsm"
)

// maxHost is longer than the name of any machine.
const maxHost = 64

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
			host, _ := os.Hostname() // one that has no name tells none
			return gossip.Meta{APIAddr: s.cfg.APIAddr, Host: host[:min(len(host), maxHost)], Version: apiVersion(s.build.Version), Commands: fsm.CommandVersion, Sealed: s.core.Unsealed() == nil}
		},
	})
	if err != nil {
		return err
	}
	s.peers.gossip.Store(g)
	s.later(g.Close)
	return nil
}
