package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"matrix/describe"

	lever "github.com/leveros/lever/bindings/go"
)

func init() {
	for name, run := range map[string]func(*matrix) error{
		"stream.echo": streamEcho, "stream.down": streamDown, "stream.up": streamUp, "stream.error": streamError,
		"stream.both_ends": streamBothEnds, "cancel.stream": cancelStream,
		"pressure.down": pressureDown, "pressure.up": pressureUp,
	} {
		cases[name] = run
	}
}

// open opens a stream for as long as a case may take.
func (m *matrix) open(method string, arguments ...any) (*lever.Stream, context.CancelFunc, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	s, err := m.client.Stream(ctx, m.at(method), arguments...)
	if err != nil {
		cancel()
	}
	return s, cancel, err
}

// next expects one message.
func next(s *lever.Stream, wanted any) error {
	var message any
	if err := s.Recv(&message); err != nil {
		return fmt.Errorf("%v is wanted: %w", wanted, err)
	}
	return expect(describe.Value(message), describe.Value(wanted), "a message")
}

func atEnd(s *lever.Stream) error {
	if err := s.Recv(new(any)); err != io.EOF {
		return fmt.Errorf("the end is wanted: %v", err)
	}
	return nil
}

func streamEcho(m *matrix) error {
	s, cancel, err := m.open("echoChan", "hi")
	if err != nil {
		return err
	}
	defer cancel()
	sent := make(chan error, 1)
	go func() {
		for i := range 100 {
			if err := s.Send(i); err != nil {
				sent <- err
				return
			}
		}
		sent <- s.CloseSend()
	}()
	if err := next(s, "hi"); err != nil {
		return err
	}
	for i := range 100 {
		if err := next(s, i); err != nil {
			return err
		}
	}
	return errors.Join(<-sent, next(s, []any{"end", 100}), atEnd(s))
}

func streamDown(m *matrix) error {
	s, cancel, err := m.open("countChan", 1000)
	if err != nil {
		return err
	}
	defer cancel()
	for i := range 1000 {
		if err := next(s, i); err != nil {
			return err
		}
	}
	return atEnd(s)
}

func streamUp(m *matrix) error {
	s, cancel, err := m.open("sumChan")
	if err != nil {
		return err
	}
	defer cancel()
	for i := range 1000 {
		if err := s.Send(i); err != nil {
			return err
		}
	}
	return errors.Join(s.CloseSend(), next(s, 999*500), atEnd(s))
}

func streamError(m *matrix) error {
	s, cancel, err := m.open("failChan", 3, map[string]any{"at": 3})
	if err != nil {
		return err
	}
	defer cancel()
	for i := range 3 {
		if err := next(s, i); err != nil {
			return err
		}
	}
	return methodError(s.Recv(new(any)), map[string]any{"at": 3})
}

func streamBothEnds(m *matrix) error {
	name := token()
	s, cancel, err := m.open("waitCancelChan", name)
	if err != nil {
		return err
	}
	defer cancel()
	for message, err := range lever.Messages[string](s) {
		if err != nil || message != "waiting" {
			return fmt.Errorf("%q: %v", message, err)
		}
		break
	}
	return m.sawCancel(name)
}

func cancelStream(m *matrix) error {
	name := token()
	s, cancel, err := m.open("waitCancelChan", name)
	if err != nil {
		return err
	}
	defer cancel()
	if err := next(s, "waiting"); err != nil {
		return err
	}
	began := time.Now()
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := s.Recv(new(any)); !errors.Is(err, context.Canceled) || time.Since(began) > 2*time.Second {
		return fmt.Errorf("after %v: %v", time.Since(began), err)
	}
	return m.sawCancel(name)
}

func pressureDown(m *matrix) error {
	name := token()
	s, cancel, err := m.open("floodChan", name, 65536, 256)
	if err != nil {
		return err
	}
	defer cancel()
	time.Sleep(300 * time.Millisecond)
	taken, err := invoke[int](m, "flooded", name)
	if err != nil || taken >= 200 {
		return fmt.Errorf("%d messages were taken, and nobody reads: %v", taken, err)
	}
	for i := range 256 {
		var data []byte
		if err := s.Recv(&data); err != nil || len(data) != 65536 {
			return fmt.Errorf("message %d has %d bytes: %v", i, len(data), err)
		}
	}
	return atEnd(s)
}

func pressureUp(m *matrix) error {
	name := token()
	s, cancel, err := m.open("slowChan", name)
	if err != nil {
		return err
	}
	defer cancel()
	var taken atomic.Int64
	sent := make(chan error, 1)
	go func() {
		for range 256 {
			if err := s.Send(make([]byte, 65536)); err != nil {
				sent <- err
				return
			}
			taken.Add(1)
		}
		sent <- s.CloseSend()
	}()
	for last := int64(-1); last != taken.Load(); time.Sleep(300 * time.Millisecond) {
		last = taken.Load()
	}
	if n := taken.Load(); n >= 200 {
		return fmt.Errorf("%d messages were taken, and nobody reads", n)
	}
	if _, err := invoke[any](m, "release", name); err != nil {
		return err
	}
	return errors.Join(<-sent, next(s, 256), atEnd(s))
}
