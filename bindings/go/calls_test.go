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

func TestACallIsAnswered(t *testing.T) {
	_, c := serve(t, func(s *Service) {
		s.Handle("SayHello", func(_ context.Context, name string) (string, error) { return "Hello, " + name + "!", nil })
		s.Handle("Add", func(a, b int) int { return a + b })
		s.Handle("Bytes", func(_ context.Context, data []byte) ([]byte, error) { return append(data, data...), nil })
		s.Handle("Nothing", func() {})
		s.Handle("All", func(ctx context.Context, first string, rest ...int) []any { return []any{first, len(rest), rest} })
		HandleFunc(s, "Point", func(_ context.Context, p struct{ X, Y int }) (map[string]int, error) {
			return map[string]int{"sum": p.X + p.Y}, nil
		})
	})
	ctx := withLimit(t)
	if hello, err := Invoke[string](ctx, c, "/direct/SayHello", "Ann"); err != nil || hello != "Hello, Ann!" {
		t.Error(hello, err)
	}
	if sum, err := Invoke[int](ctx, c, "/direct/Add", 2, 3); err != nil || sum != 5 {
		t.Error(sum, err)
	}
	if data, err := Invoke[[]byte](ctx, c, "/direct/Bytes", []byte("ab")); err != nil || string(data) != "abab" {
		t.Error(data, err)
	}
	if nothing, err := Invoke[any](ctx, c, "/direct/Nothing"); err != nil || nothing != nil {
		t.Error(nothing, err)
	}
	if all, err := Invoke[[]any](ctx, c, "/direct/All", "x", 1, 2); err != nil || all[1] != int64(2) {
		t.Error(all, err)
	}
	if sum, err := Invoke[map[string]int](ctx, c, "/direct/Point", map[string]int{"X": 1, "y": 2}); err != nil || sum["sum"] != 3 {
		t.Error(sum, err)
	}
}

func TestArgumentsThatDoNotFitAreRefusedUnexecuted(t *testing.T) {
	var ran atomic.Int32
	_, c := serve(t, func(s *Service) {
		s.Handle("Typed", func(context.Context, string) (string, error) { ran.Add(1); return "", nil })
		s.Handle("Shaped", func(int8, bool) { ran.Add(1) })
		s.HandleStream("ShapedChan", func(*Stream, int8) error { ran.Add(1); return nil })
	})
	ctx := withLimit(t)
	for _, try := range []struct {
		method string
		args   []any
		text   string
	}{
		{"Typed", nil, "1 arguments are wanted, and there are 0"},
		{"Typed", []any{1}, "the argument: the integer 1 does not go into a string"},
		{"Typed", []any{[]byte("x")}, "bytes does not go into a string"},
		{"Shaped", []any{1, true, 2}, "2 arguments are wanted, and there are 3"},
		{"Shaped", []any{128, true}, "argument 1: the integer 128 does not go into a int8"},
		{"Shaped", []any{1, "x"}, "argument 2: string does not go into a bool"},
	} {
		_, err := Call[any](ctx, c, "/direct/"+try.method, try.args)
		if e := trouble(t, err); e.Code != CodeInvalidArgument || e.Executed != ExecutedNo || !strings.Contains(e.Message, try.text) {
			t.Errorf("%s: %v", try.method, err)
		}
	}
	// The refusal may be there before the stream is.
	s, err := c.Stream(ctx, "/direct/ShapedChan", "x")
	if err == nil {
		err = s.Recv(new(any))
	}
	if e := trouble(t, err); e.Code != CodeInvalidArgument {
		t.Error(e)
	}
	if ran.Load() != 0 {
		t.Error("a method ran")
	}
}

func TestAMethodsOwnErrorArrivesAsItIs(t *testing.T) {
	_, c := serve(t, func(s *Service) {
		s.Handle("Plain", func() error { return errors.New("it broke") })
		s.Handle("Own", func() error { return NewMethodError(map[string]any{"message": "no", "at": 5}) })
		s.Handle("Wrapped", func() (int, error) { return 1, errors.Join(errors.New("outer"), NewMethodError("inner")) })
		s.Handle("Bytes", func() error { return NewMethodError([]byte{1, 2}) })
		s.Handle("Platform", func() error { return &Error{Code: CodeUnavailable, Message: "gone", Executed: ExecutedNo} })
		s.Handle("Panics", func() { panic("on purpose") })
		s.Handle("Unsendable", func() any { return func() {} })
		s.Handle("BadText", func() (string, error) { return "\xff", nil })
	})
	ctx := withLimit(t)
	fails := func(method string) *MethodError {
		_, err := Invoke[any](ctx, c, "/direct/"+method)
		var own *MethodError
		if !errors.As(err, &own) {
			t.Fatalf("%s: %v", method, err)
		}
		return own
	}
	if e := fails("Plain"); e.Error() != "it broke" || e.Value.(map[string]any)["name"] != "Error" {
		t.Error(e)
	}
	var fields struct {
		Message string
		At      int
	}
	if e := fails("Own"); e.Error() != "no" || e.Decode(&fields) != nil || fields.At != 5 {
		t.Error(e, fields)
	}
	if e := fails("Wrapped"); e.Value != "inner" || e.Error() != "inner" {
		t.Error(e)
	}
	if e := fails("Bytes"); string(e.Value.([]byte)) != "\x01\x02" {
		t.Error(e)
	}
	if e := fails("Platform"); e.Value.(map[string]any)["code"] != "UNAVAILABLE" || e.Value.(map[string]any)["executed"] != "no" {
		t.Error(e.Value)
	}
	if e := fails("Panics"); !strings.Contains(e.Error(), "on purpose") {
		t.Error(e)
	}
	if e := fails("Unsendable"); !strings.Contains(e.Error(), "cannot be sent") {
		t.Error(e)
	}
	_, err := Invoke[any](ctx, c, "/direct/BadText")
	if e := trouble(t, err); e.Code != CodeInternal || e.Executed == ExecutedNo {
		t.Error(err)
	}
}

func TestAMethodThatEndsItsGoroutineIsAnswered(t *testing.T) {
	svc, c := serve(t, func(s *Service) {
		s.Handle("Exit", func() { runtime.Goexit() })
		s.HandleStream("ExitChan", func(*Stream) error { runtime.Goexit(); return nil })
	})
	_, err := Invoke[any](withLimit(t), c, "/direct/Exit")
	var own *MethodError
	if !errors.As(err, &own) || !strings.Contains(own.Error(), "Goexit") {
		t.Error(err)
	}
	s, err := c.Stream(withLimit(t), "/direct/ExitChan")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Recv(new(any)); !errors.As(err, &own) || !strings.Contains(own.Error(), "Goexit") {
		t.Error(err)
	}
	c.Close()
	svc.Close()
	noGoroutinesLeft(t)
}

func TestTroubleOfThePlatformHasACodeAndSaysWhetherTheMethodRan(t *testing.T) {
	_, c := serve(t, func(s *Service) {
		s.Handle("Here", func() {})
		s.HandleStream("HereChan", func(*Stream) error { return nil })
	})
	ctx := withLimit(t)
	for address, code := range map[string]Code{
		"/direct/Missing": CodeNotFound, "nowhere": CodeInvalidArgument, "/Bad Name/x": CodeInvalidArgument,
		"/direct/HereChan": CodeUnimplemented,
	} {
		_, err := Invoke[any](ctx, c, address)
		if e := trouble(t, err); e.Code != code || e.Executed != ExecutedNo || e.Message == "" {
			t.Errorf("%s: %v, executed %v", address, err, e.Executed)
		}
	}
	nobody := dial(t, Options{Host: noHost})
	_, err := Call[any](ctx, nobody, "/a/b", nil, Timeout(200*time.Millisecond))
	if e := trouble(t, err); e.Executed != ExecutedNo || e.Code != CodeUnavailable && e.Code != CodeDeadlineExceeded {
		t.Error(err)
	}
}

func TestADeadlinePasses(t *testing.T) {
	seen := make(chan error, 2)
	_, c := serve(t, func(s *Service) {
		s.Handle("Hang", func(ctx context.Context) error {
			<-ctx.Done()
			seen <- ctx.Err()
			return ctx.Err()
		})
	})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	for _, try := range []func() error{
		func() error { _, err := Invoke[any](ctx, c, "/direct/Hang"); return err },
		func() error {
			_, err := Call[any](context.Background(), c, "/direct/Hang", nil, Timeout(50*time.Millisecond))
			return err
		},
	} {
		err := try()
		if e := trouble(t, err); e.Code != CodeDeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		// The caller's clock is ahead by the way that the call took: he may be gone first.
		if err := receive(t, seen); err != context.DeadlineExceeded && err != context.Canceled {
			t.Error("the method saw", err)
		}
	}
	_, err := Invoke[any](ctx, c, "/direct/Hang")
	if e := trouble(t, err); e.Executed != ExecutedNo || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestCancellingACallCancelsTheMethodsContext(t *testing.T) {
	began, seen := make(chan struct{}), make(chan error)
	_, c := serve(t, func(s *Service) {
		s.Handle("Hang", func(ctx context.Context) error {
			close(began)
			inner, stop := context.WithCancel(ctx)
			defer stop()
			<-inner.Done()
			seen <- inner.Err()
			return nil
		})
	})
	reason := errors.New("changed my mind")
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error)
	go func() {
		_, err := Invoke[any](ctx, c, "/direct/Hang")
		done <- err
	}()
	receive(t, began)
	cancel(reason)
	err := receive(t, done)
	if e := trouble(t, err); e.Code != CodeCancelled || !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
		t.Error(err)
	}
	if err := receive(t, seen); err != context.Canceled {
		t.Error("the method saw", err)
	}
}

func TestCallsMadeInAMethodEndWithIt(t *testing.T) {
	var svc *Service
	seen := make(chan error, 1)
	inside := make(chan struct{})
	svc, c := serve(t, func(s *Service) {
		s.Handle("Outer", func(ctx context.Context) error {
			self, err := Dial(ctx, Options{Host: svc.Details().Listening, OnlyThroughHost: true})
			if err != nil {
				return err
			}
			defer self.Close()
			_, err = Invoke[any](ctx, self, "/direct/Inner")
			return err
		})
		s.Handle("Inner", func(ctx context.Context) error {
			close(inside)
			<-ctx.Done()
			seen <- ctx.Err()
			return nil
		})
	})
	ctx, cancel := context.WithCancel(context.Background())
	go Invoke[any](ctx, c, "/direct/Outer")
	receive(t, inside)
	cancel()
	if err := receive(t, seen); err != context.Canceled {
		t.Error(err)
	}
}

func TestAMethodKnowsOfItsCall(t *testing.T) {
	type seen struct {
		deadline   time.Duration
		bounded    bool
		metadata   Metadata
		caller     string
		service    Details
		config     any
		value, out any
	}
	got := make(chan seen, 2)
	svc := NewService(ServiceOptions{Name: "direct", Env: "test", Host: noHost, Listen: "127.0.0.1:0"})
	svc.Handle("Look", func(ctx context.Context) error {
		info := FromContext(ctx)
		var s seen
		deadline, bounded := ctx.Deadline()
		s.deadline, s.bounded = time.Until(deadline), bounded
		s.metadata, s.caller, s.service = info.Metadata(), info.Caller(), info.Service()
		s.value, s.out = ctx.Value("key"), FromContext(context.Background())
		err := info.Config(&s.config)
		got <- s
		return err
	})
	if err := svc.Start(context.WithValue(context.Background(), "key", "value")); err != nil {
		t.Fatal(err)
	}
	defer svc.Close()
	c := dial(t, Options{Host: svc.Details().Listening, Env: "test", OnlyThroughHost: true})
	metadata := Pairs("trace", "abc", "trace", "def", "key-bin", "\x00\xff")
	if _, err := Call[any](withLimit(t), c, "/direct/Look", nil, Timeout(10*time.Second), WithMetadata(metadata), Idempotent(), Compress()); err != nil {
		t.Fatal(err)
	}
	s := receive(t, got)
	if !s.bounded || s.deadline > 10*time.Second || s.deadline < 5*time.Second {
		t.Error(s.deadline)
	}
	if s.metadata.Get("trace") != "abc" || s.metadata["trace"][1] != "def" || s.metadata.Get("key-bin") != "\x00\xff" || s.metadata.Get("none") != "" {
		t.Error(s.metadata)
	}
	if s.caller != "" || s.service.Name != "direct" || s.service.Env != "test" || s.config != nil || s.value != "value" || s.out != (*CallInfo)(nil) {
		t.Errorf("%+v", s)
	}
	if _, err := Call[any](context.Background(), c, "/direct/Look", nil, Timeout(-1)); err != nil {
		t.Fatal(err)
	}
	if s := receive(t, got); s.bounded {
		t.Error("a call without a bound has a deadline in", s.deadline)
	}
	if _, err := Call[any](withLimit(t), c, "/direct/Look", nil, WithMetadata(Metadata{"a b": {"x"}})); trouble(t, err).Code != CodeInvalidArgument {
		t.Error(err)
	}
}

func TestManyGoroutinesShareAClient(t *testing.T) {
	_, c := serve(t, func(s *Service) {
		HandleFunc(s, "echo", func(_ context.Context, v int) (int, error) { return v, nil })
	})
	var all sync.WaitGroup
	for g := range 100 {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := range 50 {
				want := g*1000 + i
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				if got, err := Invoke[int](ctx, c, "/direct/echo", want); err != nil || got != want {
					t.Error(got, want, err)
				}
				cancel()
			}
		}()
	}
	all.Wait()
}

// What is asked for on the queue while others ask it a question is written all the same.
func TestACallBesideQuestionsIsWritten(t *testing.T) {
	_, c := serve(t, func(s *Service) {
		s.Handle("echo", func(_ context.Context, v string) (string, error) { return v, nil })
	})
	asked, told := make(chan struct{}), make(chan struct{})
	defer close(asked)
	const asking = 4
	for range asking {
		go func() {
			for range asked {
				c.Stats()
				told <- struct{}{}
			}
		}()
	}
	for i, end := 0, time.Now().Add(limit/2); i < 5000 && time.Now().Before(end); i++ {
		for range asking {
			asked <- struct{}{}
		}
		begun := time.Now()
		if _, err := Call[string](context.Background(), c, "/direct/echo", []any{"x"}, Timeout(limit)); err != nil {
			t.Fatal(i, err)
		}
		// What is forgotten goes with the next timer that fires.
		if took := time.Since(begun); took > limit/4 {
			t.Fatal(i, took)
		}
		for range asking {
			<-told
		}
	}
}

func TestClosingAClientEndsWhatIsInFlight(t *testing.T) {
	began := make(chan struct{}, 100)
	_, c := serve(t, func(s *Service) {
		s.Handle("Hang", func(ctx context.Context) error { began <- struct{}{}; <-ctx.Done(); return nil })
	})
	done := make(chan error)
	for range 50 {
		go func() {
			_, err := Invoke[any](context.Background(), c, "/direct/Hang")
			done <- err
		}()
	}
	for range 50 {
		receive(t, began)
	}
	c.Close()
	for range 50 {
		if e := trouble(t, receive(t, done)); e.Code != CodeCancelled {
			t.Error(e)
		}
	}
	_, err := Invoke[any](context.Background(), c, "/direct/Hang")
	if e := trouble(t, err); e.Code != CodeCancelled || e.Executed != ExecutedNo {
		t.Error(err)
	}
	if _, err := c.Stream(context.Background(), "/direct/HangChan"); trouble(t, err).Code != CodeCancelled {
		t.Error(err)
	}
	c.Close()
	c.Stats()
}

func TestClosingWhileCallsBeginLosesNone(t *testing.T) {
	for range 20 {
		c, err := Dial(context.Background(), Options{Echo: true})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 8 {
			all.Add(1)
			go func() {
				defer all.Done()
				for {
					if _, err := Invoke[any](context.Background(), c, "/echo/echo", "x"); err != nil {
						if trouble(t, err).Code != CodeCancelled {
							t.Error(err)
						}
						return
					}
				}
			}()
		}
		time.Sleep(time.Millisecond)
		c.Close()
		all.Wait()
	}
	noGoroutinesLeft(t)
}

func TestBadOptionsAreRefused(t *testing.T) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Dial(over, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, options := range []Options{{Host: "a\x00b"}, {MessageBytesMax: -1}, {Host: "h:1", TLS: &TLSOptions{CA: "x"}}, {Host: "no port"}} {
		if c, err := Dial(context.Background(), options); err == nil {
			c.Close()
			t.Errorf("%+v was taken", options)
		} else if trouble(t, err).Code != CodeInvalidArgument {
			t.Error(err)
		}
	}
	noGoroutinesLeft(t)
}
