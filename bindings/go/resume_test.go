package lever

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"
)

// Streams of resources that go on where the resource moves to. Without a host the next owner is another service of the
// same name, where callers take their streams up; tests/e2e/test_resume.py moves them between real instances.

// A talk is a resource whose streams go on.
type talk struct {
	seen *journal
}

// EchoChan answers each number with the sum so far, which is its token.
func (t *talk) EchoChan(ctx context.Context, s *Stream, step int64) error {
	return t.goOn(s, step, 0)
}

func (t *talk) goOn(s *Stream, step, sum int64) error {
	for n, err := range Messages[int64](s) {
		if err != nil {
			return err
		}
		sum += step * n
		if err := s.SendResumable(sum, strconv.AppendInt(nil, sum, 10)); err != nil {
			return err
		}
	}
	return nil
}

// LookChan does not read. How it ends is its argument.
func (t *talk) LookChan(ctx context.Context, s *Stream, how string) error {
	if err := s.Send("hello"); err != nil {
		return err
	}
	if how == "unaware" {
		time.Sleep(100 * time.Millisecond)
		return s.Send("done")
	}
	<-s.Moving()
	<-s.Moving()
	if ctx.Err() != nil {
		return errors.New("it is cancelled")
	}
	if err := s.SendResumable("good-bye", []byte("bye")); err != nil {
		return err
	}
	switch how {
	case "wrapped":
		return fmt.Errorf("at the end: %w", ErrMoved)
	case "error":
		return NewMethodError("its own")
	case "panic":
		panic("its own")
	case "ended":
		return s.CloseSend()
	}
	return nil
}

// OneChan reads one message, and leaves the others.
func (t *talk) OneChan(ctx context.Context, s *Stream) error {
	var n int64
	if err := errors.Join(s.Recv(&n), s.Send(n)); err != nil {
		return err
	}
	<-s.Moving()
	for range 2 {
		if err := s.Recv(&n); !errors.Is(err, ErrMoved) {
			return fmt.Errorf("it has read %d, %w", n, err)
		}
	}
	return nil
}

// StayChan does not return until it is cut off.
func (t *talk) StayChan(ctx context.Context, s *Stream) error {
	if err := s.SendResumable("hello", []byte("here")); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (t *talk) Resume(ctx context.Context, s *Stream, token []byte, lastReceived uint64) error {
	t.seen.add("%s %q %d", s.Method(), token, lastReceived)
	if s.Method() != "EchoChan" {
		return s.Send("resumed")
	}
	var step int64
	if err := s.Arguments(&step); err != nil {
		return err
	}
	if err := s.Arguments(&step, new(int)); err == nil {
		return errors.New("an argument that is not there")
	}
	sum, err := strconv.ParseInt(string(token), 10, 64)
	if err != nil {
		return err
	}
	return t.goOn(s, step, sum)
}

func newTalks(seen *journal) *Service {
	s := NewService(ServiceOptions{DrainTimeout: 2 * time.Second})
	talks := HandleResource(s, func(context.Context, *Opening) (*talk, error) { return &talk{seen}, nil }, ResourceOptions{})
	talks.HandleStream("EchoChan", (*talk).EchoChan)
	talks.HandleStream("LookChan", (*talk).LookChan)
	talks.HandleStream("OneChan", (*talk).OneChan)
	talks.HandleStream("StayChan", (*talk).StayChan)
	return s
}

// moves ends the service, and starts another.
func moves(t *testing.T, run *inProcess, seen *journal) {
	t.Helper()
	last := len(run.services) - 1
	run.services[last].Drain()
	<-run.services[last].over
	run.services[last].Close()
	next := newTalks(seen)
	err := next.start(context.Background(), func() (*nativeService, error) {
		return newNativeService(run.queue, ServiceOptions{Name: "boards", DrainTimeout: 2 * time.Second}, "null", "{}")
	})
	if err != nil {
		t.Fatal(err)
	}
	run.services[last] = next
}

func startTalks(t *testing.T) (*inProcess, *journal) {
	seen := &journal{}
	run := startAlone(t, newTalks(seen), false)
	t.Cleanup(run.Close)
	return run, seen
}

func openTalk(t *testing.T, run *inProcess, method string, arguments []any, options ...CallOption) *Stream {
	t.Helper()
	s, err := run.client.OpenStream(withLimit(t), "/boards/a/"+method, arguments, options...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func receives[T comparable](t *testing.T, s *Stream, want T) {
	t.Helper()
	var got T
	if err := s.Recv(&got); err != nil || got != want {
		t.Fatal(got, want, err)
	}
}

// broken gives the error of a stream that has ended for the move.
func broken(t *testing.T, s *Stream) *Error {
	t.Helper()
	e := trouble(t, s.Recv(new(any)))
	if e.ResumeToken == nil || e.Executed == ExecutedNo {
		t.Fatalf("%+v", e)
	}
	return e
}

func TestAStreamGoesOnInResume(t *testing.T) {
	run, seen := startTalks(t)
	s := openTalk(t, run, "EchoChan", []any{2})
	if err := errors.Join(s.Send(1), s.Send(2)); err != nil {
		t.Fatal(err)
	}
	receives(t, s, int64(2))
	receives(t, s, int64(6))
	moves(t, run, seen)
	e := broken(t, s)
	s = openTalk(t, run, "EchoChan", []any{2}, Resume(e.ResumeToken, e.ResumeReceived))
	if err := s.Send(5); err != nil {
		t.Fatal(err)
	}
	receives(t, s, int64(16))
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := s.Recv(new(any)); err != io.EOF {
		t.Fatal(err)
	}
	if lines := seen.all(); len(lines) != 1 || lines[0] != `EchoChan "6" 2` {
		t.Error(lines)
	}
}

func TestAMethodThatIsToldAndReturnsHasItsStreamGoOn(t *testing.T) {
	for _, how := range []string{"", "wrapped"} {
		run, seen := startTalks(t)
		s := openTalk(t, run, "LookChan", []any{how})
		receives(t, s, "hello")
		moves(t, run, seen)
		receives(t, s, "good-bye")
		e := broken(t, s)
		s = openTalk(t, run, "LookChan", []any{how}, Resume(e.ResumeToken, e.ResumeReceived))
		receives(t, s, "resumed")
		if lines := seen.all(); len(lines) != 1 || lines[0] != `LookChan "bye" 2` {
			t.Error(how, lines)
		}
	}
}

func TestAMethodsOwnEndIsItsOwn(t *testing.T) {
	for how, last := range map[string]string{"error": "good-bye", "panic": "good-bye", "ended": "good-bye", "unaware": "done"} {
		run, seen := startTalks(t)
		s := openTalk(t, run, "LookChan", []any{how})
		receives(t, s, "hello")
		logged(func() { moves(t, run, seen) })
		receives(t, s, last)
		err := s.Recv(new(any))
		var own *MethodError
		if failed := how == "error" || how == "panic"; failed != errors.As(err, &own) || !failed && err != io.EOF {
			t.Error(how, err)
		}
	}
}

func TestWhatIsUnreadWhenAStreamMovesStaysUnread(t *testing.T) {
	run, seen := startTalks(t)
	s := openTalk(t, run, "OneChan", nil)
	for n := range 5 {
		if err := s.Send(n + 1); err != nil {
			t.Fatal(err)
		}
	}
	receives(t, s, int64(1))
	moves(t, run, seen)
	if e := broken(t, s); len(e.ResumeToken) != 0 || e.ResumeReceived != 1 {
		t.Errorf("%+v", e)
	}
}

func TestAMethodThatDoesNotReturnWhenItsStreamMovesIsCutOff(t *testing.T) {
	run, seen := startTalks(t)
	s := openTalk(t, run, "StayChan", nil)
	receives(t, s, "hello")
	moves(t, run, seen)
	if e := broken(t, s); e.Code != CodeUnavailable || string(e.ResumeToken) != "here" || e.ResumeReceived != 1 {
		t.Errorf("%+v", e)
	}
}

func TestTokensHaveABound(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 4097)
	tokens := make(chan error, 1)
	_, c := serve(t, func(s *Service) {
		s.HandleStream("TokenChan", func(s *Stream) error {
			tokens <- s.SendResumable("never", large)
			return errors.Join(s.SendResumable("ok", large[1:]), s.SendResumable("ok", nil))
		})
	})
	s, err := c.Stream(withLimit(t), "/direct/TokenChan")
	if err != nil {
		t.Fatal(err)
	}
	receives(t, s, "ok") // of no resource: a token says nothing there
	receives(t, s, "ok")
	if e := trouble(t, receive(t, tokens)); e.Code != CodeInvalidArgument {
		t.Error(e)
	}
	if e := trouble(t, s.SendResumable("never", nil)); e.Code != CodeFailedPrecondition {
		t.Error(e)
	}
	for _, option := range []CallOption{Resume(large, 0), Resume(nil, 0)} {
		s, err := c.OpenStream(withLimit(t), "/direct/TokenChan", nil, option)
		if err == nil {
			err = s.Recv(new(any))
		}
		if e := trouble(t, err); e.Code != CodeInvalidArgument || e.Executed != ExecutedNo {
			t.Error(e)
		}
	}
}
