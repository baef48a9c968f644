package seal_test

import (
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/coffer-secrets/coffer/seal"
)

const benchPath = "app/prod/eu-west-1/orders/database/master"

func BenchmarkSealValue(b *testing.B) {
	barrier := newBarrier(b, newKeyring(b))
	place, value := sealName(b, barrier, "prefix", benchPath), make([]byte, 400)
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := barrier.SealValue(place, value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenValue(b *testing.B) {
	barrier := newBarrier(b, newKeyring(b))
	place := sealName(b, barrier, "prefix", benchPath)
	sealed, err := barrier.SealValue(place, make([]byte, 400))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(400)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := barrier.OpenValue(place, sealed); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkSealSegment(b *testing.B) {
	barrier := newBarrier(b, newKeyring(b))
	for _, depth := range []string{"", "app/", "app/prod/eu-west-1/orders/database/"} {
		parent := sealName(b, barrier, "prefix", depth)
		b.Run(fmt.Sprintf("parent=%dB", len(parent)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := barrier.SealSegment(parent, "master", false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSealName(b *testing.B) {
	barrier := newBarrier(b, newKeyring(b))
	b.Run("hot", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := barrier.SealName([]byte("prefix"), benchPath); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("hot parent", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := barrier.SealName([]byte("prefix"), fmt.Sprintf("app/prod/eu-west-1/orders/database/%d", i)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := barrier.SealName([]byte("prefix"), fmt.Sprintf("%d/prod/eu-west-1/orders/database/master", i)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpenComponent(b *testing.B) {
	barrier := newBarrier(b, newKeyring(b))
	parent := sealName(b, barrier, "prefix", "app/prod/")
	open := func(b *testing.B, names int) {
		b.Helper()
		list := make([][]byte, names)
		for i := range list {
			list[i] = sealName(b, barrier, "prefix", fmt.Sprintf("app/prod/eu-west-%d", i))
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, _, _, err := barrier.OpenComponent(parent, list[i%names]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("hot", func(b *testing.B) { open(b, 1000) })
	b.Run("more than are kept", func(b *testing.B) { open(b, 200_000) })
}

func BenchmarkSplitCombine(b *testing.B) {
	key := newRootKey(b)
	for b.Loop() {
		shares, err := seal.Split(key, 5, 3, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := seal.Combine(shares[:3]); err != nil {
			b.Fatal(err)
		}
	}
}
