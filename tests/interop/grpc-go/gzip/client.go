package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	pb "google.golang.org/grpc/interop/grpc_testing"
)

const (
	largeRequest  = 271828
	largeResponse = 314159
	caseTime      = 10 * time.Second
)

func client(words []string) error {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	host := flags.String("server_host", "127.0.0.1", "")
	port := flags.Int("server_port", 0, "")
	name := flags.String("test_case", "", "")
	useTLS := flags.Bool("use_tls", false, "")
	flags.Bool("use_test_ca", true, "")
	roots := flags.String("ca_file", "", "")
	override := flags.String("server_host_override", "", "")
	flags.Parse(words)

	run, ok := map[string]func(context.Context, pb.TestServiceClient) error{
		"client_compressed_unary":     clientUnary,
		"client_compressed_streaming": clientStreaming,
		"server_compressed_unary":     serverUnary,
		"server_compressed_streaming": serverStreaming,
	}[*name]
	if !ok {
		return fmt.Errorf("%s: there is no such case here", *name)
	}
	transport := insecure.NewCredentials()
	if *useTLS {
		var err error
		if transport, err = credentials.NewClientTLSFromFile(*roots, *override); err != nil {
			return err
		}
	}
	connection, err := grpc.NewClient(fmt.Sprintf("%s:%d", *host, *port),
		grpc.WithTransportCredentials(transport), grpc.WithStatsHandler(arrivals{}))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), caseTime)
	defer cancel()
	if err := run(ctx, pb.NewTestServiceClient(connection)); err != nil {
		return fmt.Errorf("%s: %w", *name, err)
	}
	return nil
}

func isTrue(value bool) *pb.BoolValue { return &pb.BoolValue{Value: value} }

// invalid is the error of a probe that has not failed with INVALID_ARGUMENT.
func invalid(err error) error {
	if status.Code(err) == codes.InvalidArgument {
		return nil
	}
	return fmt.Errorf("the probe ended with %v, not INVALID_ARGUMENT", err)
}

// unary makes a call with the large sizes and says whether the response came compressed.
func unary(ctx context.Context, stub pb.TestServiceClient, in *pb.SimpleRequest,
	options ...grpc.CallOption) (bool, error) {
	in.Payload = zeros(largeRequest)
	in.ResponseSize = largeResponse
	came := new(arrival)
	out, err := stub.UnaryCall(context.WithValue(ctx, arrivalKey{}, came), in, options...)
	if err == nil && len(out.Payload.GetBody()) != largeResponse {
		err = fmt.Errorf("%d bytes came", len(out.Payload.GetBody()))
	}
	return came.compressed, err
}

func clientUnary(ctx context.Context, stub pb.TestServiceClient) error {
	_, err := unary(ctx, stub, &pb.SimpleRequest{ExpectCompressed: isTrue(true)})
	if err := invalid(err); err != nil {
		return err
	}
	_, err = unary(ctx, stub, &pb.SimpleRequest{ExpectCompressed: isTrue(true)},
		grpc.UseCompressor(gzip.Name))
	if err != nil {
		return err
	}
	_, err = unary(ctx, stub, &pb.SimpleRequest{ExpectCompressed: isTrue(false)})
	return err
}

func serverUnary(ctx context.Context, stub pb.TestServiceClient) error {
	for _, wanted := range []bool{true, false} {
		came, err := unary(ctx, stub, &pb.SimpleRequest{ResponseCompressed: isTrue(wanted)})
		if err != nil {
			return err
		}
		if came != wanted {
			return fmt.Errorf("asked for %v, compressed is %v", wanted, came)
		}
	}
	return nil
}

// uncompressed frames a message as a stream without compression does.
func uncompressed(ctx context.Context, stub pb.TestServiceClient, message any) (*grpc.PreparedMsg, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	plain, err := stub.StreamingInputCall(ctx)
	if err != nil {
		return nil, err
	}
	prepared := new(grpc.PreparedMsg)
	return prepared, prepared.Encode(plain, message)
}

func clientStreaming(ctx context.Context, stub pb.TestServiceClient) error {
	first := &pb.StreamingInputCallRequest{ExpectCompressed: isTrue(true), Payload: zeros(27182)}
	second := &pb.StreamingInputCallRequest{ExpectCompressed: isTrue(false), Payload: zeros(45904)}
	_, err := sendAll(ctx, stub, func() (any, error) { return uncompressed(ctx, stub, first) })
	if err := invalid(err); err != nil {
		return err
	}
	out, err := sendAll(ctx, stub, func() (any, error) { return first, nil },
		func() (any, error) { return uncompressed(ctx, stub, second) })
	if err != nil {
		return err
	}
	if out.AggregatedPayloadSize != 73086 {
		return fmt.Errorf("the sum is %d", out.AggregatedPayloadSize)
	}
	return nil
}

// sendAll makes a compressed StreamingInputCall of these messages.
func sendAll(ctx context.Context, stub pb.TestServiceClient,
	messages ...func() (any, error)) (*pb.StreamingInputCallResponse, error) {
	stream, err := stub.StreamingInputCall(ctx, grpc.UseCompressor(gzip.Name))
	if err != nil {
		return nil, err
	}
	for _, make := range messages {
		message, err := make()
		if err != nil {
			return nil, err
		}
		// io.EOF: the call has ended, and CloseAndRecv says how.
		if err := stream.SendMsg(message); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	return stream.CloseAndRecv()
}

func serverStreaming(ctx context.Context, stub pb.TestServiceClient) error {
	sizes := []int32{31415, 92653}
	in := &pb.StreamingOutputCallRequest{}
	for i, size := range sizes {
		in.ResponseParameters = append(in.ResponseParameters,
			&pb.ResponseParameters{Size: size, Compressed: isTrue(i == 0)})
	}
	came := new(arrival)
	stream, err := stub.StreamingOutputCall(context.WithValue(ctx, arrivalKey{}, came), in)
	if err != nil {
		return err
	}
	for i, size := range sizes {
		out, err := stream.Recv()
		if err != nil {
			return err
		}
		if len(out.Payload.GetBody()) != int(size) || came.compressed != (i == 0) {
			return fmt.Errorf("response %d: %d bytes, compressed is %v", i,
				len(out.Payload.GetBody()), came.compressed)
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("after the last response came %v, not the end", err)
	}
	return nil
}
