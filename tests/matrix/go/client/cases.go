package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"matrix/describe"

	lever "github.com/leveros/lever/bindings/go"
)

const (
	limit      = 20 * time.Second
	requestMax = 4194299 // bytes of an argument in a message of exactly 4 MiB
)

func token() string { return fmt.Sprintf("go-%x", rand.Uint64()) }

var cases = map[string]func(*matrix) error{
	"error.value": func(m *matrix) error {
		_, err := invoke[any](m, "fail", map[string]any{"code": 7, "why": "because"})
		return methodError(err, map[string]any{"code": 7, "why": "because"})
	},
	"error.bytes": func(m *matrix) error {
		_, err := invoke[any](m, "failBytes", []byte{0x00, 0xff, 0x10})
		return methodError(err, []byte{0x00, 0xff, 0x10})
	},
	"error.thrown": func(m *matrix) error {
		_, err := invoke[any](m, "throwObject", "out of cheese")
		var own *lever.MethodError
		if !errors.As(err, &own) || !strings.Contains(own.Error(), "out of cheese") {
			return fmt.Errorf("not as it was thrown: %v", err)
		}
		return nil
	},
	"deadline.context": func(m *matrix) error {
		bounded, err := lever.Call[int](context.Background(), m.client, m.at("remaining"), nil, lever.Timeout(5*time.Second))
		if err != nil || bounded <= 0 || bounded > 5000 {
			return fmt.Errorf("%d ms with a timeout: %v", bounded, err)
		}
		usual, err := invoke[int](m, "remaining")
		if err != nil || usual <= 5000 || usual > 60000 {
			return fmt.Errorf("%d ms without: %v", usual, err)
		}
		return nil
	},
	"deadline.exceeded": func(m *matrix) error {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := lever.Invoke[any](ctx, m.client, m.at("sleep"), 10000)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Second {
			return fmt.Errorf("after %v: %v", time.Since(began), err)
		}
		return code(err, lever.CodeDeadlineExceeded)
	},
	"cancel.call": func(m *matrix) error {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(100*time.Millisecond, cancel)
		began, name := time.Now(), token()
		_, err := lever.Invoke[any](ctx, m.client, m.at("waitCancel"), name)
		if !errors.Is(err, context.Canceled) || time.Since(began) > 2*time.Second {
			return fmt.Errorf("after %v: %v", time.Since(began), err)
		}
		return m.sawCancel(name)
	},
	"metadata": func(m *matrix) error {
		sent := lever.WithMetadata(lever.Pairs("colour", "blue", "key-bin", "\x00\xff\x10"))
		for name, wanted := range map[string]any{"colour": "blue", "key-bin": []byte{0, 0xff, 0x10}, "none": nil} {
			got, err := lever.Call[any](context.Background(), m.client, m.at("metadata"), []any{name}, sent)
			if err != nil {
				return err
			}
			if err := expect(describe.Value(got), describe.Value(wanted), name); err != nil {
				return err
			}
		}
		return nil
	},
	"bytes": func(m *matrix) error {
		data := bytes.Repeat([]byte{0xff, 0xfe, 0x00, 0x80}, 25000)
		back, err := invoke[[]byte](m, "echo", data)
		if err != nil || !bytes.Equal(back, data) {
			return fmt.Errorf("%d bytes: %v", len(back), err)
		}
		return nil
	},
	"limit.request": func(m *matrix) error {
		size, err := invoke[int](m, "size", make([]byte, requestMax))
		if err != nil || size != requestMax {
			return fmt.Errorf("%d: %v", size, err)
		}
		_, err = invoke[int](m, "size", make([]byte, requestMax+1))
		return code(err, lever.CodeResourceExhausted)
	},
	"limit.reply": func(m *matrix) error {
		data, err := invoke[[]byte](m, "produce", requestMax)
		if err != nil || len(data) != requestMax {
			return fmt.Errorf("%d: %v", len(data), err)
		}
		_, err = invoke[[]byte](m, "produce", requestMax+1)
		return code(err, lever.CodeResourceExhausted)
	},
	"unknown.method": func(m *matrix) error {
		_, err := invoke[any](m, "noSuchMethod")
		return notRun(err)
	},
	"unknown.service": func(m *matrix) error {
		_, err := lever.Invoke[any](context.Background(), m.client, "/no-such-service/x")
		return notRun(err)
	},
	"close.in_flight": closeInFlight,
}

func code(err error, wanted lever.Code) error {
	var trouble *lever.Error
	if !errors.As(err, &trouble) || trouble.Code != wanted {
		return fmt.Errorf("%v is wanted: %v", wanted, err)
	}
	return nil
}

func notRun(err error) error {
	var trouble *lever.Error
	if errors.As(err, &trouble) && trouble.Executed != lever.ExecutedNo {
		return fmt.Errorf("executed %v: %w", trouble.Executed, err)
	}
	return code(err, lever.CodeNotFound)
}

func methodError(err error, wanted any) error {
	var own *lever.MethodError
	if !errors.As(err, &own) {
		return fmt.Errorf("the method's error is wanted: %v", err)
	}
	return expect(describe.Value(own.Value), describe.Value(wanted), "the error")
}

func (m *matrix) sawCancel(name string) error {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if seen, err := invoke[bool](m, "wasCancelled", name); err != nil || seen {
			return err
		}
	}
	return errors.New("the service has not seen that its caller is gone")
}

func closeInFlight(m *matrix) error {
	other, err := lever.Dial(context.Background(), m.options)
	if err != nil {
		return err
	}
	ends := make(chan error, 2)
	s, err := other.Stream(context.Background(), m.at("echoChan"), "hi")
	if err != nil {
		return err
	}
	if err := s.Recv(new(string)); err != nil {
		return err
	}
	go func() {
		_, err := lever.Invoke[any](context.Background(), other, m.at("sleep"), 10000)
		ends <- err
	}()
	go func() { ends <- s.Recv(new(any)) }()
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	other.Close()
	for range 2 {
		if err := code(<-ends, lever.CodeCancelled); err != nil {
			return err
		}
	}
	if took := time.Since(began); took > 2*time.Second {
		return fmt.Errorf("closing took %v", took)
	}
	return nil
}
