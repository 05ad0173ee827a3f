package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	pb "google.golang.org/grpc/interop/grpc_testing"
)

func server(words []string) error {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	port := flags.Int("port", 0, "")
	useTLS := flags.Bool("use_tls", false, "")
	certificate := flags.String("tls_cert_file", "", "")
	key := flags.String("tls_key_file", "", "")
	flags.Parse(words)

	options := []grpc.ServerOption{grpc.StatsHandler(arrivals{})}
	if *useTLS {
		tls, err := credentials.NewServerTLSFromFile(*certificate, *key)
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(tls))
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return err
	}
	served := grpc.NewServer(options...)
	pb.RegisterTestServiceServer(served, testService{})
	return served.Serve(listener)
}

type testService struct {
	pb.UnimplementedTestServiceServer
}

// checkArrival refuses a message that did not come as the client says that it sent it.
func checkArrival(ctx context.Context, expected *pb.BoolValue) error {
	came := arrivalOf(ctx).compressed
	if expected == nil || expected.Value == came {
		return nil
	}
	return status.Errorf(codes.InvalidArgument, "expect_compressed is %v, compressed is %v",
		expected.Value, came)
}

func (testService) UnaryCall(ctx context.Context, in *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	if err := checkArrival(ctx, in.ExpectCompressed); err != nil {
		return nil, err
	}
	// Not set, it would be the client's.
	encoding := "identity"
	if in.ResponseCompressed.GetValue() {
		encoding = gzip.Name
	}
	if err := grpc.SetSendCompressor(ctx, encoding); err != nil {
		return nil, err
	}
	return &pb.SimpleResponse{Payload: zeros(int(in.ResponseSize))}, nil
}

func (testService) StreamingInputCall(stream pb.TestService_StreamingInputCallServer) error {
	total := 0
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: int32(total)})
		}
		if err != nil {
			return err
		}
		if err := checkArrival(stream.Context(), in.ExpectCompressed); err != nil {
			return err
		}
		total += len(in.Payload.GetBody())
	}
}

func (testService) StreamingOutputCall(in *pb.StreamingOutputCallRequest,
	stream pb.TestService_StreamingOutputCallServer) error {
	if err := grpc.SetSendCompressor(stream.Context(), gzip.Name); err != nil {
		return err
	}
	for _, wanted := range in.ResponseParameters {
		out := &pb.StreamingOutputCallResponse{Payload: zeros(int(wanted.Size))}
		var message any = out
		if !wanted.Compressed.GetValue() {
			// What it is encoded by is the request's encoding, which was none.
			prepared := new(grpc.PreparedMsg)
			if err := prepared.Encode(stream, out); err != nil {
				return err
			}
			message = prepared
		}
		if err := stream.SendMsg(message); err != nil {
			return err
		}
	}
	return nil
}
