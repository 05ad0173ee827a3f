package lever

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func streamMethods(s *Service) {
	s.HandleStream("EchoChan", func(s *Stream, greeting ...any) error {
		for _, g := range greeting {
			if err := s.Send(g); err != nil {
				return err
			}
		}
		for message, err := range Messages[any](s) {
			if err != nil {
				return err
			}
			if err := s.Send(message); err != nil {
				return err
			}
		}
		return nil
	})
	s.HandleStream("count_chan", func(_ context.Context, s *Stream, n int) error {
		for i := range n {
			if err := s.Send(i); err != nil {
				return err
			}
		}
		return nil
	})
	s.HandleStream("FailChan", func(s *Stream, k int) error {
		for i := range k {
			s.Send(i)
		}
		return NewMethodError(map[string]any{"message": "broken off", "after": k})
	})
}

func TestAStreamCarriesMessagesBothWays(t *testing.T) {
	_, c := serve(t, streamMethods)
	s, err := c.Stream(withLimit(t), "/direct/EchoChan", "hi")
	if err != nil {
		t.Fatal(err)
	}
	var greeting string
	if err := s.Recv(&greeting); err != nil || greeting != "hi" {
		t.Fatal(greeting, err)
	}
	for i := range 1000 {
		if err := s.Send(i); err != nil {
			t.Fatal(err)
		}
		var back int
		if err := s.Recv(&back); err != nil || back != i {
			t.Fatal(back, i, err)
		}
	}
	for _, data := range [][]byte{{}, []byte("x"), bytes.Repeat([]byte("y"), 1<<20)} {
		if err := s.Send(data); err != nil {
			t.Fatal(err)
		}
		var back []byte
		if err := s.Recv(&back); err != nil || !bytes.Equal(back, data) {
			t.Fatal(len(back), err)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Recv(new(any)); err != io.EOF {
			t.Fatal(err)
		}
	}
	if e := trouble(t, s.Send(1)); e.Code != CodeFailedPrecondition {
		t.Error(e)
	}
	s.Close()
	s.CloseSend()
}

func TestAStreamsErrorComesBehindItsMessages(t *testing.T) {
	_, c := serve(t, streamMethods)
	s, err := c.Stream(withLimit(t), "/direct/FailChan", 200)
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for n, err := range Messages[int](s) {
		if err != nil {
			var own *MethodError
			if !errors.As(err, &own) || own.Error() != "broken off" || own.Value.(map[string]any)["after"] != int64(200) {
				t.Fatal(err)
			}
			break
		}
		if n != got {
			t.Fatal(n, got)
		}
		got++
	}
	if got != 200 {
		t.Errorf("%d messages", got)
	}
}

func TestASlowReaderSlowsTheWriter(t *testing.T) {
	var sent atomic.Int64
	_, c := serve(t, func(s *Service) {
		s.HandleStream("floodChan", func(s *Stream) error {
			for range 4000 {
				if err := s.Send(make([]byte, 16<<10)); err != nil {
					return err
				}
				sent.Add(1)
			}
			return nil
		})
	})
	s, err := c.Stream(withLimit(t), "/direct/floodChan")
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the writer goes on as far as it may", func() bool { return sent.Load() > 30 })
	last := int64(-1)
	until(t, "the writer stops", func() bool {
		now := sent.Load()
		same := now == last
		last = now
		time.Sleep(30 * time.Millisecond)
		return same
	})
	if now := sent.Load(); now > 400 {
		t.Errorf("%d messages of 16 KiB were taken, and nobody reads", now)
	}
	got := 0
	for _, err := range Messages[[]byte](s) {
		if err != nil {
			t.Fatal(err)
		}
		got++
	}
	if got != 4000 {
		t.Errorf("%d messages", got)
	}
}

func TestAWriterIsSlowedByAReaderOnTheOtherSide(t *testing.T) {
	read, may := make(chan int), make(chan struct{})
	_, c := serve(t, func(s *Service) {
		s.HandleStream("sinkChan", func(s *Stream) error {
			<-may
			count := 0
			for _, err := range Messages[[]byte](s) {
				if err != nil {
					return err
				}
				count++
			}
			read <- count
			return nil
		})
	})
	s, err := c.Stream(withLimit(t), "/direct/sinkChan")
	if err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	done := make(chan error)
	go func() {
		for range 2000 {
			if err := s.Send(make([]byte, 16<<10)); err != nil {
				done <- err
				return
			}
			sent.Add(1)
		}
		done <- s.CloseSend()
	}()
	last := int64(-1)
	until(t, "the writer stops", func() bool {
		now := sent.Load()
		same := now == last && now > 0
		last = now
		time.Sleep(30 * time.Millisecond)
		return same
	})
	if sent.Load() > 400 {
		t.Errorf("%d messages were taken", sent.Load())
	}
	close(may)
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
	if count := receive(t, read); count != 2000 {
		t.Error(count)
	}
}

func TestCancellingAStreamIsSeenOnTheOtherSide(t *testing.T) {
	seen := make(chan error)
	_, c := serve(t, func(s *Service) {
		s.HandleStream("waitChan", func(ctx context.Context, s *Stream) error {
			s.Send("begun")
			err := s.Recv(new(any))
			<-ctx.Done()
			seen <- err
			return err
		})
	})
	ends := map[string]func(*Stream, context.CancelFunc){
		"by its context": func(_ *Stream, cancel context.CancelFunc) { cancel() },
		"by Close":       func(s *Stream, _ context.CancelFunc) { s.Close() },
		"by leaving the loop": func(s *Stream, _ context.CancelFunc) {
			for range Messages[any](s) {
				break
			}
		},
	}
	for name, end := range ends {
		ctx, cancel := context.WithCancel(withLimit(t))
		s, err := c.Stream(ctx, "/direct/waitChan")
		if err != nil {
			t.Fatal(err)
		}
		if name != "by leaving the loop" {
			if err := s.Recv(new(string)); err != nil {
				t.Fatal(name, err)
			}
		}
		end(s, cancel)
		if e := trouble(t, receive(t, seen)); e.Code != CodeCancelled {
			t.Error(name, e)
		}
		err = s.Recv(new(any))
		if e := trouble(t, err); e.Code != CodeCancelled {
			t.Error(name, err)
		}
		if name == "by its context" && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if e := trouble(t, s.Send(1)); e.Code != CodeCancelled {
			t.Error(name, e)
		}
		cancel()
	}
}

func TestADeadlineEndsAStream(t *testing.T) {
	_, c := serve(t, func(s *Service) {
		s.HandleStream("waitChan", func(ctx context.Context, s *Stream) error { <-ctx.Done(); return ctx.Err() })
	})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	s, err := c.Stream(ctx, "/direct/waitChan")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Recv(new(any)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	s, err = c.OpenStream(context.Background(), "/direct/waitChan", nil, Timeout(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Recv(new(any)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestAStreamThatCannotBeOpened(t *testing.T) {
	_, c := serve(t, func(s *Service) { s.Handle("Unary", func() {}) })
	if _, err := c.Stream(withLimit(t), "/direct/x_chan", "\xff"); trouble(t, err).Code != CodeInvalidArgument {
		t.Error(err)
	}
	for method, code := range map[string]Code{"MissingChan": CodeNotFound, "Unary": CodeUnimplemented} {
		s, err := c.Stream(withLimit(t), "/direct/"+method)
		if err == nil {
			err = s.Recv(new(any))
		}
		if e := trouble(t, err); e.Code != code || e.Executed != ExecutedNo {
			t.Error(e)
		}
	}
}

func TestAMessageThatCannotBeSentLeavesTheStream(t *testing.T) {
	_, c := serve(t, streamMethods)
	s, err := c.Stream(withLimit(t), "/direct/EchoChan")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, bad := range []any{make(chan int), "\xff"} {
		if e := trouble(t, s.Send(bad)); e.Code != CodeInvalidArgument {
			t.Error(e)
		}
	}
	if err := s.Send("good"); err != nil {
		t.Fatal(err)
	}
	if e := trouble(t, s.Recv(new(int))); e.Code != CodeInvalidArgument {
		t.Error(e)
	}
	if err := s.Send("good"); err != nil {
		t.Fatal(err)
	}
	var back string
	if err := s.Recv(&back); err != nil || back != "good" {
		t.Error(back, err)
	}
}

func TestManyStreamsAtOnce(t *testing.T) {
	_, c := serve(t, streamMethods)
	var all sync.WaitGroup
	for range 200 {
		all.Add(1)
		go func() {
			defer all.Done()
			s, err := c.Stream(withLimit(t), "/direct/count_chan", 100)
			if err != nil {
				t.Error(err)
				return
			}
			got := 0
			for n, err := range Messages[int](s) {
				if err != nil || n != got {
					t.Error(n, got, err)
					return
				}
				got++
			}
			if got != 100 {
				t.Error(got)
			}
		}()
	}
	all.Wait()
}

func TestSendersAndReceiversOfOneStreamMayBeMany(t *testing.T) {
	_, c := serve(t, streamMethods)
	s, err := c.Stream(withLimit(t), "/direct/EchoChan")
	if err != nil {
		t.Fatal(err)
	}
	var senders, receivers sync.WaitGroup
	var sum, count atomic.Int64
	for range 8 {
		senders.Add(1)
		go func() {
			defer senders.Done()
			for i := range 500 {
				if err := s.Send(i); err != nil {
					t.Error(err)
				}
			}
		}()
		receivers.Add(1)
		go func() {
			defer receivers.Done()
			for n := range Messages[int](s) {
				sum.Add(int64(n))
				count.Add(1)
			}
		}()
	}
	senders.Wait()
	s.CloseSend()
	receivers.Wait()
	if count.Load() != 4000 || sum.Load() != 8*500*499/2 {
		t.Error(count.Load(), sum.Load())
	}
}
