//go:build linux

package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"
)

func wall(c cost) time.Duration { return c.wall }
func cpu(c cost) time.Duration  { return c.cpu }

// sorted returns one field of all costs in order.
func sorted[T int64 | time.Duration](all []cost, field func(cost) T) []T {
	values := make([]T, len(all))
	for i, c := range all {
		values[i] = field(c)
	}
	slices.Sort(values)
	return values
}

func median[T int64 | time.Duration](all []cost, field func(cost) T) T {
	return sorted(all, field)[len(all)/2]
}

func most(all []cost) int64 { return slices.Max(sorted(all, func(c cost) int64 { return c.memory })) }

// printCiphers says what one core seals and hashes, in blocks as files are cut.
func printCiphers() {
	block := make([]byte, 512<<10)
	aead := newAEAD()
	sealed := make([]byte, 0, len(block)+aead.Overhead())
	nonce := make([]byte, aead.NonceSize())
	rate := func(f func()) float64 {
		n, begin := 0, time.Now()
		for time.Since(begin) < time.Second {
			f()
			n++
		}
		return float64(n*len(block)) / time.Since(begin).Seconds() / 1e9
	}
	// The one nonce seals nothing that anybody sees.
	fmt.Printf("one core: AES-256-GCM %.1f GB/s, SHA-256 %.1f GB/s\n",
		rate(func() { aead.Seal(sealed, nonce, block, nil) }), rate(func() { sha256.Sum256(block) }))
}

func newAEAD() cipher.AEAD {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		panic(err) // the key has the right length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// printResults prints medians, with the slowest and the fastest rate behind.
func printResults(all []result) {
	if len(all) == 0 {
		return
	}
	fmt.Println("\n| set | way | MB/s | files/s | client CPU | server CPU | client memory | server memory | requests | wire bytes a file |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	for _, r := range all {
		for _, w := range r.ways {
			r.print(w)
		}
	}
	fmt.Println()
	for _, r := range all {
		if r.files == 1 {
			continue
		}
		n := float64(r.files + r.set.folders)
		fmt.Printf("%s: an import writes %.2f rows a file or folder on the client, %.2f on the server; a file has %.0f bytes\n",
			r.set.name, float64(r.clientRows)/n, float64(r.serverRows)/n, float64(r.bytes)/float64(r.files))
	}
}

func (r result) print(w *way) {
	times := sorted(w.client, wall)
	rate := func(d time.Duration) float64 { return float64(r.bytes) / d.Seconds() / 1e6 }
	middle := times[len(times)/2]
	fmt.Printf("| %s | %s | %.0f (%.0f to %.0f) | %.0f | %.1f s |", r.set.name, w.name,
		rate(middle), rate(times[len(times)-1]), rate(times[0]), float64(r.files)/middle.Seconds(), median(w.client, cpu).Seconds())
	if w.server[0].memory == 0 { // nobody served
		fmt.Println(" | | | | |")
		return
	}
	wire := median(w.client, func(c cost) int64 { return c.sent + c.received })
	fmt.Printf(" %.1f s | %d MiB | %d MiB | %d | %d |\n", median(w.server, cpu).Seconds(), most(w.client)>>20, most(w.server)>>20,
		median(w.client, func(c cost) int64 { return c.requests }), wire/int64(r.files))
}
