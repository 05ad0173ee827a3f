package lever_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	lever "github.com/leveros/lever/bindings/go"
)

// A client that answers itself, in place of a host.
func echo() *lever.Client {
	c, err := lever.Dial(context.Background(), lever.Options{Echo: true})
	if err != nil {
		log.Fatal(err)
	}
	return c
}

func ExampleInvoke() {
	ctx := context.Background()
	c := echo() // lever.Dial(ctx, lever.Options{})
	defer c.Close()

	back, err := lever.Invoke[[]string](ctx, c, "/echo/echo", "Hello,", "Ann")
	fmt.Println(back, err)
	// Output: [Hello, Ann] <nil>
}

func ExampleCall() {
	c := echo()
	defer c.Close()

	sum, err := lever.Call[[]int](context.Background(), c, "/echo/echo", []any{1, 2},
		lever.Timeout(5*time.Second), lever.Idempotent(), lever.WithMetadata(lever.Pairs("trace", "abc")))
	fmt.Println(sum, err)
	// Output: [1 2] <nil>
}

func ExampleError() {
	c := echo()
	defer c.Close()

	_, err := lever.Invoke[any](context.Background(), c, "no address")
	var trouble *lever.Error
	if errors.As(err, &trouble) {
		fmt.Println(trouble.Code, trouble.Executed)
	}
	// Output: INVALID_ARGUMENT no
}

func ExampleClient_Stream() {
	c := echo()
	defer c.Close()

	s, err := c.Stream(context.Background(), "/echo/echoChan")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for _, text := range []string{"one", "two"} {
		if err := s.Send(text); err != nil {
			log.Fatal(err)
		}
	}
	s.CloseSend()
	for {
		var message any
		if err := s.Recv(&message); err == io.EOF {
			break
		} else if err != nil {
			log.Fatal(err)
		}
		fmt.Println(message)
	}
	// Output:
	// one
	// two
}

func ExampleService() {
	svc := lever.NewService(lever.ServiceOptions{Name: "hello", Listen: "127.0.0.1:0", Host: "127.0.0.1:1"})
	svc.Handle("SayHello", func(ctx context.Context, name string) (string, error) {
		return "Hello, " + name + "!", nil
	})
	svc.HandleStream("CountChan", func(s *lever.Stream, n int) error {
		for i := range n {
			if err := s.Send(i); err != nil {
				return err
			}
		}
		return nil
	})
	ctx, stop := context.WithCancel(context.Background())
	if err := svc.Start(ctx); err != nil {
		log.Fatal(err)
	}

	c, err := lever.Dial(ctx, lever.Options{Host: svc.Details().Listening})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	greeting, _ := lever.Invoke[string](ctx, c, "/hello/SayHello", "Ann")
	fmt.Println(greeting)
	s, _ := c.Stream(ctx, "/hello/CountChan", 3)
	for n, err := range lever.Messages[int](s) {
		fmt.Println(n, err)
	}

	stop() // it drains
	fmt.Println(svc.Wait())
	// Output:
	// Hello, Ann!
	// 0 <nil>
	// 1 <nil>
	// 2 <nil>
	// <nil>
}

func ExampleMessages() {
	c := echo()
	defer c.Close()

	s, err := c.Stream(context.Background(), "/echo/echoChan")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for i := range 3 {
			s.Send(i)
		}
		s.CloseSend()
	}()
	sum := 0
	for n, err := range lever.Messages[int](s) {
		if err != nil {
			log.Fatal(err)
		}
		sum += n
	}
	fmt.Println(sum)
	// Output: 3
}
