// The four compressed cases of gRPC's interoperability suite on grpc-go, whose published programs leave them
// out: `grpc-go-gzip client FLAGS` and `grpc-go-gzip server FLAGS`, with the flags of the published ones.
//
// Whether a message came compressed is told by a stats handler. That one message of a stream goes uncompressed
// is not foreseen in grpc-go; a PreparedMsg is framed as the stream says on which it was encoded, and may be sent
// on another.
package main

import (
	"context"
	"fmt"
	"os"

	"google.golang.org/grpc/stats"

	pb "google.golang.org/grpc/interop/grpc_testing"
)

// arrival says of a call's last message whether it came compressed.
type arrival struct{ compressed bool }

type arrivalKey struct{}

// arrivals is a stats handler that fills in the arrival of a call's context.
type arrivals struct{}

func (arrivals) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	if ctx.Value(arrivalKey{}) != nil {
		return ctx
	}
	return context.WithValue(ctx, arrivalKey{}, new(arrival))
}

func (arrivals) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if payload, ok := event.(*stats.InPayload); ok {
		arrivalOf(ctx).compressed = payload.CompressedLength != payload.Length
	}
}

func (arrivals) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (arrivals) HandleConn(context.Context, stats.ConnStats)                       {}

func arrivalOf(ctx context.Context) *arrival { return ctx.Value(arrivalKey{}).(*arrival) }

func zeros(size int) *pb.Payload { return &pb.Payload{Body: make([]byte, size)} }

func main() {
	roles := map[string]func([]string) error{"client": client, "server": server}
	if len(os.Args) < 2 || roles[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: grpc-go-gzip client|server FLAGS")
		os.Exit(2)
	}
	if err := roles[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
