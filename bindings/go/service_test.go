package lever

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAPrivateServiceListensOverTLSOrNotAtAll(t *testing.T) {
	svc := NewService(ServiceOptions{Name: "direct", Host: noHost, Listen: "tls:127.0.0.1:0", Private: true})
	if err := svc.Start(withLimit(t)); err != nil {
		t.Fatal(err)
	}
	if listening := svc.Details().Listening; !strings.HasPrefix(listening, "tls:127.0.0.1:") {
		t.Error(listening)
	}
	svc.Close()
	plain := NewService(ServiceOptions{Name: "direct", Host: noHost, Listen: "127.0.0.1:0", Private: true})
	if e := trouble(t, plain.Serve(withLimit(t))); e.Code != CodeInvalidArgument {
		t.Error(e)
	}
	noGoroutinesLeft(t)
}

func TestAServiceDrainsWhenItsContextEnds(t *testing.T) {
	began, may := make(chan struct{}), make(chan struct{})
	states := make(chan State, 10)
	svc := NewService(ServiceOptions{Name: "direct", Host: noHost, Listen: "127.0.0.1:0",
		OnState: func(state State, _ error) {
			if state >= StateDraining && state != StateDetached {
				states <- state
			}
		}})
	svc.Handle("Slow", func() string { close(began); <-may; return "done" })
	ctx, cancel := context.WithCancel(context.Background())
	if err := svc.Start(ctx); err != nil {
		t.Fatal(err)
	}
	c := dial(t, Options{Host: svc.Details().Listening, OnlyThroughHost: true})
	answer := make(chan string)
	go func() {
		text, err := Invoke[string](withLimit(t), c, "/direct/Slow")
		if err != nil {
			t.Error(err)
		}
		answer <- text
	}()
	receive(t, began)
	cancel()
	if state := receive(t, states); state != StateDraining {
		t.Error(state)
	}
	close(may)
	if text := receive(t, answer); text != "done" {
		t.Error(text)
	}
	if err := svc.Wait(); err != nil {
		t.Error(err)
	}
	if state := receive(t, states); state != StateDrained {
		t.Error(state)
	}
	c.Close()
	noGoroutinesLeft(t)
}

func TestClosingAServiceEndsWhatRuns(t *testing.T) {
	began, ended := make(chan struct{}, 2), make(chan error, 2)
	svc, c := serve(t, func(s *Service) {
		s.Handle("Hang", func(ctx context.Context) error { began <- struct{}{}; <-ctx.Done(); ended <- ctx.Err(); return nil })
		s.HandleStream("HangChan", func(ctx context.Context, s *Stream) error {
			began <- struct{}{}
			err := s.Recv(new(any))
			ended <- err
			return err
		})
	})
	done := make(chan error, 2)
	go func() { _, err := Invoke[any](withLimit(t), c, "/direct/Hang"); done <- err }()
	s, err := c.Stream(withLimit(t), "/direct/HangChan")
	if err != nil {
		t.Fatal(err)
	}
	receive(t, began)
	receive(t, began)
	svc.Close()
	svc.Close()
	for range 2 {
		receive(t, ended)
	}
	if e := trouble(t, receive(t, done)); e.Code == CodeOk {
		t.Error(e)
	}
	if err := s.Recv(new(any)); err == nil {
		t.Error("the stream goes on")
	}
	if err := svc.Wait(); err != nil {
		t.Error(err)
	}
	if details := svc.Details(); details != (Details{}) {
		t.Error(details)
	}
	c.Close()
	noGoroutinesLeft(t)
}

func TestWhatIsWrongWithAMethodIsToldAtTheStart(t *testing.T) {
	for text, add := range map[string]func(*Service){
		"is no function":             func(s *Service) { s.Handle("A", 5) },
		"returns more than":          func(s *Service) { s.Handle("A", func() (int, int) { return 1, 2 }) },
		"takes a *lever.Stream":      func(s *Service) { s.HandleStream("aChan", func() error { return nil }) },
		"such a method already":      func(s *Service) { s.Handle("A", func() {}); s.Handle("A", func() {}) },
		"that of a streaming method": func(s *Service) { s.Handle("aChan", func() {}) },
		"ends in Chan":               func(s *Service) { s.HandleStream("A", func(*Stream) error { return nil }) },
		"method a-b":                 func(s *Service) { s.Handle("a-b", func() {}) },
		"method : invalid argument":  func(s *Service) { s.Handle("", func() {}) },
		"a func(string) is no":       func(s *Service) { s.Handle("A", (func(string))(nil)) },
		"returns more than a result and an error": func(s *Service) {
			s.HandleStream("aChan", func(*Stream) (int, error) { return 1, nil })
		},
	} {
		svc := NewService(ServiceOptions{Name: "bad", Host: noHost})
		add(svc)
		err := svc.Serve(withLimit(t))
		if e := trouble(t, err); e.Code != CodeInvalidArgument || !strings.Contains(e.Message, text) {
			t.Errorf("%q is not in %v", text, err)
		}
	}
	noGoroutinesLeft(t)
}

func TestBadOptionsOfAServiceAreNamed(t *testing.T) {
	for text, options := range map[string]ServiceOptions{
		"an option has a NUL":          {Name: "a\x00b"},
		"MaxConcurrency is -1":         {Name: "bad", MaxConcurrency: -1},
		"MaxConcurrency is 4294967296": {Name: "bad", MaxConcurrency: 1 << 32},
	} {
		err := NewService(options).Serve(withLimit(t))
		if e := trouble(t, err); e.Code != CodeInvalidArgument || !strings.Contains(e.Message, text) {
			t.Errorf("%q is not in %v", text, err)
		}
	}
	noGoroutinesLeft(t)
}

func TestAServiceWithoutANameNeedsAHostThatStartedIt(t *testing.T) {
	err := NewService(ServiceOptions{}).Serve(withLimit(t))
	if e := trouble(t, err); e.Code != CodeFailedPrecondition || !strings.Contains(e.Message, "needs a name") {
		t.Error(err)
	}
	svc := NewService(ServiceOptions{Name: "twice", Host: noHost})
	if err := svc.Start(withLimit(t)); err != nil {
		t.Fatal(err)
	}
	if e := trouble(t, svc.Start(withLimit(t))); e.Code != CodeFailedPrecondition {
		t.Error(e)
	}
	svc.Handle("late", func() {})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := svc.Attached(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	svc.Close()
	if err := svc.Attached(context.Background()); trouble(t, err).Code != CodeCancelled {
		t.Error(err)
	}
	never := NewService(ServiceOptions{Name: "never"})
	never.Drain()
	never.Close()
	if e := trouble(t, never.Start(withLimit(t))); e.Code != CodeFailedPrecondition {
		t.Error(e)
	}
}

// With the race detector this is about who may look at a service while it starts and ends.
func TestAServiceMayBeLookedAtAndClosedWhileItStarts(t *testing.T) {
	for range 50 {
		svc := NewService(ServiceOptions{Name: "direct", Host: noHost, Listen: "127.0.0.1:0"})
		svc.Handle("Here", func() {})
		served, over := make(chan error, 1), make(chan struct{})
		go func() { served <- svc.Serve(context.Background()) }()
		var looking sync.WaitGroup
		looking.Add(1)
		go func() {
			defer looking.Done()
			for {
				svc.State()
				svc.Details()
				select {
				case <-over:
					return
				default:
				}
			}
		}()
		svc.Close()
		err := receive(t, served)
		if err != nil && trouble(t, err).Code != CodeCancelled && trouble(t, err).Code != CodeFailedPrecondition {
			t.Error(err)
		}
		close(over)
		looking.Wait()
	}
	noGoroutinesLeft(t)
}

func TestAMethodsContextOutlivesTheService(t *testing.T) {
	kept := make(chan context.Context, 1)
	svc, c := serve(t, func(s *Service) { s.Handle("Keep", func(ctx context.Context) { kept <- ctx }) })
	if _, err := Call[any](context.Background(), c, "/direct/Keep", nil, Timeout(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	svc.Close()
	c.Close()
	noGoroutinesLeft(t)
	ctx := receive(t, kept)
	deadline, bounded := ctx.Deadline()
	if left := time.Until(deadline); !bounded || left > 10*time.Second || left < -limit {
		t.Error(left, bounded)
	}
	if ctx.Err() != context.Canceled {
		t.Error(ctx.Err())
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	var running, most atomic.Int32
	svc := NewService(ServiceOptions{Name: "direct", Host: noHost, Listen: "127.0.0.1:0", MaxConcurrency: 3})
	svc.Handle("Work", func() {
		now := running.Add(1)
		for {
			m := most.Load()
			if now <= m || most.CompareAndSwap(m, now) {
				break
			}
		}
		time.Sleep(20 * time.Millisecond)
		running.Add(-1)
	})
	if err := svc.Start(withLimit(t)); err != nil {
		t.Fatal(err)
	}
	defer svc.Close()
	c := dial(t, Options{Host: svc.Details().Listening, OnlyThroughHost: true})
	done := make(chan error)
	for range 20 {
		go func() {
			_, err := Call[any](withLimit(t), c, "/direct/Work", nil, Timeout(3*time.Second))
			done <- err
		}()
	}
	refused := 0
	for range 20 {
		if err := receive(t, done); err != nil {
			if trouble(t, err).Executed != ExecutedNo {
				t.Error(err)
			}
			refused++
		}
	}
	if most.Load() > 3 || refused == 20 {
		t.Errorf("%d ran at a time, %d were refused", most.Load(), refused)
	}
}

// 20,000 calls and 2,000 streams, or what there is time for: each waits for the one before, and on a busy
// machine for its turn. The heap and the goroutines stay as they were after the first ones.
// tests/bindings/go/leak has the long form.
func TestNothingIsLeaked(t *testing.T) {
	_, c := serve(t, func(s *Service) {
		streamMethods(s)
		s.Handle("echo", func(_ context.Context, v string) (string, error) { return v, nil })
	})
	call := func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		if _, err := Invoke[string](ctx, c, "/direct/echo", "x"); err != nil {
			t.Fatal(err)
		}
	}
	stream := func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		s, err := c.Stream(ctx, "/direct/EchoChan", "x")
		if err != nil {
			t.Fatal(err)
		}
		s.CloseSend()
		for _, err := range Messages[string](s) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	repeat := func(times int, what func()) {
		for end := time.Now().Add(limit / 2); times > 0 && time.Now().Before(end); times-- {
			what()
		}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	repeat(1000, call)
	repeat(100, stream)
	before, goroutines := heap(), runtime.NumGoroutine()
	repeat(20000, call)
	repeat(2000, stream)
	if grown := int64(heap()) - int64(before); grown > 2<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	until(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
}
