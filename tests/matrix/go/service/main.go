// The service of the matrix in Go: tests/matrix/README.md says what its methods do.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"matrix/describe"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	lever "github.com/leveros/lever/bindings/go"
)

const waitMax = 30 * time.Second

// What methods remember for others, by token.
var (
	mu        sync.Mutex
	cancelled = map[string]bool{}
	flooded   = map[string]int{}
	released  = map[string]chan struct{}{}
)

func gate(token string) chan struct{} {
	mu.Lock()
	defer mu.Unlock()
	if released[token] == nil {
		released[token] = make(chan struct{})
	}
	return released[token]
}

// waitCancel waits until the caller is gone.
func waitCancel(ctx context.Context, token string) {
	select {
	case <-ctx.Done():
		mu.Lock()
		defer mu.Unlock()
		cancelled[token] = true
	case <-time.After(waitMax):
	}
}

func addCalls(s *lever.Service) {
	s.Handle("echo", func(v any) any { return v })
	s.Handle("describe", func(v any) string { return describe.Value(v) })
	s.Handle("size", func(data []byte) int { return len(data) })
	s.Handle("produce", func(n int) []byte { return make([]byte, n) })
	s.Handle("fail", func(v any) error { return lever.NewMethodError(v) })
	s.Handle("failBytes", func(data []byte) error { return lever.NewMethodError(data) })
	s.Handle("throwObject", func(message string) error { return errors.New(message) })
	s.Handle("remaining", func(ctx context.Context) any {
		deadline, bounded := ctx.Deadline()
		if !bounded {
			return nil
		}
		return time.Until(deadline).Milliseconds()
	})
	s.Handle("sleep", func(ctx context.Context, ms int) {
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
		case <-ctx.Done():
		}
	})
	s.Handle("waitCancel", waitCancel)
	s.Handle("wasCancelled", func(token string) bool {
		mu.Lock()
		defer mu.Unlock()
		return cancelled[token]
	})
	s.Handle("metadata", func(ctx context.Context, name string) any {
		values := lever.FromContext(ctx).Metadata()[name]
		switch {
		case len(values) == 0:
			return nil
		case strings.HasSuffix(name, "-bin"):
			return []byte(values[0])
		default:
			return values[0]
		}
	})
	s.Handle("flooded", func(token string) int {
		mu.Lock()
		defer mu.Unlock()
		return flooded[token]
	})
	s.Handle("release", func(token string) { close(gate(token)) })
}

func addStreams(s *lever.Service) {
	s.HandleStream("echoChan", func(s *lever.Stream, greeting any) error {
		if err := s.Send(greeting); err != nil {
			return err
		}
		count := 0
		for message, err := range lever.Messages[any](s) {
			if err != nil {
				return err
			}
			count++
			if err := s.Send(message); err != nil {
				return err
			}
		}
		return s.Send([]any{"end", count})
	})
	s.HandleStream("countChan", func(s *lever.Stream, n int) error { return count(s, n) })
	s.HandleStream("sumChan", func(s *lever.Stream) error {
		sum := 0
		for n, err := range lever.Messages[int](s) {
			if err != nil {
				return err
			}
			sum += n
		}
		return s.Send(sum)
	})
	s.HandleStream("failChan", func(s *lever.Stream, k int, value any) error {
		if err := count(s, k); err != nil {
			return err
		}
		return lever.NewMethodError(value)
	})
	s.HandleStream("floodChan", func(s *lever.Stream, token string, size, count int) error {
		for range count {
			if err := s.Send(make([]byte, size)); err != nil {
				return err
			}
			mu.Lock()
			flooded[token]++
			mu.Unlock()
		}
		return nil
	})
	s.HandleStream("slowChan", func(ctx context.Context, s *lever.Stream, token string) error {
		select {
		case <-gate(token):
		case <-ctx.Done():
		}
		count := 0
		for _, err := range lever.Messages[any](s) {
			if err != nil {
				return err
			}
			count++
		}
		return s.Send(count)
	})
	s.HandleStream("waitCancelChan", func(ctx context.Context, s *lever.Stream, token string) error {
		if err := s.Send("waiting"); err != nil {
			return err
		}
		waitCancel(ctx, token)
		return nil
	})
}

func count(s *lever.Stream, n int) error {
	for i := range n {
		if err := s.Send(i); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: service NAME")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	s := lever.NewService(lever.ServiceOptions{Name: os.Args[1], Listen: "127.0.0.1:0"})
	addCalls(s)
	addStreams(s)
	if err := s.Start(ctx); err != nil {
		log.Fatal(err)
	}
	if err := s.Attached(ctx); err == nil {
		fmt.Printf("ready %s\n", s.Details().Listening)
	}
	if err := s.Wait(); err != nil {
		log.Fatal(err)
	}
}
