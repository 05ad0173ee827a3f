// Calls and streams without end in sight: resident memory must stay as it is after the first tenth.
//
//	leak [CALLS [STREAMS]]     1,000,000 and 100,000 by default
//
// Prints resident memory as it goes, and ends with code 1 if it has grown by more than 8 MiB since the first
// tenth. Client and service are in this process, over TCP.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	lever "github.com/leveros/lever/bindings/go"
)

const (
	workers  = 32
	grownMax = 8 << 20
)

func resident() int {
	runtime.GC()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		log.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		log.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// inTenths does something so many times, and says what memory is after each tenth.
func inTenths(what string, count int, do func(n int) error) bool {
	var first int
	for tenth := range 10 {
		var all sync.WaitGroup
		for worker := range workers {
			all.Add(1)
			go func() {
				defer all.Done()
				for n := worker; n < count/10; n += workers {
					if err := do(n); err != nil {
						log.Fatalf("%s: %v", what, err)
					}
				}
			}()
		}
		all.Wait()
		now := resident()
		if tenth == 0 {
			first = now
		}
		fmt.Printf("%8d %s: %6.1f MiB resident, %d goroutines\n", count/10*(tenth+1), what, float64(now)/(1<<20), runtime.NumGoroutine())
		if tenth == 9 && now-first > grownMax {
			fmt.Printf("it has grown by %d bytes\n", now-first)
			return false
		}
	}
	return true
}

func number(at, otherwise int) int {
	if len(os.Args) <= at {
		return otherwise
	}
	n, err := strconv.Atoi(os.Args[at])
	if err != nil || n < 10 {
		log.Fatal("usage: leak [CALLS [STREAMS]]")
	}
	return n
}

func main() {
	svc := lever.NewService(lever.ServiceOptions{Name: "leak", Host: "127.0.0.1:1", Listen: "127.0.0.1:0"})
	svc.Handle("echo", func(_ context.Context, text string) (string, error) { return text, nil })
	svc.Handle("fail", func(text string) error { return lever.NewMethodError(text) })
	svc.HandleStream("echoChan", func(s *lever.Stream, greeting string) error {
		if err := s.Send(greeting); err != nil {
			return err
		}
		for message, err := range lever.Messages[string](s) {
			if err != nil {
				return err
			}
			if err := s.Send(message); err != nil {
				return err
			}
		}
		return nil
	})
	if err := svc.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	c, err := lever.Dial(context.Background(), lever.Options{Host: svc.Details().Listening, OnlyThroughHost: true})
	if err != nil {
		log.Fatal(err)
	}
	flat := inTenths("calls", number(1, 1_000_000), func(n int) error { return call(c, n) })
	flat = inTenths("streams", number(2, 100_000), func(n int) error { return stream(c, n) }) && flat
	c.Close()
	svc.Close()
	if !flat {
		os.Exit(1)
	}
}

// call makes one of several kinds: answered, failing, with a context that is cancelled.
func call(c *lever.Client, n int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch n % 100 {
	case 8:
		if _, err := lever.Invoke[any](ctx, c, "/leak/fail", "on purpose"); err == nil {
			return fmt.Errorf("no error")
		}
		return nil
	case 9: // seldom enough for the limit on resets, 1,000 a second
		go cancel()
		lever.Invoke[string](ctx, c, "/leak/echo", "x")
		return nil
	default:
		_, err := lever.Invoke[string](ctx, c, "/leak/echo", "x")
		return err
	}
}

// stream opens one, which is read to its end or given up.
func stream(c *lever.Client, n int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := c.Stream(ctx, "/leak/echoChan", "hi")
	if err != nil {
		return err
	}
	if err := s.Send("one"); err != nil {
		return err
	}
	if n%20 == 9 {
		return s.Close()
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for _, err := range lever.Messages[string](s) {
		if err != nil {
			return err
		}
	}
	return nil
}
