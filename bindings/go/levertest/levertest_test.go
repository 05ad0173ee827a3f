package levertest_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	lever "github.com/leveros/lever/bindings/go"
	"github.com/leveros/lever/bindings/go/levertest"
)

type settings struct{ Greeting string }

func hello() *lever.Service {
	s := lever.NewService(lever.ServiceOptions{})
	s.Handle("SayHello", func(ctx context.Context, name string) (string, error) {
		var c settings
		if err := lever.FromContext(ctx).Config(&c); err != nil {
			return "", err
		}
		return c.Greeting + ", " + name + "!", nil
	})
	s.Handle("Secrets", func(ctx context.Context) map[string]string { return lever.FromContext(ctx).Secrets() })
	s.Handle("Wait", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	s.HandleStream("EchoChan", func(s *lever.Stream, greeting string) error {
		if err := s.Send(greeting); err != nil {
			return err
		}
		for message, err := range lever.Messages[any](s) {
			if err != nil {
				return err
			}
			if err := s.Send(message); err != nil {
				return err
			}
		}
		return nil
	})
	s.Handle("ViaOther", func(ctx context.Context) (string, error) {
		c, err := lever.FromContext(ctx).Client()
		if err != nil {
			return "", err
		}
		return lever.Invoke[string](ctx, c, "/other/Name")
	})
	return s
}

func other() *lever.Service {
	s := lever.NewService(lever.ServiceOptions{})
	s.Handle("Name", func(ctx context.Context) string { return lever.FromContext(ctx).Service().Name })
	return s
}

func TestServicesRunWithoutAHost(t *testing.T) {
	run := levertest.Start(t, levertest.Options{Config: map[string]any{"hello": settings{"Hi"}},
		Secrets: map[string]map[string]string{"hello": {"token": "hunter2"}}},
		map[string]*lever.Service{"hello": hello(), "other": other()})
	ctx := context.Background()
	if got, err := lever.Invoke[string](ctx, run.Client, "/hello/SayHello", "Ann"); err != nil || got != "Hi, Ann!" {
		t.Error(got, err)
	}
	if got, err := lever.Invoke[map[string]string](ctx, run.Client, "/hello/Secrets"); err != nil || len(got) != 1 || got["token"] != "hunter2" {
		t.Error(got, err)
	}
	if got, err := lever.Invoke[string](ctx, run.Client, "/hello/ViaOther"); err != nil || got != "other" {
		t.Error(got, err)
	}
	var trouble *lever.Error
	if _, err := lever.Invoke[any](ctx, run.Client, "/missing/x"); !errors.As(err, &trouble) || trouble.Code != lever.CodeNotFound {
		t.Error(err)
	}
	s, err := run.Client.Stream(ctx, "/hello/EchoChan", "hi")
	if err != nil {
		t.Fatal(err)
	}
	s.Send("one")
	s.CloseSend()
	for _, want := range []string{"hi", "one"} {
		var got string
		if err := s.Recv(&got); err != nil || got != want {
			t.Error(got, err)
		}
	}
	if err := s.Recv(new(any)); err != io.EOF {
		t.Error(err)
	}
}

func TestTimeIsMovedByHand(t *testing.T) {
	run := levertest.Start(t, levertest.Options{HoldTime: true}, map[string]*lever.Service{"hello": hello()})
	done := make(chan error, 1)
	began := time.Now()
	go func() {
		_, err := lever.Call[any](context.Background(), run.Client, "/hello/Wait", nil, lever.Timeout(time.Hour))
		done <- err
	}()
	for {
		run.Advance(10 * time.Minute)
		select {
		case err := <-done:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %v", took)
			}
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func TestAContextsDeadlinePassesAlthoughTimeIsHeld(t *testing.T) {
	run := levertest.Start(t, levertest.Options{HoldTime: true}, map[string]*lever.Service{"hello": hello()})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := lever.Invoke[any](ctx, run.Client, "/hello/Wait"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
