// Calls the service of the directory above, from any Go program:
//
//	go run ./client [NAME]
//
// LEVER_HOST is the host's address, 127.0.0.1:8080 by default; LEVER_ENV the environment, dev.lever by
// default.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	lever "github.com/leveros/lever/bindings/go"
)

func main() {
	name := "Ann"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	if err := run(context.Background(), name); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, name string) error {
	c, err := lever.Dial(ctx, lever.Options{})
	if err != nil {
		return err
	}
	defer c.Close()

	greeting, err := lever.Invoke[string](ctx, c, "/hello-go/SayHello", name)
	if err != nil {
		return err
	}
	fmt.Println(greeting)

	s, err := c.Stream(ctx, "/hello-go/EchoChan", "hi, "+name)
	if err != nil {
		return err
	}
	if err := s.Send("one"); err != nil {
		return err
	}
	if err := s.Send(map[string]int{"two": 2}); err != nil {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for message, err := range lever.Messages[any](s) {
		if err != nil {
			return err
		}
		fmt.Println("echo:", message)
	}

	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = lever.Invoke[int64](ctx, c, "/hello-go/Divide", 1, 0)
	var own *lever.MethodError
	if !errors.As(err, &own) {
		return fmt.Errorf("an error of the method's was expected: %w", err)
	}
	var fields struct{ Dividend int64 }
	if err := own.Decode(&fields); err != nil {
		return err
	}
	fmt.Printf("divide: %v, dividend %d\n", own, fields.Dividend)
	return nil
}
