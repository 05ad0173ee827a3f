// Lever's client in Go, for rows that compare Go programs. bench/common/load.h tells how it is driven.
//
//	client ADDRESS SERVICE
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	lever "github.com/leveros/lever/bindings/go"
)

const unaryBytes = 32

// As many goroutines as calls are outstanding, on one connection.
func unary(client *lever.Client, address string, seconds float64, outstanding int) map[string]any {
	began := time.Now()
	end := began.Add(time.Duration(seconds * float64(time.Second)))
	took := make([][]time.Duration, outstanding)
	failures := make([]int, outstanding)
	var all sync.WaitGroup
	for i := range outstanding {
		all.Go(func() {
			value := strings.Repeat("x", unaryBytes)
			for started := time.Now(); ; {
				reply, err := lever.Invoke[string](context.Background(), client, address, value)
				if err != nil || len(reply) != unaryBytes {
					failures[i]++
				}
				done := time.Now()
				took[i] = append(took[i], done.Sub(started))
				if done.After(end) {
					return
				}
				started = done
			}
		})
	}
	all.Wait()
	elapsed := time.Since(began).Seconds()
	var samples []time.Duration
	errors := 0
	for i := range outstanding {
		samples = append(samples, took[i]...)
		errors += failures[i]
	}
	sort.Slice(samples, func(a, b int) bool { return samples[a] < samples[b] })
	at := func(quantile float64) float64 {
		return float64(samples[int(quantile*float64(len(samples)-1))].Nanoseconds()) / 1000
	}
	return map[string]any{"calls": len(samples), "errors": errors, "seconds": elapsed,
		"p50_us": at(0.5), "p99_us": at(0.99)}
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: client ADDRESS SERVICE")
	}
	client, err := lever.Dial(context.Background(), lever.Options{Host: os.Args[1], OnlyThroughHost: true})
	if err != nil {
		log.Fatal(err)
	}
	address := "/" + os.Args[2] + "/echo"
	unary(client, address, 0.01, 1)
	fmt.Println("ready")
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		var verb string
		var seconds float64
		var count int
		if _, err := fmt.Sscan(strings.TrimSpace(commands.Text()), &verb, &seconds, &count); err != nil {
			log.Fatal(err)
		}
		if verb != "unary" {
			log.Fatalf("unknown command: %s", verb)
		}
		line, _ := json.Marshal(unary(client, address, seconds, count))
		fmt.Println(string(line))
	}
}
