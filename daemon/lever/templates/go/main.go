// Every function that newService handles is a method of the service: lever://dev.lever/{{name}}/SayHello.
package main

import (
	"context"
	"errors"
	"io"
	"log"

	lever "github.com/leveros/lever/bindings/go"
)

func newService() *lever.Service {
	svc := lever.NewService(lever.ServiceOptions{})
	svc.Handle("SayHello", sayHello)
	svc.HandleStream("EchoChan", echo)
	return svc
}

func sayHello(ctx context.Context, name string) (string, error) {
	return "Hello, " + name + "!", nil
}

// A streaming method: its name ends in Chan. Returning ends the stream, or sends the error.
func echo(ctx context.Context, s *lever.Stream, greeting string) error {
	if err := s.Send(greeting); err != nil { // waits while the reader is behind
		return err
	}
	for {
		var message any
		if err := s.Recv(&message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.Send(message); err != nil {
			return err
		}
	}
}

func main() {
	if err := newService().Serve(context.Background()); err != nil { // until it is drained
		log.Fatal(err)
	}
}
