package nemesis

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/rig"
)

// others are faults of those around a cluster.
var others = []Fault{
	{Name: "strangers", Group: "strangers", do: strangers},
	{Name: "audit-block", Group: "audit", do: auditBlock},
}

// strangerCount is how many of them come at a time, and strangerPause how long
// each waits before it comes again.
const (
	strangerCount = 8
	strangerPause = 5 * time.Millisecond
)

// strangers come to the port of the nodes, with wrong certificates or none, and
// say what members say, or anything.
func strangers(ctx context.Context, s *Scene) error {
	all := make([]rig.Stranger, 0, 64)
	certificates := []*tls.Certificate{nil}
	for i := range s.Nodes { // who says to be a node of this cluster
		c, err := rig.ForeignCertificate(fmt.Sprintf("node-%d", i+1))
		if err != nil {
			return err
		}
		certificates = append(certificates, c)
	}
	for _, says := range s.words() {
		all = append(all, rig.Stranger{Says: says})
		for _, protocol := range rig.Protocols() {
			for _, c := range certificates {
				all = append(all, rig.Stranger{Certificate: c, Protocol: protocol, Says: says})
			}
		}
	}
	var found error
	var mu sync.Mutex
	var crowd sync.WaitGroup
	for n, end := 0, time.Now().Add(s.hold); n < strangerCount; n++ {
		order := s.rng.Perm(len(all))
		crowd.Go(func() {
			for k := 0; time.Now().Before(end) && ctx.Err() == nil; k++ {
				if err := s.Intrude(ctx, (n+k)%len(s.Nodes), all[order[k%len(order)]]); err != nil {
					mu.Lock()
					found = cmp.Or(found, err) // the first will do
					mu.Unlock()
				}
				wait(ctx, strangerPause)
			}
		})
	}
	crowd.Wait()
	return found
}

// words are what strangers say: noise, frames that are longer than they are, and
// a request.
func (s *Scene) words() [][]byte {
	noise := make([]byte, 512)
	for i := range noise {
		noise[i] = byte(s.rng.Uint32())
	}
	return [][]byte{
		noise,
		append(binary.BigEndian.AppendUint32(nil, 1<<31), noise...),
		[]byte("GET /v1/sys/health HTTP/1.1\r\nHost: node-1\r\n\r\n"),
		[]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
	}
}

// auditBlock has an audit device that takes nothing any more, beside the one that
// all nodes have: neither requests nor the other device may wait for it.
func auditBlock(ctx context.Context, s *Scene) error {
	if !s.Claim(theAudit) {
		return errNobody
	}
	s.claimed = append(s.claimed, theAudit)
	undo, err := s.BlockAudit(ctx)
	if err != nil {
		return nil //nolint:nilerr // nobody leads, or the sink is out of reach
	}
	wait(ctx, s.hold)
	undo()
	return nil
}

// theAudit stands among the claims for the audit device.
const theAudit = -3
