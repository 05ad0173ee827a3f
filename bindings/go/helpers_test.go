package lever

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const (
	noHost = "127.0.0.1:1" // services are called at their own addresses here
	limit  = 20 * time.Second
)

// source is the root of Lever's tree, where the vectors are.
func source(t testing.TB, parts ...string) string {
	root := os.Getenv("LEVER_SOURCE_DIR")
	if root == "" {
		t.Fatal("LEVER_SOURCE_DIR is not set: the tests are run by ctest")
	}
	return filepath.Join(append([]string{root}, parts...)...)
}

func withLimit(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func dial(t testing.TB, options Options) *Client {
	t.Helper()
	c, err := Dial(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// serve starts a service that is called at its own address, and a client of it.
func serve(t testing.TB, add func(*Service)) (*Service, *Client) {
	t.Helper()
	svc := NewService(ServiceOptions{Name: "direct", Host: noHost, Listen: "127.0.0.1:0"})
	add(svc)
	if err := svc.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { svc.Close() })
	return svc, dial(t, Options{Host: svc.Details().Listening, OnlyThroughHost: true})
}

// until waits for a condition.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(limit):
		t.Fatalf("nothing came within %s", limit)
		panic("unreachable")
	}
}

// trouble gives an error's code; a test that gets another kind of error fails.
func trouble(t testing.TB, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("an *Error is wanted: %v", err)
	}
	return e
}

// noGoroutinesLeft fails if the binding's goroutines do not end.
func noGoroutinesLeft(t testing.TB) {
	t.Helper()
	stacks := func() string {
		buffer := make([]byte, 1<<20)
		return string(buffer[:runtime.Stack(buffer, true)])
	}
	until(t, "the binding's goroutines are gone", func() bool {
		all := stacks()
		return !strings.Contains(all, ".(*queue).") && !strings.Contains(all, ".(*incomingCall).")
	})
}
