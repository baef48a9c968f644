package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// BenchmarkApply applies commands as a write of a secret makes them: a check,
// two rows of 400 bytes together, a request id. One operation is one command.
func BenchmarkApply(b *testing.B) {
	for _, group := range []int{1, 32, 512} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			s, err := fsm.Open(fsm.Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			rng := rand.New(rand.NewPCG(1, 1))
			value := make([]byte, 200)
			entries := make([]fsm.Entry, 0, group)
			results := 0
			b.ReportAllocs()
			for i := range b.N {
				key := fmt.Sprintf("a/%016x", rng.Uint64())
				entries = append(entries, fsm.Entry{Index: uint64(i + 1), Term: 1, Data: encode(b, &fsmpb.Command{
					Time: epoch + int64(i)*25_000, RequestId: requestID(epoch+int64(i)*25_000, rng.Uint64()),
					Checks: []*fsmpb.Check{absent(key)},
					Writes: []*fsmpb.Write{{Key: []byte(key), Value: value}, {Key: []byte(key + "/1"), Value: value}},
				})})
				if len(entries) == group || i == b.N-1 {
					for _, r := range s.ApplyBatch(entries) {
						if r.Code != fsm.OK {
							b.Fatalf("%+v", r)
						}
						results++
					}
					entries = entries[:0]
				}
			}
			b.ReportMetric(float64(results)/b.Elapsed().Seconds(), "commands/s")
		})
	}
}

// BenchmarkGet reads random rows of a view.
func BenchmarkGet(b *testing.B) {
	s, err := fsm.Open(fsm.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for i := range 100 {
		cmd := &fsmpb.Command{}
		for j := range 1000 {
			cmd.Writes = append(cmd.Writes, put(fmt.Sprintf("a/%08d", i*1000+j), string(make([]byte, 400))))
		}
		apply(b, s, uint64(i+1), 1, cmd)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			v := s.View()
			if _, ok, err := v.Get(fmt.Appendf(nil, "a/%08d", rand.IntN(100_000))); err != nil || !ok {
				b.Error(ok, err)
			}
			v.Close()
		}
	})
}
