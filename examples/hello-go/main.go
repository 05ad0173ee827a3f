// A service in Go. Deploy this directory and call it:
//
//	lever deploy examples/hello-go
//	lever invoke /hello-go/SayHello '"Ann"'
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os/signal"
	"syscall"

	lever "github.com/leveros/lever/bindings/go"
)

// service makes the service. The test starts the same one without a host.
func service() *lever.Service {
	svc := lever.NewService(lever.ServiceOptions{})

	svc.Handle("SayHello", func(ctx context.Context, name string) (string, error) {
		var config struct{ Greeting string }
		if err := lever.FromContext(ctx).Config(&config); err != nil {
			return "", err
		}
		fmt.Println("greeting", name) // goes to the service's log
		return config.Greeting + ", " + name + "!", nil
	})

	// What a method returns as an error arrives with its message; with fields as a MethodError.
	svc.Handle("Divide", func(a, b int64) (int64, error) {
		if b == 0 {
			return 0, lever.NewMethodError(map[string]any{"message": "division by zero", "dividend": a})
		}
		return a / b, nil
	})

	// A method whose name ends in Chan is a streaming method.
	svc.HandleStream("EchoChan", func(ctx context.Context, s *lever.Stream, greeting string) error {
		if err := s.Send(greeting); err != nil { // waits while the reader is behind
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
		return nil // ends the stream
	})

	svc.Handle("Fail", func() error { return errors.New("it broke") })
	return svc
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := service().Serve(ctx); err != nil {
		log.Fatal(err)
	}
}
