// Lever's service in Go: answers with its argument. Deployed, or as a program that listens:
//
//	service attach HOST
//
// With LEVER_BENCH_UNTIL_MAIN set it only says that it has come as far as main.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	lever "github.com/leveros/lever/bindings/go"
)

func main() {
	if os.Getenv("LEVER_BENCH_UNTIL_MAIN") != "" {
		os.Stdout.Write([]byte{'m'})
		return
	}
	options := lever.ServiceOptions{}
	attach := len(os.Args) == 3 && os.Args[1] == "attach"
	if attach {
		options = lever.ServiceOptions{Name: "bench-go", Host: os.Args[2], Listen: "127.0.0.1:0"}
	}
	service := lever.NewService(options)
	if attach {
		lever.HandleFunc(service, "echo", func(_ context.Context, value string) (string, error) { return value, nil })
	} else {
		// Callers of other languages send bytes.
		lever.HandleFunc(service, "echo", func(_ context.Context, value []byte) ([]byte, error) { return value, nil })
	}
	if err := service.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	if attach {
		fmt.Printf("listening %s\n", service.Details().Listening)
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	if err := service.Wait(); err != nil {
		log.Fatal(err)
	}
}
