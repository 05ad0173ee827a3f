// grpc-go: client and server of echo.proto's unary method. bench/common/load.h tells how they are driven.
//
//	grpc-go server
//	grpc-go client ADDRESS
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const unaryBytes = 32

type echoServer interface{}

// What protoc's plugin would write for the one method.
var echoService = grpc.ServiceDesc{
	ServiceName: "bench.Echo",
	HandlerType: (*echoServer)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Unary",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			request := new(wrapperspb.BytesValue)
			if err := decode(request); err != nil {
				return nil, err
			}
			return request, nil
		},
	}},
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&echoService, struct{}{})
	fmt.Printf("listening %s\n", listener.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(server.Serve(listener))
}

// As many goroutines as calls are outstanding, on one connection.
func unary(connection *grpc.ClientConn, seconds float64, outstanding int) map[string]any {
	began := time.Now()
	end := began.Add(time.Duration(seconds * float64(time.Second)))
	took := make([][]time.Duration, outstanding)
	failures := make([]int, outstanding)
	var all sync.WaitGroup
	for i := range outstanding {
		all.Go(func() {
			request := wrapperspb.Bytes(make([]byte, unaryBytes))
			for started := time.Now(); ; {
				reply := new(wrapperspb.BytesValue)
				err := connection.Invoke(context.Background(), "/bench.Echo/Unary", request, reply)
				if err != nil || len(reply.Value) != unaryBytes {
					failures[i]++
				}
				done := time.Now()
				took[i] = append(took[i], done.Sub(started))
				if done.After(end) {
					return
				}
				started = done
			}
		})
	}
	all.Wait()
	elapsed := time.Since(began).Seconds()
	var samples []time.Duration
	errors := 0
	for i := range outstanding {
		samples = append(samples, took[i]...)
		errors += failures[i]
	}
	sort.Slice(samples, func(a, b int) bool { return samples[a] < samples[b] })
	at := func(quantile float64) float64 {
		return float64(samples[int(quantile*float64(len(samples)-1))].Nanoseconds()) / 1000
	}
	return map[string]any{"calls": len(samples), "errors": errors, "seconds": elapsed,
		"p50_us": at(0.5), "p99_us": at(0.99)}
}

func load(address string) {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	unary(connection, 0.01, 1)
	fmt.Println("ready")
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		var verb string
		var seconds float64
		var count int
		if _, err := fmt.Sscan(strings.TrimSpace(commands.Text()), &verb, &seconds, &count); err != nil {
			log.Fatal(err)
		}
		if verb != "unary" {
			log.Fatalf("unknown command: %s", verb)
		}
		line, _ := json.Marshal(unary(connection, seconds, count))
		fmt.Println(string(line))
	}
}

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "server":
		serve()
	case len(os.Args) == 3 && os.Args[1] == "client":
		load(os.Args[2])
	default:
		log.Fatal("usage: grpc-go server | client ADDRESS")
	}
}
